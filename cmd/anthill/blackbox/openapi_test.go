package blackbox

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// openAPI is the document that a server shows, checked as a whole.
func openAPI(t *testing.T, s *server, path string) *openapi3.T {
	t.Helper()
	a := s.get(path)
	a.ok()
	doc, err := openapi3.NewLoader().LoadFromData(a.body)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

var addedByHand = regexp.MustCompile(`AddHand\(http\.Method(\w+), "([^"]+)"`)

// served are the routes of the server: those of the descriptors and those that
// its source adds by hand.
func served(t *testing.T) map[string][]string {
	t.Helper()
	methods := map[string][]string{}
	add := func(method, template string) {
		path := strings.ReplaceAll(template, "=**", "")
		if !slices.Contains(methods[path], method) {
			methods[path] = append(methods[path], method)
		}
	}
	for _, r := range append(routes(t), antRoutes(t)...) {
		add(r.method, r.template)
	}
	add(http.MethodPost, "/mcp") // no dialect's
	add(http.MethodDelete, "/mcp")
	files, err := filepath.Glob(repository + "/gateway/an*/*.go") // the two dialects
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	byHand := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range addedByHand.FindAllStringSubmatch(string(source), -1) {
			if strings.HasPrefix(m[2], "/ws/") {
				continue // /ws by other names, for clients of the reference
			}
			add(strings.ToUpper(m[1]), m[2])
			byHand++
		}
	}
	if byHand < 5 {
		t.Errorf("only %d routes by hand were found", byHand)
	}
	for _, list := range methods {
		slices.Sort(list)
	}
	return methods
}

// The document has the routes that there are, no more and no fewer.
func TestOpenAPIHasEveryRoute(t *testing.T) {
	t.Parallel()
	s := start(t)
	doc := openAPI(t, s, "/openapi.json")
	routes := served(t)
	for path, methods := range routes {
		item := doc.Paths.Value(path)
		if item == nil {
			t.Errorf("the document lacks %s", path)
			continue
		}
		var documented []string
		for method := range item.Operations() {
			documented = append(documented, method)
		}
		slices.Sort(documented)
		if !slices.Equal(documented, methods) {
			t.Errorf("%s: documented are %v, served are %v", path, documented, methods)
		}
	}
	for path, item := range doc.Paths.Map() {
		if routes[path] == nil {
			t.Errorf("the document has %s, which is not served", path)
			continue
		}
		// The server itself says which methods it knows.
		a := s.do(http.MethodTrace, routeOf("", path).path(func(name string) string { return "x" }), nil)
		for method, op := range item.Operations() {
			if a.status != http.StatusMethodNotAllowed || !strings.Contains(a.header.Get("Allow"), method) {
				t.Errorf("%s %s: the server says %d, Allow %q", method, path, a.status, a.header.Get("Allow"))
			}
			if op.Summary == "" || len(op.Tags) != 1 || op.OperationID == "" {
				t.Errorf("%s %s has no summary, tag or id", method, path)
			}
			for _, name := range routeOf("", path).parameters() {
				if p := op.Parameters.GetByInAndName("path", name); p == nil || !p.Required {
					t.Errorf("%s %s: parameter %s is not described", method, path, name)
				}
			}
		}
	}
}

// What the server answers is what the document says.
func TestOpenAPISaysWhatIsAnswered(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)))
	s.put("/v1/projects/general/files/a.txt", object{"content": "x"}).ok()
	s.ask(object{"input": "hello", "conversation": "c"}).turn()
	doc := openAPI(t, s, "/openapi.json")
	checked := 0
	check := func(a answer, op *openapi3.Operation) {
		t.Helper()
		r := op.Responses.Status(a.status)
		if r == nil {
			r = op.Responses.Default()
		}
		if r == nil || r.Value == nil {
			t.Errorf("%v is not described", a)
			return
		}
		typ, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
		media := r.Value.Content.Get(typ)
		if media == nil || media.Schema == nil {
			t.Errorf("%v: type %q is not described", a, typ)
			return
		}
		if typ == "application/json" {
			if err := media.Schema.Value.VisitJSON(decode[any](t, a.body)); err != nil {
				t.Errorf("%v: %v", a, err)
			}
			checked++
		}
	}
	for path, item := range doc.Paths.Map() {
		op := item.Get
		if op == nil || path == "/v1/responses/tail" || path == "/api/events" {
			continue
		}
		url := routeOf("", path).path(func(name string) string {
			if v := sample(name); v != "" {
				return v
			}
			return "unknown"
		})
		check(s.get(url), op)
		check(s.get(url+"?conversation_id=c"), op)
	}
	a := s.post("/v1/responses", object{"input": "again", "conversation": "c", "stream": false})
	check(a, doc.Paths.Value("/v1/responses").Post)
	id := str(a.ok(), "id")
	check(s.get("/v1/responses/"+id), doc.Paths.Value("/v1/responses/{response_id}").Get)
	check(s.get("/v1/responses/"+id+"/input_items"), doc.Paths.Value("/v1/responses/{response_id}/input_items").Get)
	check(s.post("/v1/responses", object{"stream": false}), doc.Paths.Value("/v1/responses").Post)
	check(s.post("/v1/chat/completions", object{"messages": []object{{"role": "user", "content": "hello"}}}), doc.Paths.Value("/v1/chat/completions").Post)
	check(s.post("/v1/conversations", object{}), doc.Paths.Value("/v1/conversations").Post)
	check(s.post("/v1/projects", object{"name": "p"}), doc.Paths.Value("/v1/projects").Post)
	check(s.post("/v1/projects", object{}), doc.Paths.Value("/v1/projects").Post)
	check(s.put("/v1/settings", object{"tone": "terse"}), doc.Paths.Value("/v1/settings").Put)
	check(s.patch("/v1/conversations/c", object{"title": "New"}), doc.Paths.Value("/v1/conversations/{id}").Patch)
	check(s.delete("/v1/conversations/c/turns/0"), doc.Paths.Value("/v1/conversations/{id}/turns/{turn_index}").Delete)
	if checked < 40 {
		t.Errorf("only %d answers were compared", checked)
	}
	// Requests are described as they are read: what is required is refused without.
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.RequestBody == nil || !op.RequestBody.Value.Required || op.RequestBody.Value.Content.Get("application/json") == nil {
				continue
			}
			url := routeOf("", path).path(sample)
			if strings.Contains(url, "//") {
				continue
			}
			schema := op.RequestBody.Value.Content.Get("application/json").Schema.Value
			if len(schema.Required) == 0 {
				t.Errorf("%s %s: a body is required, but nothing in it", method, path)
			}
			status := http.StatusUnprocessableEntity
			if isAnt(path) || path == "/mcp" {
				status = http.StatusBadRequest
			}
			if a := s.do(method, url, object{}); a.status != status || !strings.Contains(string(a.body), schema.Required[0]) {
				t.Errorf("without %v: %v", schema.Required, a)
			}
		}
	}
}

var (
	inlineStyle = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	anchors     = regexp.MustCompile(` id="([^"]+)"`)
	links       = regexp.MustCompile(` (?:href|src)="([^"]+)"`)
	examples    = regexp.MustCompile(`(?s)<pre tabindex="0" aria-label="Example of (\w+) ([^"]+)"><code>(.*?)</code></pre>`)
)

// The page needs nothing but itself, and its examples work as they stand.
func TestDocsPage(t *testing.T) {
	t.Parallel()
	s := start(t, withArgs("--base-path", "/hill"))
	s.put("/v1/projects/general/files/notes.md", object{"content": ferry}).ok()
	s.ask(object{"input": "hello", "conversation": "trip"}).turn()
	doc := openAPI(t, s, "/hill/openapi.json")
	a := s.get("/hill/docs")
	page := string(a.body)
	if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%v", a)
	}
	sum := sha256.Sum256([]byte(inlineStyle.FindStringSubmatch(page)[1]))
	policy := a.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, base64.StdEncoding.EncodeToString(sum[:])) || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	ids := map[string]int{}
	for _, m := range anchors.FindAllStringSubmatch(page, -1) {
		if ids[m[1]]++; ids[m[1]] > 1 {
			t.Errorf("id %q is there twice", m[1])
		}
	}
	for _, m := range links.FindAllStringSubmatch(page, -1) {
		target, local := strings.CutPrefix(m[1], "#")
		if local && ids[target] == 0 || !local && m[1] != "./openapi.json" {
			t.Errorf("link to %q", m[1])
		}
	}
	if strings.Contains(page, "<script") || !strings.Contains(page, `<html lang="en">`) || !strings.Contains(page, "color-scheme: light dark") {
		t.Error("the page has a script, or no language, or one scheme only")
	}
	curl, err := exec.LookPath("curl")
	found := map[string]bool{}
	for _, m := range examples.FindAllStringSubmatch(page, -1) {
		found[m[1]+" "+m[2]] = true
		command := html.UnescapeString(m[3])
		if !strings.HasPrefix(command, "curl -s") || !strings.Contains(command, s.url+"/hill/") {
			t.Errorf("example %q", command)
		}
		if err != nil || m[1] != http.MethodGet && m[2] != "/v1/responses" || m[2] == "/api/events" { // which has no end
			continue
		}
		run := exec.Command("sh", "-c", strings.Replace(command, "curl ", curl+" -o /dev/null -w '%{http_code}' ", 1))
		run.Dir = t.TempDir()
		out, err := run.CombinedOutput()
		if code := string(out); err != nil || code != "200" && code != "404" && !strings.HasPrefix(code, "4") {
			t.Errorf("%s: %v %s", command, err, out)
		} else if strings.Contains(command, "/v1/responses'") && code != "200" {
			t.Errorf("%s: %s", command, out)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !found[method+" "+path] || ids[op.OperationID] != 1 {
				t.Errorf("the page lacks %s %s", method, path)
			}
		}
	}
	for name := range doc.Components.Schemas {
		if ids["shape-"+name] != 1 {
			t.Errorf("the page lacks the shape %s", name)
		}
	}
	s.post("/docs", nil).refused(http.StatusMethodNotAllowed, "")
	s.do(http.MethodGet, "/docs", nil, headers("Host", "evil.example")).refused(http.StatusForbidden, "")
}

// With a key the description of the API is the owner's, too.
func TestDocsNeedTheKey(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	none := headers("Authorization", "")
	s.do(http.MethodGet, "/openapi.json", nil, none).refused(http.StatusUnauthorized, "")
	a := s.do(http.MethodGet, "/docs", nil, none)
	if a.status != http.StatusUnauthorized || !strings.Contains(string(a.body), "apiKey=YOUR_KEY") || strings.Contains(string(a.body), "/v1/") {
		t.Errorf("%v", a)
	}
	openAPI(t, s, "/openapi.json")
	a = s.do(http.MethodGet, "/docs?apiKey="+apiKey, nil, none)
	if a.status != http.StatusOK || !strings.Contains(string(a.body), "Bearer $ANT_API_KEY") || strings.Contains(string(a.body), apiKey) {
		t.Errorf("%d, shows the key: %v", a.status, strings.Contains(string(a.body), apiKey))
	}
	if strings.Contains(fmt.Sprint(a.header), apiKey) {
		t.Errorf("%v", a.header)
	}
	var doc any
	if err := json.Unmarshal(s.get("/openapi.json").body, &doc); err != nil {
		t.Error(err)
	}
}
