package ws

import (
	"sync"

	"github.com/coder/websocket"
)

// together is how many bytes of small frames share one write.
const together = 32 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, together); return &b }}

// write owns the connection's data frames, and its end.
func (s *Socket) write() {
	defer close(s.done)
	for range s.wake {
		list, end := s.taken()
		if err := s.writeAll(list); err != nil {
			s.end(closing{code: GoingAway})
			_ = s.conn.CloseNow() // it has ended either way
			return
		}
		if end != nil {
			_ = s.conn.Close(websocket.StatusCode(end.code), end.reason) // it has ended either way
			return
		}
	}
}

// taken empties the queue.
func (s *Socket) taken() (list []queued, end *closing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, s.queue = s.queue, nil
	return list, s.closing
}

// writeAll writes frames, joining small ones.
func (s *Socket) writeAll(list []queued) error {
	if len(list) == 1 {
		return s.writeOne(list[0].frame, list[0].mark)
	}
	if len(list) == 0 {
		return nil
	}
	joined := buffers.Get().(*[]byte)
	defer buffers.Put(joined)
	buf, mark := (*joined)[:0], uint64(0)
	flush := func() error {
		if len(buf) == 0 {
			return nil
		}
		err := s.writeOne(buf, mark)
		buf = buf[:0]
		return err
	}
	for _, q := range list {
		if len(buf)+len(q.frame) > together {
			if err := flush(); err != nil {
				return err
			}
		}
		if q.mark != 0 {
			mark = q.mark
		}
		if len(q.frame) > together {
			if err := s.writeOne(q.frame, mark); err != nil {
				return err
			}
			continue
		}
		buf = append(buf, q.frame...)
	}
	return flush()
}

// writeOne writes bytes after which the client is at mark.
func (s *Socket) writeOne(b []byte, mark uint64) error {
	_, err := s.wire.Write(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= len(b)
	if err == nil && mark != 0 {
		s.written = mark
	}
	if s.room != nil && s.bytes <= s.opt.QueueMax/4 {
		close(s.room)
		s.room = nil
	}
	return err
}
