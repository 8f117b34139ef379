package settings

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent/probe"
	"anthill/services/internal/dial"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
)

// house is a room with a settings file and an environment of its own.
type house struct {
	*Room
	t       *testing.T
	path    string
	process map[string]string
	db      *brokenDB
	logged  *bytes.Buffer
}

// brokenDB is a store that can be made to fail.
type brokenDB struct {
	store.DB
	err, update error
}

func (d *brokenDB) Err() error { return d.err }

func (d *brokenDB) Update(ctx context.Context, fn func(store.Tx) error) error {
	if d.update != nil {
		return d.update
	}
	return d.DB.Update(ctx, fn)
}

func open(t *testing.T, file string, process map[string]string) *house {
	t.Helper()
	dir := t.TempDir()
	db, err := bolt.Open(bolt.Options{Path: filepath.Join(dir, "main.db"), Limits: store.MainLimits})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, path: filepath.Join(dir, ".anton", ".env"), process: process, db: &brokenDB{DB: db}, logged: &bytes.Buffer{}}
	if file != "" {
		writeFile(t, h.path, file)
	}
	getenv := func(name string) (string, bool) {
		v, ok := process[name]
		if !ok && (name == "ANTON_OLLAMA_URL" || name == "ANTON_LMSTUDIO_URL") {
			return "off", true // what runs on the machine of the test is not looked at
		}
		return v, ok
	}
	prober := probe.New(dial.Policy{Private: true})
	t.Cleanup(prober.Close)
	h.Room, err = Open(t.Context(), Options{
		DB: h.db, EnvFile: h.path, Version: "1.2.3", Getenv: getenv, Prober: prober,
		Finder: probe.NewFinder(probe.FinderOptions{Getenv: getenv, Prober: prober, Patience: time.Minute}),
		Log:    slog.New(slog.NewJSONHandler(h.logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(h.Room.Close(context.Background()), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *house) get() *antonv1.Settings {
	h.t.Helper()
	s, err := h.GetSettings(h.t.Context(), &antonv1.GetSettingsRequest{})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// request decodes a body as the REST door does.
func request(t *testing.T, body string) *antonv1.UpdateSettingsRequest {
	t.Helper()
	req := &antonv1.UpdateSettingsRequest{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(body), req); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return req
}

func (h *house) put(body string) *antonv1.UpdateSettingsResponse {
	h.t.Helper()
	resp, err := h.UpdateSettings(h.t.Context(), request(h.t, body))
	if err != nil {
		h.t.Fatalf("PUT %s: %v", body, err)
	}
	return resp
}

func (h *house) refused(body string) *fault.Error {
	h.t.Helper()
	_, err := h.UpdateSettings(h.t.Context(), request(h.t, body))
	var f *fault.Error
	if !errors.As(err, &f) {
		h.t.Fatalf("PUT %s: got %v, want a fault", body, err)
	}
	return f
}

func (h *house) env() map[string]string {
	h.t.Helper()
	src, err := os.ReadFile(h.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	return parseDocument(src).values()
}

func (h *house) model() Model {
	h.t.Helper()
	m, err := h.Model(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

func (h *house) coding() Model {
	h.t.Helper()
	m, err := h.CodingModel(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

func TestOpenNeedsItsParts(t *testing.T) {
	if _, err := Open(t.Context(), Options{EnvFile: "x"}); err == nil {
		t.Error("opened without a store")
	}
	if _, err := Open(t.Context(), Options{DB: &brokenDB{}}); err == nil {
		t.Error("opened without a file name")
	}
	if _, err := Open(t.Context(), Options{DB: &brokenDB{}, EnvFile: "x"}); err == nil {
		t.Error("opened without a prober")
	}
}

func TestCloseObeysContext(t *testing.T) {
	h := open(t, "", nil)
	h.file.writing.Lock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	h.file.writing.Unlock()
}

func TestHealth(t *testing.T) {
	h := open(t, "", nil)
	got, err := h.GetHealth(t.Context(), &antonv1.GetHealthRequest{})
	if err != nil || got.Status != "ok" || !got.AntonAvailable || got.Mode != "anton" || !got.ConfigReady || got.ConfigError != "" ||
		got.Provider != "offline" || got.Model != "offline" || got.ProviderLabel != "Offline (built in)" ||
		len(got.LiveConversations) != 0 || len(got.LivePads) != 0 || got.Version != "1.2.3" {
		t.Errorf("fresh home: %v %v", got, err)
	}
	h.Join(turns{"c1", "c2"})
	got, err = h.GetHealth(t.Context(), &antonv1.GetHealthRequest{})
	if err != nil || len(got.LiveConversations) != 2 {
		t.Errorf("running: %v %v", got, err)
	}
	h.db.err = store.ErrFull
	if _, err := h.GetHealth(t.Context(), &antonv1.GetHealthRequest{}); err != nil {
		t.Errorf("a full disk: %v", err)
	}
	h.db.err = store.ErrReadOnly
	_, err = h.GetHealth(t.Context(), &antonv1.GetHealthRequest{})
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Unavailable || f.Reason != "STORE_READ_ONLY" {
		t.Errorf("read only: %v", err)
	}
}

type turns []string

func (t turns) Running() []string { return t }

func TestBannerAndBrowse(t *testing.T) {
	h := open(t, "", nil)
	b, err := h.GetBanner(t.Context(), &antonv1.GetBannerRequest{})
	if err != nil || b.Message != "Anton CoWork API" || !b.AntonAvailable {
		t.Errorf("banner: %v %v", b, err)
	}
	s, err := h.GetBrowseStatus(t.Context(), &antonv1.GetBrowseStatusRequest{})
	if err != nil || s.Supported || s.Mode != "url_context_only" || s.Reason == "" || len(s.Evidence) == 0 {
		t.Errorf("browse: %v %v", s, err)
	}
}

func TestUnreadableFileIsToldNotGuessed(t *testing.T) {
	h := open(t, "", nil)
	if err := os.MkdirAll(h.path, 0o700); err != nil { // a folder in its place
		t.Fatal(err)
	}
	if m := h.model(); m.Ready || m.Problem == "" {
		t.Errorf("model: %v %q", m, m.Problem)
	}
	if s := h.get(); s.ConfigReady || s.ConfigError == "" {
		t.Errorf("settings: %v", s)
	}
	f := h.refused(`{"openaiApiKey":"sk-x"}`)
	if f.Kind != fault.Unavailable || f.Message != "Settings could not be saved." {
		t.Errorf("PUT: %v", f)
	}
}
