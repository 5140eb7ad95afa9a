// Package approval decides who may have what, and when. It is the pure core of the engine: no clock, no Vault
// type, no I/O and no logger; time and membership are arguments.
//
// The four words to know:
//
//   - A [Request] holds facts only: what was asked (and the policy and grant frozen with it), who decided what,
//     the claim, the grant and its end. [Apply] is the one way to add a fact; it refuses what is not allowed.
//   - [Request.State] is computed from those facts and the time. Nothing stores a state, so nothing can be stale.
//   - [Evaluate] counts the quorum and says why each decision counts or does not. Given today's [Roster] it gives
//     the verdict as of now; given the roster frozen in the decisions it gives the one that stood when they were made.
//   - [Request.Claimable] asks everything at once, under the policy as it was and as it is, and lists what stands in the way.
//
// Everything fails closed: the zero value of every type refuses, and an entity that is absent from a roster counts for nothing.
package approval
