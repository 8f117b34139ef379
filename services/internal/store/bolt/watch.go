package bolt

import "sync"

// wakes tells watchers of a topic that it has new entries.
type wakes struct {
	mu     sync.Mutex
	topics map[string]map[chan struct{}]struct{}
}

func (w *wakes) watch(topic string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1) // the one place makes wake-ups coalesce
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.topics == nil {
		w.topics = map[string]map[chan struct{}]struct{}{}
	}
	if w.topics[topic] == nil {
		w.topics[topic] = map[chan struct{}]struct{}{}
	}
	w.topics[topic][ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.topics[topic], ch)
		if len(w.topics[topic]) == 0 {
			delete(w.topics, topic)
		}
	}
}

// wake never blocks: a watcher that has a wake-up pending needs no other.
func (w *wakes) wake(topics []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, topic := range topics {
		for ch := range w.topics[topic] {
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	}
}
