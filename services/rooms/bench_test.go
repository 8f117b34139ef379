package rooms_test

import (
	"fmt"
	"testing"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/rooms"
)

func BenchmarkPost(b *testing.B) {
	h := newHouse(b, false)
	h.sessions.put(rooms.Session{ID: "r", Name: "r", Type: "chat"})
	text := "hello from the benchmark, a line of about one hundred characters to be like what people say to others"
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := h.room.PostMessage(b.Context(), &req{SessionId: "r", SenderId: "@james", Content: &text}); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkPage reads pages of rooms that differ in size, and posts to them.
func BenchmarkPage(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		h := newHouse(b, false)
		h.sessions.put(rooms.Session{ID: "r", Name: "r", Type: "chat"})
		fill(b, h, n)
		first := h.list(&antv1.ListMessagesRequest{SessionId: "r"}).Messages[500]
		for name, q := range map[string]*antv1.ListMessagesRequest{
			"newest": {SessionId: "r", Limit: new(int32(50))},
			"since":  {SessionId: "r", Since: &first.Id},
			"time":   {SessionId: "r", Before: &first.CreatedAt},
		} {
			b.Run(fmt.Sprint(name, "/", n), func(b *testing.B) {
				for b.Loop() {
					h.list(q)
				}
			})
		}
		b.Run(fmt.Sprint("post/", n), func(b *testing.B) {
			fill(b, h, b.N)
		})
	}
}

func fill(b *testing.B, h *house, n int) {
	text := "hello"
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	done := make(chan struct{})
	for range 64 {
		go func() {
			for range work {
				h.post(&req{SessionId: "r", SenderId: "@james", Content: &text})
			}
			done <- struct{}{}
		}()
	}
	for range 64 {
		<-done
	}
}
