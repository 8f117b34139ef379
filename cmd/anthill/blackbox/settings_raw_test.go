package blackbox

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
)

// What the desktop app asks before it begins, on a fresh home.
func TestSettingsFirstQuestionsOfTheDesktopApp(t *testing.T) {
	t.Parallel()
	s := start(t, alone())
	if o := s.get("/v1/settings/raw").ok(); o["ANTON_TERMS_CONSENT"] != "true" {
		t.Errorf("raw: %v", o)
	}
	if o := s.get("/v1/settings/install-status").ok(); o["antonInstalled"] != true || o["serverDepsReady"] != true {
		t.Errorf("install status: %v", o)
	}
	if o := s.get("/v1/settings/configured").ok(); o["configured"] != true || o["provider"] != "" {
		t.Errorf("configured: %v", o)
	}
	if _, err := os.Stat(filepath.Join(s.user, ".anton", ".env")); err == nil {
		t.Error("asking wrote a file")
	}
	s.put("/v1/settings", object{"planningProvider": "anthropic"}).ok()
	if o := s.get("/v1/settings/configured").ok(); o["configured"] != false {
		t.Errorf("without a key: %v", o)
	}
	s.put("/v1/settings", object{"anthropicApiKey": "sk-key"}).ok()
	if o := s.get("/v1/settings/configured").ok(); o["configured"] != true || o["provider"] != "anthropic" {
		t.Errorf("with a key: %v", o)
	}
	set := antonv1.NewSettingsServiceClient(s.dial())
	if c, err := set.GetConfigured(s.call(), &antonv1.GetConfiguredRequest{}); err != nil || !c.Configured || c.Provider != "anthropic" {
		t.Errorf("gRPC: %v %v", c, err)
	}
	if i, err := set.GetInstallStatus(s.call(), &antonv1.GetInstallStatusRequest{}); err != nil || !i.AntonInstalled || !i.ServerDepsReady {
		t.Errorf("gRPC: %v %v", i, err)
	}
}

// The settings file in the clear, and merged into line by line.
func TestSettingsRaw(t *testing.T) {
	t.Parallel()
	var file string
	s := start(t, alone(), prepared(func(user, _ string) {
		file = filepath.Join(user, ".anton", ".env")
		writeFile(t, file, envFile)
	}))
	read := func() string {
		t.Helper()
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	a := s.get("/v1/settings/raw")
	o := a.ok()
	if o["ANTON_TERMS_CONSENT"] != "true" || o["OTHER_PROGRAM"] != "keeps its line" || o["content"] != envFile || len(o) != 3 || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v %v", a, a.header)
	}
	// The app sends the one line it cares about.
	a = s.post("/v1/settings/raw", object{"content": "ANTON_TERMS_CONSENT=true"})
	if o := a.ok(); o["ok"] != true || read() != envFile {
		t.Errorf("%v %q", a, read())
	}
	s.post("/v1/settings/raw", object{"content": "# from the app\nANTON_PLANNING_PROVIDER=openai\nANTON_OPENAI_API_KEY='sk 1'\nANTON_TERMS_CONSENT=false\n"}).ok()
	want := strings.Replace(envFile, "CONSENT=true", "CONSENT=false", 1) + "ANTON_PLANNING_PROVIDER=openai\nANTON_OPENAI_API_KEY='sk 1'\n"
	if read() != want {
		t.Errorf("file %q, want %q", read(), want)
	}
	if o := s.get("/v1/settings").ok(); o["planningProvider"] != "openai" || o["openaiApiKey"] != "***" || o["configReady"] != true {
		t.Errorf("not in force: %v", o)
	}
	set := antonv1.NewSettingsServiceClient(s.dial())
	if r, err := set.UpdateRawSettings(s.call(), &antonv1.UpdateRawSettingsRequest{Content: proto.String("ANTON_OPENAI_API_KEY=***\nANTON_PLANNING_PROVIDER=")}); err != nil || !r.Ok {
		t.Errorf("gRPC: %v %v", r, err)
	}
	if want = strings.Replace(want, "ANTON_PLANNING_PROVIDER=openai\n", "", 1); read() != want {
		t.Errorf("file %q, want %q", read(), want)
	}
	if r, err := set.GetRawSettings(s.call(), &antonv1.GetRawSettingsRequest{}); err != nil || r.Content != want || r.Values["ANTON_OPENAI_API_KEY"] != "sk 1" {
		t.Errorf("gRPC: %v %v", r, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}

	for name, content := range map[string]any{"CR": "A=1\r\nB=2\r\n", "CR in a value": "A=1\nB=x\ry", "NUL": "A=1\nB=\x00", "escape": "A=1\nB=\x1b[2J", "DEL": "A=1\nB=\x7f",
		"next line": "A=1\nB=x\u0085EVIL=1", "line separator": "A=1\nB=x\u2028EVIL=1", "quoted line break": "A=1\nB=\"x\\nEVIL=1\"", "quoted CR": "A=1\nB=\"x\\rEVIL=1\"",
		"no assignment": "A=1\nhello", "JSON": "A=1\n{}", "long": "A=1\nB=" + strings.Repeat("x", 10_000), "large": "A=1\n" + strings.Repeat("# padding padding\n", 20_000),
		"number": 7, "list": []any{"A=1"}, "null": nil} {
		s.post("/v1/settings/raw", object{"content": content}).refused(http.StatusUnprocessableEntity, "")
		if text, ok := content.(string); ok {
			_, err := set.UpdateRawSettings(s.call(), &antonv1.UpdateRawSettingsRequest{Content: &text})
			wantCode(t, name+" by gRPC", err, codes.InvalidArgument)
		}
		if read() != want {
			t.Fatalf("%s: changed the file: %q", name, read())
		}
	}
	for name, body := range map[string]any{"nothing": "", "empty": object{}, "half": "{", "array": []any{}} {
		s.post("/v1/settings/raw", body).unacceptable(name)
	}
	_, err = set.UpdateRawSettings(s.call(), &antonv1.UpdateRawSettingsRequest{})
	wantCode(t, "nothing by gRPC", err, codes.InvalidArgument)
}

// Whoever writes, by whichever way, nobody's line is lost.
func TestSettingsConcurrentWriters(t *testing.T) {
	t.Parallel()
	var file string
	s := start(t, alone(), prepared(func(user, _ string) {
		file = filepath.Join(user, ".anton", ".env")
		writeFile(t, file, envFile)
	}))
	set := antonv1.NewSettingsServiceClient(s.dial())
	ctx := s.call()
	var wg sync.WaitGroup
	rest := func(method, path string, body object) {
		wg.Go(func() {
			if a, err := s.try(method, path, body); err != nil || a.status != http.StatusOK {
				t.Errorf("%v %v", a, err)
			}
		})
	}
	const each = 8
	for i := range each {
		rest(http.MethodPost, "/v1/settings/raw", object{"content": fmt.Sprintf("RAW_%d=1", i)})
		wg.Go(func() {
			_, err := set.UpdateRawSettings(ctx, &antonv1.UpdateRawSettingsRequest{Content: proto.String(fmt.Sprintf("GRPC_%d=1", i))})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for _, body := range []object{{"anthropicApiKey": "sk-a"}, {"openaiApiKey": "sk-o"}, {"mindsApiKey": "sk-m"}, {"publishUrl": "http://p.example"}, {"memoryMode": "off"},
		{"greeting": "G"}, {"tone": "T"}, {"autoPin": false}, {"show_dots": false}, {"provider_status": object{"openai": "ok"}}} {
		rest(http.MethodPut, "/v1/settings", body)
	}
	rest(http.MethodPost, "/v1/settings/test-providers", object{})
	wg.Wait()
	o := s.get("/v1/settings").ok()
	for k, v := range map[string]any{"anthropicApiKey": "***", "openaiApiKey": "***", "mindsApiKey": "***", "publishUrl": "http://p.example",
		"memoryMode": "off", "greeting": "G", "tone": "T", "autoPin": false, "showDots": false} {
		if o[k] != v {
			t.Errorf("%s is %v, want %v", k, o[k], v)
		}
	}
	raw := s.get("/v1/settings/raw").ok()
	for i := range each {
		if raw[fmt.Sprintf("RAW_%d", i)] != "1" || raw[fmt.Sprintf("GRPC_%d", i)] != "1" {
			t.Errorf("line %d is lost", i)
		}
	}
	if data, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(data), envFile) {
		t.Errorf("%v %q", err, data)
	}
}

// Keys are shown to callers on this machine, or with the server's key.
func TestSettingsKeysAreForTheOwner(t *testing.T) {
	t.Parallel()
	const key = "sk-REVEALED-0123456789"
	s := start(t, alone("ANTHILL_ALLOWED_HOSTS=anthill.example"))
	s.put("/v1/settings", object{"anthropicApiKey": key, "mindsApiKey": "sk-minds", "openaiApiKey": ""}).ok()
	for name, want := range map[string]string{"anthropic": key, "openai": "", "minds": "sk-minds", "ANTHROPIC": key} {
		a := s.get("/v1/settings/reveal-key/" + name)
		if o := a.ok(); o["value"] != want || len(o) != 1 || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v %v", a, a.header)
		}
	}
	for _, name := range []string{"offline", "skynet", "ANTON_ANTHROPIC_API_KEY", "..%2f.env", "%2e%2e"} {
		s.get("/v1/settings/reveal-key/" + name).unacceptable(name)
	}
	s.get("/v1/settings/reveal-key/skynet").refused(http.StatusNotFound, "Unknown key name")

	// By a name that only a proxy or a name server could have given it.
	secretRoutes := []struct {
		method, path string
		body         any
	}{{http.MethodGet, "/v1/settings/reveal-key/anthropic", nil}, {http.MethodGet, "/v1/settings/raw", nil}, {http.MethodPost, "/v1/settings/raw", object{"content": "EVIL=1"}}}
	for _, r := range secretRoutes {
		a := s.do(r.method, r.path, r.body, headers("Host", "anthill.example"))
		a.refused(http.StatusForbidden, "")
		if strings.Contains(string(a.body), key) || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v %v", a, a.header)
		}
	}
	if a := s.do(http.MethodGet, "/v1/settings", nil, headers("Host", "anthill.example")); a.status != http.StatusOK {
		t.Errorf("%v", a)
	}
	denied := func(what string, set antonv1.SettingsServiceClient, want codes.Code) {
		t.Helper()
		_, err := set.RevealKey(s.call(), &antonv1.RevealKeyRequest{Name: "anthropic"})
		wantCode(t, what+": reveal", err, want)
		_, err = set.GetRawSettings(s.call(), &antonv1.GetRawSettingsRequest{})
		wantCode(t, what+": raw", err, want)
		_, err = set.UpdateRawSettings(s.call(), &antonv1.UpdateRawSettingsRequest{Content: proto.String("EVIL=1")})
		wantCode(t, what+": write raw", err, want)
	}
	denied("another name", antonv1.NewSettingsServiceClient(s.dial(grpc.WithAuthority("anthill.example"))), codes.PermissionDenied)
	set := antonv1.NewSettingsServiceClient(s.dial())
	if r, err := set.RevealKey(s.call(), &antonv1.RevealKeyRequest{Name: "anthropic"}); err != nil || r.Value != key {
		t.Errorf("%v %v", r, err)
	}
	ctx := metadata.AppendToOutgoingContext(s.call(), "x-client-address", "127.0.0.1", "x-client-host", "localhost")
	_, err := antonv1.NewSettingsServiceClient(s.dial(grpc.WithAuthority("anthill.example"))).RevealKey(ctx, &antonv1.RevealKeyRequest{Name: "anthropic"})
	wantCode(t, "pretended metadata", err, codes.PermissionDenied)
	s.do(http.MethodGet, "/v1/settings/raw", nil, headers("Host", "anthill.example", "Grpc-Metadata-X-Client-Host", "localhost", "X-Client-Host", "localhost")).refused(http.StatusForbidden, "")
	if o := s.get("/v1/settings/raw").ok(); o["EVIL"] != nil {
		t.Error("a refused write was made")
	}

	// Who shows the key may come by any name.
	s.stop()
	s.restart(withKey(apiKey))
	for _, r := range secretRoutes[:2] {
		a := s.do(r.method, r.path, r.body, headers("Host", "anthill.example"))
		if a.status != http.StatusOK || !strings.Contains(string(a.body), key) {
			t.Errorf("%v", a)
		}
	}
	anonymous := *s
	anonymous.opts.key = ""
	for _, r := range secretRoutes {
		anonymous.do(r.method, r.path, r.body).refused(http.StatusUnauthorized, "")
	}
}
