// Package wire is what rows of the ANT API have in common, whichever room they are
// of: how values look on the wire (ant.md 0), and when a session takes changes.
package wire

import (
	"time"

	"anthill/services/internal/fault"
)

// Time is a time in nanoseconds since 1970 as rows show it: UTC, in seconds.
func Time(ns int64) string { return time.Unix(0, ns).UTC().Format(time.DateTime) }

// TimeOrNull is Time; nil for 0.
func TimeOrNull(ns int64) *string {
	if ns == 0 {
		return nil
	}
	return new(Time(ns))
}

// OrNull is nil for an empty text.
func OrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Flag is 1 or 0.
func Flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// ErrNoSession is for a session that does not exist.
var ErrNoSession = fault.Missing("SESSION_NOT_FOUND", "Session not found")

// Writable says why a session takes no changes, or nil.
func Writable(deleted, archived bool) error {
	switch {
	case deleted:
		return fault.New(fault.Precondition, "SESSION_DELETED", "The session is deleted: restore it to write to it.")
	case archived:
		return fault.New(fault.Precondition, "SESSION_ARCHIVED", "The session is archived: restore it to write to it.")
	}
	return nil
}
