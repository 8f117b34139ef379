package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// A tool that panics ends its call, and nothing else.
func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	server := newServer(&tools{}, offer{write: true}, "test") // without services each call is one
	here, there := sdk.NewInMemoryTransports()
	quiet := &call{ctx: t.Context(), log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if _, err := server.Connect(quiet.with(t.Context()), here, nil); err != nil {
		t.Fatal(err)
	}
	client, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), there, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := client.CallTool(t.Context(), &sdk.CallToolParams{Name: "list_rooms"})
		if wire, ok := errors.AsType[*jsonrpc.Error](err); !ok || wire.Code != jsonrpc.CodeInternalError || wire.Message != "Internal error" {
			t.Errorf("it is told %v", err)
		}
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "short", strings.Repeat("é", 100), strings.Repeat("a", 100), strings.Repeat("😀", 30)} {
		for most := 3; most < 130; most++ {
			got := clip(s, most)
			if len(got) > most || !utf8.ValidString(got) || len(s) <= most && got != s || len(s) > most && !strings.HasSuffix(got, "…") {
				t.Fatalf("clip(%q, %d) = %q", s, most, got)
			}
		}
	}
}

func TestRowsFit(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"x", strings.Repeat("x", rowMax), strings.Repeat("\x01", rowMax), strings.Repeat("é\n", 1<<20)} {
		text, cut := cutText(s)
		if jsonLen(text) > rowMax || cut == (text == s) {
			t.Errorf("%d bytes: %d as JSON, cut %v", len(s), jsonLen(text), cut)
		}
		var rows []item
		for range 10 {
			rows = append(rows, item{Text: text})
		}
		n := fit(rows)
		b, err := json.Marshal(rows[:n])
		if n == 0 || err != nil || len(b) > rowsMax+1<<10 {
			t.Errorf("%d rows of %d bytes: %d bytes, %v", n, len(text), len(b), err)
		}
	}
}

func TestCauseOfTheEnd(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{nil, errGone} {
		door, end := context.WithCancelCause(t.Context())
		ctx, done := bind((&call{ctx: door}).with(t.Context()))
		if ctx.Err() != nil || cancelled(ctx) {
			t.Error("it has ended before")
		}
		end(cause)
		<-ctx.Done()
		if cancelled(ctx) != (cause == nil) {
			t.Errorf("ended by %v: cancelled %v", cause, cancelled(ctx))
		}
		done()
	}
}
