package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func fails(e Error) step { return step{err: NewError(e, errors.New("cause")), quiet: true} }

func TestRetries(t *testing.T) {
	busy := fails(Error{Code: CodeRateLimited, Status: 429, RetryAfter: 40 * time.Second})
	down := fails(Error{Code: CodeUnreachable, Status: 502})
	shown := says("half")
	shown.err = NewError(Error{Code: CodeOverloaded}, nil)
	for _, c := range []struct {
		name   string
		script []step
		limits Limits
		calls  int
		code   string // "" is success
		least  time.Duration
		most   time.Duration
	}{
		{"recovers", []step{down, down, says("ok")}, Limits{}, 3, "", 3 * time.Second, 5 * time.Second},
		{"gives up", []step{down, down, down, down, down, down}, Limits{}, 4, CodeUnreachable, 10 * time.Second, 16 * time.Second},
		{"obeys Retry-After", []step{busy, busy, says("ok")}, Limits{}, 3, "", 80 * time.Second, 80 * time.Second},
		{"budget of asked waits", []step{busy, busy, busy, says("ok")}, Limits{}, 3, CodeRateLimited, 80 * time.Second, 80 * time.Second},
		{"budgets are apart", []step{busy, down, says("ok")}, Limits{}, 3, "", 42 * time.Second, 44 * time.Second},
		{"asked to wait too long", []step{fails(Error{Code: CodeRateLimited, RetryAfter: time.Hour})}, Limits{}, 1, CodeRateLimited, 0, 0},
		{"switched off", []step{down, says("ok")}, Limits{RetryBudget: -1}, 1, CodeUnreachable, 0, 0},
		{"bad key", []step{fails(Error{Code: CodeAuth, Status: 401}), says("ok")}, Limits{}, 1, CodeAuth, 0, 0},
		{"wrong address", []step{fails(Error{Code: CodeUnreachable, Status: 404}), says("ok")}, Limits{}, 1, CodeUnreachable, 0, 0},
		{"not after text was shown", []step{shown, says("ok")}, Limits{}, 1, CodeOverloaded, 0, 0},
		{"not an *Error", []step{{err: errors.New("odd"), quiet: true}}, Limits{}, 1, CodeUnexpected, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var waited time.Duration
			p := &script{answers: c.script}
			s := &tape{}
			out, err := Run(context.Background(), Options{Provider: p, History: ask("go"), Limits: c.limits,
				Sleep: func(_ context.Context, d time.Duration) error { waited += d; return nil }}, s)
			code := ""
			if e, ok := errors.AsType[*Error](err); ok {
				code = e.Code
			}
			if code != c.code || len(p.seen) != c.calls || waited < c.least || waited > c.most || out.Rounds != 1 {
				t.Errorf("code %q (%v), %d calls, waited %v, %+v", code, err, len(p.seen), waited, out)
			}
			settled(t, ask("go"), s)
		})
	}
}

func TestWaitIsCancelled(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	down := fails(Error{Code: CodeUnreachable})
	s := &tape{}
	_, err := Run(ctx, Options{Provider: &script{answers: []step{down}}, History: ask("go"),
		Sleep: func(ctx context.Context, d time.Duration) error {
			cancel(stop)
			return sleep(ctx, d)
		}}, s)
	if !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

func TestErrorHidesSecrets(t *testing.T) {
	cause := errors.Join(context.DeadlineExceeded, errors.New("401 for key-canary and sk-abc***xyz9, Authorization: Bearer tok.en"))
	e := NewError(Error{Code: CodeUnknownModel, Model: "gpt-x"}, cause, "key-canary", "")
	if !strings.Contains(e.Message, "gpt-x") || strings.Contains(e.Error(), "canary") {
		t.Errorf("message %q", e.Error())
	}
	text := errors.Unwrap(e).Error()
	for _, leak := range []string{"canary", "sk-abc", "tok.en"} {
		if strings.Contains(text, leak) {
			t.Errorf("%q in %q", leak, text)
		}
	}
	if !errors.Is(e, context.DeadlineExceeded) {
		t.Error("the chain is lost")
	}
	if e := NewError(Error{}, nil); e.Code != CodeUnexpected || e.Message == "" || e.Unwrap() != nil {
		t.Errorf("%+v", e)
	}
}
