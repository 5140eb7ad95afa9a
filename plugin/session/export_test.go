package session

import "time"

// SetCallTimeout changes the limit of a call, before the session is used.
func (s *Session) SetCallTimeout(limit time.Duration) { s.callTimeout = limit }

// HasStatus is hasStatus.
var HasStatus = hasStatus
