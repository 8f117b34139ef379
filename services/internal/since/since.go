// Package since reads from when somebody wants to know.
package since

import (
	"math"
	"regexp"
	"strconv"
	"time"
)

// LastHour is what is shown if nobody says from when.
const LastHour = time.Hour

var (
	spans  = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	spanIn = regexp.MustCompile(`^([0-9]{1,12})([smhd])$`)
	digits = regexp.MustCompile(`^[0-9]{1,16}$`)
)

var timeLayouts = []string{time.RFC3339, time.DateTime, "2006-01-02T15:04:05", time.DateOnly} // fractions are read wherever seconds are

// Parse reads a span until now, milliseconds since 1970, or a time, which is
// UTC unless it says otherwise. It returns milliseconds since 1970, 0 or more.
func Parse(s string, now time.Time) (ms int64, ok bool) {
	if m := spanIn.FindStringSubmatch(s); m != nil {
		n, err := strconv.ParseInt(m[1], 10, 64)
		unit := spans[m[2]].Milliseconds()
		if err != nil || n > math.MaxInt64/unit {
			return 0, false
		}
		return max(0, now.UnixMilli()-n*unit), true
	}
	if digits.MatchString(s) {
		ms, err := strconv.ParseInt(s, 10, 64)
		return ms, err == nil
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return max(0, t.UnixMilli()), t.Year() > 0 && t.Year() < 10_000
		}
	}
	return 0, false
}
