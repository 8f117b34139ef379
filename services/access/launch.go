package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"strings"
	"time"
	"unicode"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

const (
	launchFor  = 10 * time.Minute
	launchMax  = 100                 // unused codes; more, and the oldest is dropped
	sessionFor = 30 * 24 * time.Hour // since it was last used
	prolongAt  = time.Hour           // how old the last note of use may get
	agentMax   = 200                 // characters
	listMax    = 1000
)

// launchCode is one that was not used yet. It lives as long as the process.
type launchCode struct {
	hash    [sha256.Size]byte
	expires int64
}

// LaunchCode makes a code that opens one session within ten minutes.
func (r *Room) LaunchCode() (code string, expires time.Time) {
	code, expires = rand.Text(), r.opt.Now().Add(launchFor)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.codes) >= launchMax {
		r.codes = slices.Delete(r.codes, 0, 1)
	}
	r.codes = append(r.codes, launchCode{sha256.Sum256([]byte(code)), expires.UnixMilli()})
	return code, expires
}

// takeCode uses a code up; false if there is none, or not any more.
func (r *Room) takeCode(code string) (launchCode, bool) {
	sum := sha256.Sum256([]byte(code))
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.codes, func(c launchCode) bool { return c.hash == sum })
	if i < 0 {
		return launchCode{}, false
	}
	c := r.codes[i]
	r.codes = slices.Delete(r.codes, i, i+1)
	return c, r.now() < c.expires
}

// CreateLaunchCode implements antonv1.AccessServiceServer.
func (r *Room) CreateLaunchCode(context.Context, *antonv1.CreateLaunchCodeRequest) (*antonv1.LaunchCode, error) {
	code, expires := r.LaunchCode()
	return &antonv1.LaunchCode{Code: code, ExpiresAtMs: float64(expires.UnixMilli())}, nil
}

// OpenBrowserSession implements antonv1.AccessServiceServer.
func (r *Room) OpenBrowserSession(ctx context.Context, q *antonv1.OpenBrowserSessionRequest) (*antonv1.OpenedBrowserSession, error) {
	code, ok := r.takeCode(q.Code)
	if !ok {
		return nil, fault.New(fault.Unauthenticated, "LAUNCH_CODE_INVALID",
			"This launch link was used already, or is older than ten minutes: 'anthill link' prints a new one.")
	}
	plaintext, now := rand.Text(), r.now()
	s := &session{ID: r.opt.NewID(), Hash: r.sessionHash(plaintext), Agent: agent(q.UserAgent),
		Created: now, Used: now, Expires: now + sessionFor.Milliseconds()}
	err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
		if err := sweep(tx, sessions, func(s *session) (key.Key, int64) { return key.Of(s.ID), s.Expires }, now); err != nil {
			return err
		}
		return sessions.Put(tx, s)
	})
	if err != nil {
		r.mu.Lock()
		r.codes = append(r.codes, code) // it opened nothing
		r.mu.Unlock()
		return nil, err
	}
	return &antonv1.OpenedBrowserSession{Id: s.ID, Token: plaintext}, nil
}

// agent keeps of a browser's name what can be shown.
func agent(name string) string {
	name = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, name)
	if runes := []rune(name); len(runes) > agentMax {
		return string(runes[:agentMax])
	}
	return name
}

// prolong notes that a session is in use. It does not fail the call: without a
// note the session only ends a little earlier.
func (r *Room) prolong(ctx context.Context, s *session) {
	now := r.now()
	if now-s.Used < prolongAt.Milliseconds() {
		return
	}
	err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
		stored, err := sessions.Get(tx, key.Of(s.ID))
		if err != nil || stored == nil {
			return err
		}
		stored.Used, stored.Expires = now, now+sessionFor.Milliseconds()
		return sessions.Put(tx, stored)
	})
	if err != nil {
		r.opt.Log.Debug("a browser's session was not prolonged", "error", err)
	}
}

// ListBrowserSessions implements antonv1.AccessServiceServer.
func (r *Room) ListBrowserSessions(ctx context.Context, _ *antonv1.ListBrowserSessionsRequest) (*antonv1.ListBrowserSessionsResponse, error) {
	var out *antonv1.ListBrowserSessionsResponse
	own, now := caller.From(ctx).ID, r.now()
	err := r.opt.DB.View(ctx, func(rd store.Reader) error {
		out = &antonv1.ListBrowserSessionsResponse{}
		for s, err := range sessions.ScanIndex(rd, byCreated, store.ScanOptions{Reverse: true, Limit: listMax}) {
			if err != nil {
				return err
			}
			if now < s.Expires {
				out.Sessions = append(out.Sessions, &antonv1.BrowserSession{Id: s.ID, UserAgent: s.Agent, CreatedAtMs: float64(s.Created),
					UsedAtMs: float64(s.Used), ExpiresAtMs: float64(s.Expires), Current: s.ID == own})
			}
		}
		return nil
	})
	return out, err
}

// RevokeBrowserSession implements antonv1.AccessServiceServer.
func (r *Room) RevokeBrowserSession(ctx context.Context, q *antonv1.RevokeBrowserSessionRequest) (*antonv1.RevokeBrowserSessionResponse, error) {
	found, err := r.revokeSession(ctx, q.Id)
	if err == nil && !found {
		err = fault.Missing("BROWSER_SESSION_NOT_FOUND", "Session not found")
	}
	return &antonv1.RevokeBrowserSessionResponse{Ok: true}, err
}

// revokeSession ends a session; false if there is none.
func (r *Room) revokeSession(ctx context.Context, id string) (found bool, err error) {
	err = r.opt.DB.Update(ctx, func(tx store.Tx) (err error) {
		found, err = sessions.Delete(tx, key.Of(id))
		return err
	})
	if err == nil {
		r.live.end(sessionCredential(id), errSessionRevoked)
	}
	return found, err
}

func sessionCredential(id string) string { return "session/" + id }
