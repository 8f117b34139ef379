package conversations

import (
	"testing"
	"time"
)

func TestISOTime(t *testing.T) {
	for _, at := range []time.Time{
		time.UnixMilli(0), time.Date(2026, 11, 22, 9, 5, 7, 42e6, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
	} {
		want := at.UTC().Format("2006-01-02T15:04:05.000000+00:00")
		if got := isoTime(at.UnixMilli()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
