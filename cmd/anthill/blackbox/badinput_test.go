package blackbox

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
)

// state is everything that a refused request could have changed.
func (s *server) state() string {
	s.t.Helper()
	var b strings.Builder
	for _, path := range []string{"/v1/projects", "/v1/projects/active", "/v1/conversations?project=all&limit=1000", "/v1/settings",
		"/v1/conversations/c/messages", "/v1/responses/in-flight-list"} {
		fmt.Fprintf(&b, "%s: %s\n", path, s.get(path).body)
	}
	err := filepath.WalkDir(filepath.Dir(s.home), func(path string, d fs.DirEntry, err error) error {
		if err != nil || strings.HasPrefix(path, filepath.Join(s.home, "store")) || strings.HasPrefix(path, filepath.Join(s.home, "search")) ||
			path == filepath.Join(s.home, "backups") {
			return err // backups are made there, and taken away again
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var data []byte
		if d.Type().IsRegular() {
			data, err = os.ReadFile(path)
		}
		fmt.Fprintf(&b, "%s %v %q\n", path, info.Mode(), clip(data))
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return b.String()
}

// badInput is a server with something to lose. unchanged says that nothing is lost.
func badInput(t *testing.T) (s *server, unchanged func()) {
	t.Helper()
	s = start(t, withModel(answering(t)))
	s.put("/v1/projects/general/files/a.txt", object{"content": "x"}).ok()
	s.put("/v1/projects/general/files/dir/b.txt", object{"content": "x"}).ok()
	s.ask(object{"input": "q", "conversation": "c"}).turn()
	before := s.state()
	return s, func() {
		t.Helper()
		if after := s.state(); after != before {
			t.Errorf("bad input changed something:\n%s\nbefore:\n%s", after, before)
		}
	}
}

// unacceptable checks that a request got a 4xx in the right form, which shows
// nothing of what is inside.
func (a answer) unacceptable(what string) {
	a.t.Helper()
	a.what = clip([]byte(a.what))
	if a.status < 400 || a.status > 499 {
		a.t.Errorf("%s: %v, want a 4xx", what, a)
		return
	}
	a.shape()
	for _, leak := range []string{"root:x:", "proto:", "panic", "goroutine", "runtime error", ".go:"} {
		if strings.Contains(string(a.body), leak) {
			a.t.Errorf("%s: %v shows %q", what, a, leak)
		}
	}
}

// goodBodies are accepted by the routes that take a body, with the names of
// members that the tests spoil.
var goodBodies = map[string]struct{ body, text string }{
	"POST /v1/responses":                                 {`{"input":"q","conversation":"new","stream":false}`, "input"},
	"POST /v1/responses/cancel":                          {`{"conversation_id":"c"}`, "conversation_id"},
	"PATCH /v1/conversations/{id}":                       {`{"title":"new"}`, "title"},
	"POST /v1/projects":                                  {`{"name":"new"}`, "name"},
	"PUT /v1/projects/active":                            {`{"name":"general"}`, "name"},
	"PATCH /v1/projects/{project}":                       {`{"name":"new"}`, "name"},
	"PUT /v1/projects/{project}/files/{path=**}":         {`{"content":"new"}`, "content"},
	"PUT /v1/settings":                                   {`{"greeting":"new"}`, "greeting"},
	"POST /v1/projects/{project}/files/upload":           {``, ""},
	"POST /v1/attachments/upload":                        {``, ""},
	"POST /v1/attachments/{project}/{session_id}/upload": {``, ""},
	"POST /v1/settings/raw":                              {`{"content":"NEW=1"}`, "content"},
	"POST /v1/settings/validate":                         {`{"planningModel":"new"}`, "planningModel"},
	"POST /v1/settings/validate-provider":                {`{"provider":"offline","apiKey":""}`, "provider"},
	"POST /v1/settings/test-providers":                   {`{"providers":[]}`, "providers"},
	"POST /v1/chat/completions":                          {`{"messages":[{"role":"user","content":"q"}],"store":true}`, "messages"},
	"POST /v1/conversations":                             {`{"metadata":{}}`, "project"},
	"POST /v1/conversations/{id}":                        {`{"metadata":{}}`, "metadata"},
	"POST /v1/conversations/{id}/items":                  {`{"items":[{"role":"user","content":"q"}]}`, "items"},
	"POST /v1/scratchpad/start":                          {`{"name":"new"}`, "name"},
	"POST /v1/scratchpad/execute":                        {`{"name":"new","code":"1"}`, "code"},
	"POST /v1/scratchpad/execute-stream":                 {`{"name":"new","code":"1"}`, "code"},
	"POST /v1/scratchpad/install":                        {`{"name":"new","packages":["numpy"]}`, "name"},
	"POST /v1/scratchpad/reset":                          {`{"name":"new"}`, "name"},
	"POST /v1/scratchpad/cancel":                         {`{"name":"new"}`, "name"},
	"POST /v1/scratchpad/close":                          {`{"name":"new"}`, "name"},
	"POST /v1/scratchpad/cleanup":                        {`{"name":"new"}`, "name"},
	"POST /v1/conversations/{id}/fork":                   {`{"turn":0}`, "turn"},
	"POST /v1/memory":                                    {`{"name":"new","content":"new"}`, "content"},
	"POST /v1/skills":                                    {`{"label":"new","name":"New","declarative":"new"}`, "declarative"},
	"POST /v1/skills/upload":                             {``, ""},
}

// empty are the routes that a body need not tell anything.
var empty = []string{"PUT /v1/settings", "POST /v1/settings/validate", "POST /v1/settings/test-providers", "POST /v1/conversations",
	"POST /v1/scratchpad/start", "POST /v1/conversations/{id}/fork"}

// spoiled are bodies that nobody may accept, by what is wrong. member is the name
// of one that should be a text, or hold one.
func spoiled(member string) map[string]string {
	const deep = 100_000
	text := func(value string) string { return `{"` + member + `":` + value + `}` }
	return map[string]string{
		"brace": "{", "half": `{"` + member + `":"x`, "no JSON": "hello", "misspelled": "nul", "comma": `{"` + member + `":"x",}`,
		"single quotes": `{'` + member + `':'x'}`, "comment": `{/* */"` + member + `":"x"}`, "two values": text(`"x"`) + text(`"y"`),
		"trailing text": text(`"x"`) + "x", "array": `[]`, "array of it": "[" + text(`"x"`) + "]", "string": `"x"`, "number": `7`, "null": `null`,
		"NaN": text("NaN"), "Infinity": text("-Infinity"), "hex": text("0x10"), "number for text": text("7"), "object for text": text(`{"a":1}`),
		"true for text": text("true"), "list for text": text(`[7]`),
		"invalid UTF-8": text("\"x\xff\""), "overlong UTF-8": text("\"\xc0\xaf\""), "UTF-8 surrogate": text("\"\xed\xa0\x80\""),
		"invalid UTF-8 in a name": `{"` + member + `":"x","` + "\xff" + `":1}`, "UTF-16": "\xff\xfe{\x00}\x00",
		"lone high surrogate": text(`"\ud800"`), "lone low surrogate": text(`"x\udc00x"`), "reversed surrogates": text(`"\udc00\ud800"`),
		"bad escape": text(`"\x"`), "bad unicode escape": text(`"\u12g4"`), "NUL escape": text(`"a\u0000b"`), "NUL": text("\"a\x00b\""), "NUL outside": "\x00" + text(`"x"`),
		"control character": text("\"a\nb\""), "duplicate keys": `{"` + member + `":"x","` + member + `":"y"}`,
		"nested arrays": strings.Repeat("[", deep), "closed nested arrays": strings.Repeat("[", deep) + strings.Repeat("]", deep),
		"nested in the member":        text(strings.Repeat("[", deep) + strings.Repeat("]", deep)),
		"nested in an unknown member": `{"x":` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + `,"` + member + `":"x"}`,
		"nested objects":              strings.Repeat(`{"a":`, deep) + "1" + strings.Repeat("}", deep),
	}
}

// Done when: malformed JSON and all its relatives get a 4xx in the right shape
// and change nothing.
func TestBadInputBodies(t *testing.T) {
	t.Parallel()
	s, unchanged := badInput(t)
	defer unchanged()
	for _, r := range routes(t) {
		if !r.takesBody() {
			continue
		}
		good, known := goodBodies[r.String()]
		if !known {
			t.Errorf("no example of a body for %s", r)
		}
		path := r.path(sample)
		for what, body := range spoiled(good.text) {
			if slices.Contains(empty, r.String()) && what == "null" && r.template != "/v1/conversations" {
				continue // an empty patch, as in the reference
			}
			s.do(r.method, path, body).unacceptable(r.String() + ", " + what)
		}
		if !slices.Contains(empty, r.String()) {
			s.do(r.method, path, "").unacceptable(r.String() + ", nothing")
			s.do(r.method, path, "{}").unacceptable(r.String() + ", empty object")
		}
		huge := `{"` + good.text + `":"` + strings.Repeat("x", 10<<20) + `"}`
		s.do(r.method, path, huge).refused(http.StatusRequestEntityTooLarge, "Request body too large")
		if strings.HasSuffix(path, "/upload") {
			continue // it takes larger forms, and nothing else
		}
		chunked := struct{ io.Reader }{strings.NewReader(huge)} // hides its length
		s.do(r.method, path, chunked).refused(http.StatusRequestEntityTooLarge, "Request body too large")
	}
}

func TestBadInputTypes(t *testing.T) {
	t.Parallel()
	s, unchanged := badInput(t)
	defer unchanged()
	for _, tc := range []struct{ route, body, loc string }{
		{"POST /v1/responses", `{}`, "body input"},
		{"POST /v1/responses", `{"input":null}`, "body input"},
		{"POST /v1/responses", `{"input":7}`, "body input"},
		{"POST /v1/responses", `{"input":{"role":"user"}}`, "body input"},
		{"POST /v1/responses", `{"input":["x"]}`, "body input 0"},
		{"POST /v1/responses", `{"input":[null]}`, "body input 0"},
		{"POST /v1/responses", `{"input":[{"content":"x"}]}`, "body input 0 role"},
		{"POST /v1/responses", `{"input":[{"role":"user"}]}`, "body input 0 content"},
		{"POST /v1/responses", `{"input":[{"role":"wizard","content":"x"}]}`, "body input 0 role"},
		{"POST /v1/responses", `{"input":[{"role":"user","content":7}]}`, "body input 0 content"},
		{"POST /v1/responses", `{"input":[{"role":"user","content":[{"type":"input_image","image_url":"x"}]}]}`, "body input 0 content 0 image_url"},
		{"POST /v1/responses", `{"input":[{"role":"user","content":[{"type":"input_text"}]}]}`, "body input 0 content 0 text"},
		{"POST /v1/responses", `{"input":[{"type":"function_call_output","call_id":"","output":"y"}]}`, "body input 0 call_id"},
		{"POST /v1/responses", `{"input":[{"type":"function_call_output","call_id":"x","output":7}]}`, "body input 0 output"},
		{"POST /v1/responses", `{"input":[{"type":"function_call","call_id":"x","name":"y","arguments":{}}]}`, "body input 0"},
		{"POST /v1/responses", `{"input":[{"type":"spell"}]}`, "body input 0 type"},
		{"POST /v1/responses", `{"input":[{"type":7}]}`, "body input 0"},
		{"POST /v1/responses", `{"input":"q","stream":"yes"}`, "body stream"},
		{"POST /v1/responses", `{"input":"q","model":7}`, "body model"},
		{"POST /v1/responses", `{"input":"q","project":7}`, "body project"},
		{"POST /v1/responses", `{"input":"q","conversation":7}`, "body conversation"},
		{"POST /v1/responses", `{"input":"q","conversation":{}}`, "body conversation id"},
		{"POST /v1/responses", `{"input":"q","conversation":"a/b"}`, "body conversation"},
		{"POST /v1/responses", `{"input":"q","conversation":"../../x"}`, "body conversation"},
		{"POST /v1/responses", `{"input":"q","conversation":"a b"}`, "body conversation"},
		{"POST /v1/responses", `{"input":"q","conversation":"` + strings.Repeat("x", 129) + `"}`, "body conversation"},
		{"POST /v1/responses", `{"input":"q","attachment_ids":"att_1"}`, "body attachment_ids"},
		{"POST /v1/responses", `{"input":"q","tools":[{"type":"function","name":"x y"}]}`, "body tools 0 name"},
		{"POST /v1/responses", `{"input":"q","previous_response_id":["resp_1"]}`, "body previous_response_id"},
		{"POST /v1/responses", `{"input":"q","background":"true"}`, "body background"},
		{"POST /v1/responses", `{"input":"q","store":"false"}`, "body store"},
		{"POST /v1/responses", `{"input":"q","text":{"format":{"type":"json_schema"}}}`, "body text format name"},
		{"POST /v1/responses", `{"input":"q","text":7}`, "body text"},
		{"POST /v1/responses", `{"input":"q","max_output_tokens":0}`, "body max_output_tokens"},
		{"POST /v1/responses", `{"input":"q","max_output_tokens":1.5}`, "body max_output_tokens"},
		{"POST /v1/responses", `{"input":"q","max_output_tokens":99999999999}`, "body max_output_tokens"},
		{"POST /v1/responses", `{"input":"q","temperature":2.1}`, "body temperature"},
		{"POST /v1/responses", `{"input":"q","temperature":1e999}`, "body temperature"},
		{"POST /v1/responses", `{"input":"q","top_p":-0.1}`, "body top_p"},
		{"POST /v1/responses", `{"input":"q","metadata":{"a":1}}`, "body metadata"},
		{"POST /v1/responses", `{"input":"q","metadata":{"a":"` + strings.Repeat("x", 513) + `"}}`, "body metadata a"},
		{"POST /v1/responses", `{"input":"q","disabled_connections":"x"}`, "body disabled_connections"},
		{"POST /v1/responses", `{"input":"q","disabled_connections":[{"engine":"","name":"x"}]}`, "body disabled_connections 0 engine"},
		{"POST /v1/responses", `{"input":"q","disabled_connections":[null]}`, "body disabled_connections"},
		{"POST /v1/responses/cancel", `{"conversation_id":7}`, "body conversation_id"},
		{"POST /v1/chat/completions", `{"messages":[{"role":"user","content":7}]}`, "body messages 0 content"},
		{"POST /v1/chat/completions", `{"messages":{}}`, "body messages"},
		{"POST /v1/conversations", `{"metadata":[]}`, "body metadata"},
		{"POST /v1/conversations", `{"items":{}}`, "body items"},
		{"POST /v1/conversations", `{"items":[{"role":"user"}]}`, "body items 0 content"},
		{"POST /v1/conversations/c", `{}`, "body metadata"},
		{"POST /v1/conversations/c", `{"metadata":"x"}`, "body metadata"},
		{"POST /v1/conversations/c/items", `{}`, "body items"},
		{"POST /v1/conversations/c/items", `{"items":[]}`, "body items"},
		{"GET /v1/conversations/c/items?limit=x", "", "query limit"},
		{"GET /v1/conversations/c/items?limit=101", "", "query limit"},
		{"GET /v1/conversations/c/items?order=x", "", "query order"},
		{"GET /v1/conversations/c/items?after=x", "", "query after"},
		{"GET /v1/responses/resp_1?stream=x", "", "query stream"},
		{"GET /v1/responses/resp_1?starting_after=x", "", "query starting_after"},
		{"PATCH /v1/conversations/c", `{"title":7}`, "body title"},
		{"PATCH /v1/conversations/c", `{"title":"x","project":[]}`, "body project"},
		{"PATCH /v1/conversations/c", `{"disabled_connections":7}`, "body disabled_connections"},
		{"PATCH /v1/conversations/c", `{"title":"x","disabled_connections":[7]}`, "body disabled_connections 0"},
		{"PATCH /v1/conversations/c", `{"disabled_connections":[{"engine":"e"}]}`, "body disabled_connections 0 name"},
		{"PATCH /v1/conversations/c", `{"mcp":7}`, "body mcp"},
		{"PATCH /v1/conversations/c", `{"mcp":{"deny":"x"}}`, "body mcp deny"},
		{"PATCH /v1/conversations/c", `{"mcp":{"allow":[""]}}`, "body mcp allow"},
		{"POST /v1/projects", `{"name":null}`, "body name"},
		{"POST /v1/projects", `{"name":{}}`, "body name"},
		{"PUT /v1/projects/active", `{"name":1}`, "body name"},
		{"PUT /v1/projects/general/files/a.txt", `{"content":1}`, "body content"},
		{"PUT /v1/settings", `{"autoPin":"yes"}`, "body autoPin"},
		{"PUT /v1/settings", `{"modelOverrides":[]}`, "body modelOverrides"},
		{"PUT /v1/settings", `{"model_overrides":{"coding":{"provider_type":7}}}`, "body modelOverrides coding providerType"},
		{"POST /v1/settings/raw", `{}`, "body content"},
		{"POST /v1/settings/raw", `{"content":"no assignment"}`, "body content"},
		{"POST /v1/settings/validate", `{"planning_provider":7}`, "body planning_provider"},
		{"POST /v1/settings/validate-provider", `{"provider":"openai"}`, "body api_key"},
		{"POST /v1/settings/validate-provider", `{"apiKey":""}`, "body provider"},
		{"POST /v1/settings/test-providers", `{"providers":[7]}`, "body providers 0"},
		{"GET /v1/conversations?limit=x", "", "query limit"},
		{"GET /v1/conversations?limit=0", "", "query limit"},
		{"GET /v1/conversations?limit=-5", "", "query limit"},
		{"GET /v1/conversations?limit=1001", "", "query limit"},
		{"GET /v1/conversations?limit=99999999999", "", "query limit"},
		{"GET /v1/conversations?limit=1e2", "", "query limit"},
		{"GET /v1/projects/general/conversations?limit=x", "", "query limit"},
		{"GET /v1/responses/in-flight", "", "query conversation_id"},
		{"GET /v1/responses/in-flight?conversation_id=", "", "query conversation_id"},
		{"DELETE /v1/conversations/c/turns/x", "", "path turn_index"},
		{"DELETE /v1/conversations/c/turns/1.0", "", "path turn_index"},
		{"DELETE /v1/conversations/c/turns/99999999999", "", "path turn_index"},
	} {
		method, path, _ := strings.Cut(tc.route, " ")
		var body any
		if tc.body != "" {
			body = tc.body
		}
		a := s.do(method, path, body)
		d, _ := a.refused(http.StatusUnprocessableEntity, "")["detail"].([]any)
		got := []string{}
		for _, e := range d {
			loc, _ := e.(object)["loc"].([]any)
			got = append(got, strings.Trim(fmt.Sprint(loc), "[]"))
		}
		if !slices.Contains(got, tc.loc) {
			t.Errorf("%s %s: %v, want loc %q", tc.route, clip([]byte(tc.body)), a, tc.loc)
		}
	}
	s.post("/v1/responses", `{"input":"q","attachment_ids":["att_1"]}`).refused(http.StatusNotFound, "Attachment not found: att_1")
	for _, body := range []string{`{"input":""}`, `{"input":"  \n "}`, `{"input":[]}`, `{"input":[{"role":"assistant","content":"x"}]}`,
		`{"input":[{"role":"user","content":[]}]}`} {
		s.post("/v1/responses", body).refused(http.StatusBadRequest, "No user message in input")
	}
}

func TestBadInputUnknownAndTraversal(t *testing.T) {
	t.Parallel()
	s, unchanged := badInput(t)
	defer unchanged()
	nasty := []string{"no-such-thing", "..%2f..%2f..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%252f..%252fetc%252fpasswd", "%2e%2e", "..",
		"..%5c..%5cetc%5cpasswd", "%2fetc%2fpasswd", "x%00.txt", "x%0ay", "%1b%5b2J", "%ff%fe", "%c0%ae%c0%ae%2fx", "C:%5cwindows%5cx", "%2e", "store%2f..%2f..%2fstore%2fmain.db",
		strings.Repeat("x", 5000), "%E2%80%AE", ".git%2f..%2f..%2f..%2fstore%2fmain.db", ";id", "$(id)", "%60id%60", "--help", "*"}
	for _, r := range routes(t) {
		for _, spoiled := range r.parameters() {
			for _, name := range nasty {
				if spoiled == "path" && r.method == http.MethodPut && !escapes(name) {
					continue // a name like any other for a new file
				}
				var body any
				if r.takesBody() {
					body = goodBodies[r.String()].body
				}
				a := s.do(r.method, r.path(func(p string) string {
					if p == spoiled {
						return name
					}
					return sample(p)
				}), body, uploadHeaders(r))
				if a.status == http.StatusOK && r.String() == "GET /v1/projects/{project}/conversations" {
					if got := a.object()["conversations"].([]any); len(got) != 0 {
						t.Errorf("%v", a)
					}
					continue // an unknown project has none
				}
				if a.status == http.StatusOK && spoiled == "session_id" && string(a.body) == "[]" {
					continue // nor has an unknown session
				}
				a.unacceptable(fmt.Sprintf("%s, %s is %s", r, spoiled, clip([]byte(name))[:min(len(name), 60)]))
			}
		}
	}
	for _, r := range routes(t) {
		if r.method != http.MethodGet {
			continue
		}
		for _, query := range []string{"?project=%ff", "?conversation_id=%c0%af", "?limit=%ff", "?id=%ff&x=%zz", "?%ff=1"} {
			a := s.get(r.path(sample) + query)
			if a.status >= 500 {
				t.Errorf("%v", a)
			}
		}
	}
	for _, path := range []string{"dir", "dir%2f", ".", "./", "dir/..", "dir/../..", "a.txt/x", "//etc/passwd", "dir//..//..//x", "%2e%2e/store/main.db"} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			var body any
			if method == http.MethodPut {
				body = object{"content": "evil"}
			}
			s.do(method, "/v1/projects/general/files/"+path, body).unacceptable(method + " file " + path)
		}
		s.get("/v1/projects/general/files-raw/" + path).unacceptable("raw file " + path)
	}
	for name, link := range map[string]string{"passwd": "/etc/passwd", "root": "/", "store": s.home} {
		if err := os.Symlink(link, filepath.Join(s.projects(), "general", "dir", name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"dir/passwd", "dir/root/etc/passwd", "dir/store/store/main.db"} {
		s.get("/v1/projects/general/files/" + path).unacceptable("link " + path)
		s.get("/v1/projects/general/files-raw/" + path).unacceptable("raw link " + path)
	}
	s.put("/v1/projects/general/files/dir/store/planted.txt", object{"content": "evil"}).unacceptable("write through a link")
	for _, name := range []string{"passwd", "root", "store"} {
		if err := os.Remove(filepath.Join(s.projects(), "general", "dir", name)); err != nil {
			t.Fatal(err)
		}
	}
}

// escapes says whether a name would lead out of a folder, or is none.
func escapes(name string) bool {
	plain, err := url.PathUnescape(name)
	return err == nil && (strings.Contains(plain, "..") && !strings.Contains(plain, "%") || strings.ContainsAny(plain, "\x00\n\x1b\\") ||
		strings.HasPrefix(plain, "/") || plain == "." || len(plain) > 255 || strings.ContainsRune(plain, '\uFFFD') || strings.Contains(name, "%ff"))
}

func uploadHeaders(r route) http.Header {
	if strings.HasSuffix(r.template, "/upload") {
		return headers("Content-Type", "multipart/form-data; boundary=x")
	}
	return nil
}

// An encoded slash is part of a name, and no id or project has one: it must not
// lead to another operation than the one that the client wrote.
func TestBadInputEncodedSlash(t *testing.T) {
	t.Parallel()
	s, unchanged := badInput(t)
	defer unchanged()
	for _, r := range routes(t) {
		path := r.path(sample)
		var body any
		if r.takesBody() {
			body = goodBodies[r.String()].body
		}
		for i := strings.LastIndexByte(path, '/'); i > len("/v1"); i = strings.LastIndexByte(path[:i], '/') {
			for _, slash := range []string{"%2F", "%2f"} {
				encoded := path[:i] + slash + strings.ReplaceAll(path[i+1:], "/", slash)
				s.do(r.method, encoded, body, uploadHeaders(r)).unacceptable(r.method + " " + encoded)
			}
		}
	}
	if got := s.get("/v1/projects/general/files/dir%2Fb.txt").ok()["content"]; got != "x" {
		t.Errorf("a file's path may have encoded slashes: %q", got)
	}
}

func TestBadInputRouting(t *testing.T) {
	t.Parallel()
	s, unchanged := badInput(t)
	defer unchanged()
	all := routes(t)
	for _, r := range all {
		path := r.path(sample)
		var allowed []string
		for _, other := range all {
			if other.matches(path) && !slices.Contains(allowed, other.method) {
				allowed = append(allowed, other.method)
			}
		}
		sort.Strings(allowed)
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, "PROPFIND"} {
			if slices.Contains(allowed, method) {
				continue
			}
			a := s.do(method, path, nil)
			a.refused(http.StatusMethodNotAllowed, "Method Not Allowed")
			if got := a.header.Get("Allow"); got != strings.Join(allowed, ", ") {
				t.Errorf("%v: Allow %q, want %q", a, got, allowed)
			}
		}
		if path == "/" || r.deep() {
			continue
		}
		a := s.do(r.method, path+"/?a=b", nil)
		if loc := a.header.Get("Location"); a.status != http.StatusTemporaryRedirect || strings.TrimPrefix(loc, s.url) != path+"?a=b" {
			t.Errorf("%v to %q, want %s", a, loc, path)
		}
	}
	for _, path := range []string{"/nothing", "/v1", "/v1/nothing", "/v1/responses/nothing/at/all", "/v1/conversations/c/nothing", "/v2/projects",
		"/v1/nothing/", "//evil.example/", "/v1//projects", "/V1/projects", "/v1/../health", "/%2e%2e/etc/passwd", "/v1/projects%2factive"} {
		s.get(path).refused(http.StatusNotFound, "Not Found")
	}
	if a := s.do(http.MethodHead, "/health", nil); a.status != http.StatusOK || len(a.body) != 0 {
		t.Errorf("HEAD: %v", a)
	}
	if reply := s.raw("GET /health HTTP/1.1\r\nHost: " + s.addr + "\r\nX: " + strings.Repeat("x", 1<<20) + "\r\nConnection: close\r\n\r\n"); statusOf(reply) != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 1 MiB: %s", clip([]byte(reply)))
	}
	for _, request := range []string{"GET\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00", "GET /%zz HTTP/1.1\r\nHost: " + s.addr + "\r\n\r\n", "GET /health HTTP/9.9\r\nHost: x\r\n\r\n"} {
		if status := statusOf(s.raw(request)); status != -1 && (status < 400 || status >= 600 || status == 500) {
			t.Errorf("%q: %d", request, status)
		}
	}
}
