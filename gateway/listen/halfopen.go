package listen

import (
	"container/list"
	"net"
	"sync"
	"time"
)

// lastLook is how long the read of an evicted connection may still take. It
// only has to cover one read of bytes that are already in the kernel.
const lastLook = time.Millisecond

// halfOpen keeps the connections that have not sent their first bytes, oldest
// first. It never holds more than max; evicted ones linger for one lastLook.
type halfOpen struct {
	max int

	mu      sync.Mutex
	conns   list.List // of *entry
	shutOff bool
	evicted int       // since the last warning
	warned  time.Time // when that was
}

type entry struct {
	conn    net.Conn
	elem    *list.Element // nil once removed or evicted
	evicted bool
}

// add registers c as the newest. When the oldest had to go and a warning is due
// it also says how many went since the last one. After shut it returns nil.
func (h *halfOpen) add(c net.Conn) (e *entry, warn int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.shutOff {
		return nil, 0
	}
	if h.conns.Len() >= h.max {
		h.evictLocked(1)
		if now := time.Now(); now.Sub(h.warned) >= warnEvery {
			warn, h.evicted, h.warned = h.evicted, 0, now
		}
	}
	e = &entry{conn: c}
	e.elem = h.conns.PushBack(e)
	return e, warn
}

// remove forgets e, if it is still there.
func (h *halfOpen) remove(e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.elem != nil {
		h.conns.Remove(e.elem)
		e.elem = nil
	}
}

func (h *halfOpen) wasEvicted(e *entry) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return e.evicted && !h.shutOff
}

// evictHalf frees the older half, at least one.
func (h *halfOpen) evictHalf() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.evictLocked((h.conns.Len() + 1) / 2)
}

// shut evicts everything and refuses newcomers.
func (h *halfOpen) shut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shutOff = true
	h.evictLocked(h.conns.Len())
}

// evictLocked wakes the goroutines of the n oldest by ending their reads; they
// close the connections themselves.
func (h *halfOpen) evictLocked(n int) {
	past := time.Unix(1, 0)
	for ; n > 0 && h.conns.Len() > 0; n-- {
		e := h.conns.Remove(h.conns.Front()).(*entry)
		e.elem, e.evicted = nil, true
		h.evicted++
		if err := e.conn.SetReadDeadline(past); err != nil {
			continue // closed already: its goroutine is on its way out
		}
	}
}
