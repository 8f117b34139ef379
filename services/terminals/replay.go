package terminals

import "context"

// replay is what shows a terminal to a viewer that comes now: its screen and what is above it, and the offset from
// which the output goes on. Without data nothing was printed yet.
func (s *seat) replay(ctx context.Context) (data []byte, offset int64) {
	s.shown.wait(ctx, s.t.End())
	s.shown.mu.Lock()
	defer s.shown.mu.Unlock()
	data, unfinished := s.screen.Replay()
	if offset = s.shown.offset - int64(unfinished); s.shown.offset <= s.t.Begin() {
		return nil, offset
	}
	return data, offset
}
