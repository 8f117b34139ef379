package settings

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
)

// here is a caller on this machine, as the gateway tells of it.
func here(t *testing.T) context.Context {
	return metadata.NewIncomingContext(t.Context(), metadata.Pairs(clientAddress, "127.0.0.1", clientHost, "localhost:26866"))
}

func (h *house) raw(content string) error {
	h.t.Helper()
	resp, err := h.UpdateRawSettings(here(h.t), &antonv1.UpdateRawSettingsRequest{Content: &content})
	if err == nil && !resp.Ok {
		h.t.Errorf("%q: %v", content, resp)
	}
	return err
}

func TestRawMerges(t *testing.T) {
	const before = "# keys of the house\r\n\r\nOTHER = 'as it is'\nexport ANTON_OPENAI_API_KEY=old # mine\nA=1\nnot an assignment\nB=2"
	for _, c := range []struct{ content, want string }{
		{"", before},
		{"# only a comment\n\n  \n", before},
		{"A=1", before},
		{"A=2\n", strings.Replace(before, "A=1", "A=2", 1)},
		{"A=", strings.Replace(before, "A=1\n", "", 1)},
		{"A=\"\"\nZ=", strings.Replace(before, "A=1\n", "", 1)},
		{"ANTON_TERMS_CONSENT=true", before + "\r\nANTON_TERMS_CONSENT=true\r\n"},
		{"  export A = 'x y' # why\n", strings.Replace(before, "A=1", "A='x y'", 1)},
		{"A=5\nA=6\nA=7", strings.Replace(before, "A=1", "A=7", 1)},
		{"A=5\nA=", strings.Replace(before, "A=1\n", "", 1)},
		{"ANTON_OPENAI_API_KEY=***\nA=3", strings.Replace(before, "A=1", "A=3", 1)},
		{"ANTON_OPENAI_API_KEY=new", strings.Replace(before, "=old", "=new", 1)},
		{"A=***", strings.Replace(before, "A=1", "A='***'", 1)},
	} {
		h := open(t, before, nil)
		if err := h.raw(c.content); err != nil {
			t.Errorf("%q: %v", c.content, err)
		}
		if got := readFile(t, h.path); got != c.want {
			t.Errorf("%q:\ngot  %q\nwant %q", c.content, got, c.want)
		}
	}
	h := open(t, "", nil)
	if err := h.raw("ANTON_PLANNING_PROVIDER=openai\nANTON_OPENAI_API_KEY=k"); err != nil {
		t.Fatal(err)
	}
	if m := h.model(); m.Provider != "openai" || m.APIKey != "k" {
		t.Errorf("not in force: %v", m)
	}
}

func TestRawRefusalsChangeNothing(t *testing.T) {
	const before = "# mine\nA=1\n"
	for _, bad := range []string{"A=2\r\nB=3\n", "B=3\nA=x\ry", "B=3\nA=\x00", "B=3\nA=a\x1b[2J", "B=3\nA=\x7f", "B=3\nA=a\u0085EVIL=1", "B=3\nA=a\u2028EVIL=1",
		"B=3\n# \x01", "B=3\nA=\"x\\nEVIL=1\"", "B=3\nA=\"x\\ry\"", "B=3\nA=\"x\\ty\"", "B=3\nA=x\ty", "B=3\nno assignment", "B=3\n{\"json\":true}", "B=3\n1A=x",
		"B=3\n=x", "B=3\nA=" + strings.Repeat("x", maxValue+1), "B=3\n" + strings.Repeat("N", 300) + "=1",
		"B=3\n" + strings.Repeat("# padding\n", maxRaw/10+1), "B=3\n" + manyNames(maxNames)} {
		h := open(t, before, nil)
		err := h.raw(bad)
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Kind != fault.Invalid || len(f.Fields) != 1 || strings.Join(f.Fields[0].Path, ".") != "content" {
			t.Errorf("%.60q: %v", bad, err)
		}
		if got := readFile(t, h.path); got != before {
			t.Errorf("%.60q: file %q", bad, got)
		}
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "N%d=1\n", i)
	}
	return b.String()
}

func TestRawDoesNotGrowBeyondWhatCanBeRead(t *testing.T) {
	h := open(t, strings.Repeat("# padding\n", maxEnvFile/10-10), nil)
	before := readFile(t, h.path)
	err := h.raw("A=" + strings.Repeat("x", 1000))
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Reason != "SETTINGS_TOO_LARGE" || readFile(t, h.path) != before {
		t.Errorf("%v", err)
	}
	if f := h.refused(`{"publishUrl":"http://h/` + strings.Repeat("x", 1000) + `"}`); f.Reason != "SETTINGS_TOO_LARGE" {
		t.Errorf("%v", f)
	}
}

func TestConcurrentRawLosesNothing(t *testing.T) {
	h := open(t, "# kept\n", nil)
	var wg sync.WaitGroup
	names := []string{"A", "B", "C", "D", "E", "F", "G", "H"}
	for _, name := range names {
		wg.Go(func() {
			if err := h.raw(name + "=1"); err != nil {
				t.Error(err)
			}
		})
		req := request(t, `{"publishUrl":"http://`+name+`"}`)
		wg.Go(func() {
			if _, err := h.UpdateSettings(t.Context(), req); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if v := h.env(); len(v) != len(names)+1 || !strings.HasPrefix(readFile(t, h.path), "# kept\n") {
		t.Errorf("%v", v)
	}
}

func TestGetRaw(t *testing.T) {
	const file = "# mine\nANTON_OPENAI_API_KEY='a b'\nOTHER=1\n"
	h := open(t, file, map[string]string{envMindsKey: "process-key"})
	got, err := h.GetRawSettings(here(t), &antonv1.GetRawSettingsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Content != file || len(got.Values) != 3 || got.Values[envOpenAIKey] != "a b" || got.Values["OTHER"] != "1" || got.Values[envTermsConsent] != "true" {
		t.Errorf("%v", got)
	}
	if readFile(t, h.path) != file {
		t.Error("reading changed the file")
	}
	if err := h.raw("ANTON_TERMS_CONSENT=false"); err != nil {
		t.Fatal(err)
	}
	if got, err = h.GetRawSettings(here(t), &antonv1.GetRawSettingsRequest{}); err != nil || got.Values[envTermsConsent] != "false" {
		t.Errorf("%v %v", got, err)
	}
	fresh, err := open(t, "", nil).GetRawSettings(here(t), &antonv1.GetRawSettingsRequest{})
	if err != nil || fresh.Content != "" || len(fresh.Values) != 1 || fresh.Values[envTermsConsent] != "true" {
		t.Errorf("fresh home: %v %v", fresh, err)
	}
}

func TestRevealKey(t *testing.T) {
	h := open(t, "ANTON_ANTHROPIC_API_KEY=a\nANTON_OPENAI_API_KEY=g\nANTON_OPENAI_BASE_URL="+geminiAPI+"\nANTON_PLANNING_PROVIDER=openai-compatible\n"+
		"ANTON_PROVIDER_OPENAI_API_KEY=o\n", map[string]string{envMindsKey: "m"})
	for name, want := range map[string]string{"anthropic": "a", "openai": "g", "minds": "m", "Minds": "m", "minds-cloud": "m", "gemini": "g", "openai-compatible": ""} {
		got, err := h.RevealKey(here(t), &antonv1.RevealKeyRequest{Name: name})
		if err != nil || got.Value != want {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	for _, name := range []string{"offline", "ollama", "ANTON_MINDS_API_KEY", "../.env", ""} {
		_, err := h.RevealKey(here(t), &antonv1.RevealKeyRequest{Name: name})
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Kind != fault.NotFound {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Keys are for callers on this machine, or with the server's key.
func TestKeysAreNotForEverybody(t *testing.T) {
	md := func(pairs ...string) context.Context {
		return metadata.NewIncomingContext(t.Context(), metadata.Pairs(pairs...))
	}
	socket := func(ctx context.Context, address string) context.Context {
		a, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		return peer.NewContext(ctx, &peer.Peer{Addr: a})
	}
	h := open(t, "ANTON_OPENAI_API_KEY=k\n", nil)
	for what, c := range map[string]struct {
		ctx context.Context
		ok  bool
	}{
		"REST":                      {here(t), true},
		"REST by IPv6":              {md(clientAddress, "::1", clientHost, "[::1]:1"), true},
		"REST by IPv4 in IPv6":      {md(clientAddress, "::ffff:127.0.0.1", clientHost, "127.0.0.1"), true},
		"REST from elsewhere":       {md(clientAddress, "10.0.0.7", clientHost, "localhost:1"), false},
		"REST by another name":      {md(clientAddress, "127.0.0.1", clientHost, "anthill.example"), false},
		"REST by a name that seems": {md(clientAddress, "127.0.0.1", clientHost, "localhost.evil.example:1"), false},
		"REST that says nothing":    {md(), false},
		"REST that says too much":   {md(clientAddress, "10.0.0.7", clientAddress, "127.0.0.1", clientHost, "localhost"), false},
		"gRPC":                      {socket(md(":authority", "localhost:1"), "127.0.0.1:5"), true},
		"gRPC from elsewhere":       {socket(md(":authority", "localhost:1"), "10.0.0.7:5"), false},
		"gRPC by another name":      {socket(md(":authority", "anthill.example"), "127.0.0.1:5"), false},
		"gRPC that pretends":        {socket(md(":authority", "anthill.example", clientAddress, "127.0.0.1", clientHost, "localhost"), "10.0.0.7:5"), false},
	} {
		_, reveal := h.RevealKey(c.ctx, &antonv1.RevealKeyRequest{Name: "openai"})
		_, get := h.GetRawSettings(c.ctx, &antonv1.GetRawSettingsRequest{})
		content := "A=1"
		_, set := h.UpdateRawSettings(c.ctx, &antonv1.UpdateRawSettingsRequest{Content: &content})
		for _, err := range []error{reveal, get, set} {
			f, denied := errors.AsType[*fault.Error](err)
			if c.ok != (err == nil) || denied && f.Kind != fault.Kind(codes.PermissionDenied) {
				t.Errorf("%s: %v", what, err)
			}
		}
		h.keyed = true
		if _, err := h.RevealKey(c.ctx, &antonv1.RevealKeyRequest{Name: "openai"}); err != nil {
			t.Errorf("%s, with the key: %v", what, err)
		}
		h.keyed = false
	}
}
