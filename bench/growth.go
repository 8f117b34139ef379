package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	smallRoom    = 1000
	growthAtOnce = 8
	targetGrowth = 1.5
)

// growth asks a room full of messages and a small one for the same things: what
// one of them takes must not depend on how many there are.
func (b *bench) growth(ctx context.Context) (_ []result, err error) {
	p, err := b.serve(ctx, filepath.Join(b.dir, "growth"), nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	began := time.Now()
	large, err := fillRoom(ctx, p.addr, "large", b.large)
	if err != nil {
		return nil, fmt.Errorf("fill the large room: %w", err)
	}
	fmt.Fprintf(b.log, "filled a room with %d messages in %s\n", b.large, time.Since(began).Round(time.Second))
	small, err := fillRoom(ctx, p.addr, "small", smallRoom)
	if err != nil {
		return nil, fmt.Errorf("fill the small room: %w", err)
	}
	if err := settled(ctx, p.addr); err != nil {
		return nil, err
	}
	var lines []result
	for _, ask := range []struct{ what, method, query, body string }{
		{"newest page", http.MethodGet, "?limit=50", ""},
		{"page from the middle", http.MethodGet, "?limit=50&before=%s", ""},
		{"search", http.MethodGet, "/search?q=harbour&limit=20", ""},
		{"post", http.MethodPost, "", `{"sender_id":"@bench","content":"One more from the harbour."}`},
	} {
		cost := func(room filled) side {
			query := ask.query
			if ask.what == "page from the middle" {
				query = fmt.Sprintf(query, room.middle)
			}
			url := "http://" + p.addr + "/api/sessions/" + room.id + "/messages" + query
			return func(ctx context.Context) (float64, error) {
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: growthAtOnce}}
				defer client.CloseIdleConnections()
				var callers []func() error
				for range growthAtOnce {
					callers = append(callers, func() error { return spent(ctx, client, ask.method, url, ask.body) })
				}
				perSecond, err := rate(callers, b.span)
				return growthAtOnce / perSecond * float64(time.Second), err
			}
		}
		costs, err := b.alternate(ctx, cost(large), cost(small))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ask.what, err)
		}
		lines = append(lines, atMost(fmt.Sprintf("growth, %s: a room of %d beside one of %d", ask.what, b.large, smallRoom), millis, costs, targetGrowth))
	}
	return lines, nil
}

// spent sends a request and reads the answer.
func spent(ctx context.Context, client *http.Client, method, url, body string) error {
	q, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	if body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	answer, err := client.Do(q)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode >= 300 {
		err = errors.Join(err, fmt.Errorf("%s %s: %s", method, url, answer.Status))
	}
	return errors.Join(err, answer.Body.Close())
}

// filled is a room with messages.
type filled struct{ id, middle string }

// fillRoom posts n messages, twenty of which speak of the harbour.
func fillRoom(ctx context.Context, addr, name string, n int) (filled, error) {
	var room filled
	made, err := created(addr, "/api/sessions", fmt.Sprintf(`{"name":%q,"type":"chat"}`, name))
	if err != nil {
		return room, err
	}
	room.id = made
	path := "/api/sessions/" + room.id + "/messages"
	text := func(i int) []byte {
		what := fmt.Sprintf("Message %d of the log.", i)
		if i%max(n/20, 1) == 0 {
			what = fmt.Sprintf("Ship %d is in the harbour.", i)
		}
		return request(http.MethodPost, addr, path, fmt.Sprintf(`{"sender_id":"@bench","content":%q}`, what))
	}
	var taken atomic.Int64
	all, ctx := errgroup.WithContext(ctx)
	for range fillAtOnce {
		all.Go(func() error {
			w, err := dial(addr)
			if err != nil {
				return err
			}
			defer w.conn.Close() // nothing is under way on it
			for i := int(taken.Add(1)); i <= n && ctx.Err() == nil; i = int(taken.Add(1)) {
				answer, err := w.fetch(text(i))
				if err != nil {
					return err
				}
				if i == n/2 {
					var m struct{ ID string }
					if err := json.Unmarshal(answer, &m); err != nil {
						return err
					}
					room.middle = m.ID
				}
			}
			return ctx.Err()
		})
	}
	return room, all.Wait()
}

// created posts and returns the id of what was made.
func created(addr, path, body string) (string, error) {
	answer, err := once(addr, request(http.MethodPost, addr, path, body))
	if err != nil {
		return "", err
	}
	var made struct{ ID string }
	err = json.Unmarshal(answer, &made)
	return made.ID, err
}

// settled waits until the index has all that was posted.
func settled(ctx context.Context, addr string) error {
	for ctx.Err() == nil {
		answer, err := once(addr, request(http.MethodGet, addr, "/api/search?q=harbour&limit=1", ""))
		if err != nil {
			return err
		}
		var found struct{ Partial bool }
		if err := json.Unmarshal(answer, &found); err != nil {
			return err
		}
		if !found.Partial {
			return nil
		}
		time.Sleep(time.Second)
	}
	return ctx.Err()
}
