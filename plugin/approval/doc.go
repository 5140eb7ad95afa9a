// Package approval decides who may have what, and when. It is the pure core of the engine: no clock, no Vault type, no
// I/O and no logger; time and people are arguments.
//
// The words to know:
//
//   - A [Record] is what is stored of one request: the ask, byte for byte as it was made, and the events since. Events
//     are only ever added.
//   - A [Request] is what a record amounts to. [Replay] computes it, once a call, and everyone reads from it.
//   - [Request.State] follows from the events and the time. Nothing stores a state, so nothing can be stale.
//   - A [Command] is something that somebody wants to happen, with the standing of whoever wants it. [Do] answers with the
//     events that it gives, or refuses. It is the one place that refuses a transition.
//   - A [World] is what a claim depends on now. [Judge] counts the quorum under the policy as it was and as it is, says
//     why each decision counts or does not, and lists everything that stands in the way.
//   - [Next] says what the engine has to do about a request: end a handle, or file the request away.
//
// Everything fails closed: the zero value of every type refuses, and whoever is absent from a roster counts for nothing.
package approval
