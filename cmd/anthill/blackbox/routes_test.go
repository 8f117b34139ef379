package blackbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	antonv1 "anthill/gen/anton/v1"
)

// route is one way to call an operation over REST.
type route struct {
	method, template string
	rpc              protoreflect.MethodDescriptor
}

func (r route) String() string { return r.method + " " + r.template }

// path fills in the parameters of the template, escaped already.
func (r route) path(value func(name string) string) string {
	var out []string
	for _, seg := range strings.Split(r.template, "/") {
		if name, ok := parameter(seg); ok {
			seg = value(name)
		}
		out = append(out, seg)
	}
	return strings.Join(out, "/")
}

func (r route) parameters() (names []string) {
	for _, seg := range strings.Split(r.template, "/") {
		if name, ok := parameter(seg); ok {
			names = append(names, name)
		}
	}
	return names
}

// deep says that the last parameter takes the rest of the path.
func (r route) deep() bool { return strings.HasSuffix(r.template, "=**}") }

func (r route) takesBody() bool {
	if r.template == "/v1/responses/{response_id}/cancel" {
		return false // the path says it all
	}
	if strings.HasSuffix(r.template, "/move-to-project") || strings.HasSuffix(r.template, "/queue/resume") || strings.HasPrefix(r.template, "/v1/access/") { // the path says it all
		return false
	}
	return r.method == http.MethodPost || r.method == http.MethodPut || r.method == http.MethodPatch
}

func parameter(segment string) (name string, ok bool) {
	name, ok = strings.CutPrefix(segment, "{")
	return strings.TrimSuffix(strings.TrimSuffix(name, "}"), "=**"), ok
}

// matches says whether the template takes the path.
func (r route) matches(path string) bool {
	want, got := strings.Split(r.template, "/"), strings.Split(path, "/")
	if len(got) < len(want) || len(got) > len(want) && !r.deep() {
		return false
	}
	for i, seg := range want {
		if _, ok := parameter(seg); !ok && seg != got[i] {
			return false
		}
	}
	return true
}

// The proto packages of the two APIs.
const (
	cowork = "anton.v1"
	ant    = "ant.v1"
)

// methods are all methods of the CoWork API, antMethods those of the ANT API.
func methods() []protoreflect.MethodDescriptor    { return methodsOf(cowork) }
func antMethods() []protoreflect.MethodDescriptor { return methodsOf(ant) }

// methodsOf are those of a package, from the descriptors that clients have.
func methodsOf(pkg protoreflect.FullName) (all []protoreflect.MethodDescriptor) {
	protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			ms := f.Services().Get(i).Methods()
			for j := range ms.Len() {
				all = append(all, ms.Get(j))
			}
		}
		return true
	})
	slices.SortFunc(all, func(a, b protoreflect.MethodDescriptor) int { return strings.Compare(fullMethod(a), fullMethod(b)) })
	return all
}

func fullMethod(m protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
}

// byHand are the routes that the descriptors only tell of in comments.
var byHand = map[string][]string{
	"CreateResponse":     {"POST /v1/responses", "POST /v1/chat/completions"},
	"TailResponse":       {"GET /v1/responses/tail"},
	"UploadFiles":        {"POST /v1/projects/{project}/files/upload"},
	"DownloadFile":       {"GET /v1/projects/{project}/files-raw/{path=**}"},
	"CreateBackup":       {"GET /v1/backup"},
	"UploadAttachments":  {"POST /v1/attachments/{project}/{session_id}/upload", "POST /v1/attachments/upload"},
	"DownloadAttachment": {"GET /v1/attachments/{project}/{session_id}/{id}/raw"},
	"StreamCell":         {"POST /v1/scratchpad/execute-stream"},
	"PutMemoryEntry":     {"POST /v1/memory"},
	"DeleteMemory":       {"DELETE /v1/memory"},
	"UploadSkill":        {"POST /v1/skills/upload"},
}

// routes are all REST routes of the CoWork API, antRoutes those of the ANT API.
func routes(t *testing.T) []route    { t.Helper(); return routesOf(t, methods(), byHand) }
func antRoutes(t *testing.T) []route { t.Helper(); return routesOf(t, antMethods(), antByHand) }

func routesOf(t *testing.T, methods []protoreflect.MethodDescriptor, byHand map[string][]string) (all []route) {
	t.Helper()
	for _, m := range methods {
		for _, rest := range byHand[string(m.Name())] {
			method, template, _ := strings.Cut(rest, " ")
			all = append(all, route{method, template, m})
		}
		rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
		if !ok || rule == nil {
			continue
		}
		for _, r := range append([]*annotations.HttpRule{rule}, rule.AdditionalBindings...) {
			switch p := r.Pattern.(type) {
			case *annotations.HttpRule_Get:
				all = append(all, route{http.MethodGet, p.Get, m})
			case *annotations.HttpRule_Put:
				all = append(all, route{http.MethodPut, p.Put, m})
			case *annotations.HttpRule_Post:
				all = append(all, route{http.MethodPost, p.Post, m})
			case *annotations.HttpRule_Delete:
				all = append(all, route{http.MethodDelete, p.Delete, m})
			case *annotations.HttpRule_Patch:
				all = append(all, route{http.MethodPatch, p.Patch, m})
			default:
				t.Fatalf("%s: HTTP rule of a kind that this test does not know", fullMethod(m))
			}
		}
	}
	return all
}

// promisedRoutes are the rows of endpoints.tsv and of anton.md 1.1 to 1.5 that
// are there by now, and what OpenAI's SDKs call.
var promisedRoutes = []string{
	"GET /health", "GET /", "GET /v1/browse/status", "POST /v1/responses", "POST /v1/responses/cancel", "GET /v1/responses/in-flight",
	"GET /v1/responses/in-flight-list", "GET /v1/responses/tail", "GET /v1/conversations", "GET /v1/projects/{}/conversations",
	"GET /v1/conversations/{}", "GET /v1/conversations/{}/messages", "PATCH /v1/conversations/{}", "DELETE /v1/conversations/{}/turns/{}",
	"DELETE /v1/conversations/{}", "GET /v1/projects", "POST /v1/projects", "GET /v1/projects/active", "PUT /v1/projects/active",
	"PATCH /v1/projects/{}", "DELETE /v1/projects/{}", "GET /v1/projects/{}/instructions", "GET /v1/projects/{}/files",
	"GET /v1/projects/{}/files/{}", "PUT /v1/projects/{}/files/{}", "DELETE /v1/projects/{}/files/{}", "POST /v1/projects/{}/files/upload",
	"GET /v1/projects/{}/files-raw/{}", "GET /v1/settings", "PUT /v1/settings",
	"POST /v1/settings/validate", "POST /v1/settings/test-providers", "POST /v1/settings/validate-provider", "GET /v1/settings/reveal-key/{}",
	"GET /v1/settings/raw", "POST /v1/settings/raw", "GET /v1/settings/install-status", "GET /v1/settings/configured", "GET /v1/settings/mcp",
	"GET /v1/models", "GET /v1/models/{}", "GET /v1/responses/{}", "POST /v1/responses/{}/cancel", "DELETE /v1/responses/{}",
	"GET /v1/responses/{}/input_items", "POST /v1/conversations", "POST /v1/conversations/{}", "GET /v1/conversations/{}/items",
	"POST /v1/conversations/{}/items", "GET /v1/conversations/{}/items/{}", "DELETE /v1/conversations/{}/items/{}", "POST /v1/chat/completions",
	"GET /v1/backup", "GET /v1/attachments", "GET /v1/attachments/{}", "DELETE /v1/attachments/{}", "POST /v1/attachments/upload",
	"GET /v1/attachments/{}/{}", "POST /v1/attachments/{}/{}/upload", "DELETE /v1/attachments/{}/{}/{}", "GET /v1/attachments/{}/{}/{}/raw",
	"POST /v1/attachments/{}/{}/{}/move-to-project", "GET /v1/artifacts", "GET /v1/search",
	"POST /v1/scratchpad/start", "POST /v1/scratchpad/execute", "POST /v1/scratchpad/execute-stream", "POST /v1/scratchpad/install",
	"POST /v1/scratchpad/reset", "POST /v1/scratchpad/cancel", "GET /v1/scratchpad/view", "GET /v1/scratchpad/notebook",
	"GET /v1/scratchpad/cells", "POST /v1/scratchpad/close", "POST /v1/scratchpad/cleanup", "GET /v1/scratchpad/list",
	"GET /v1/memory", "POST /v1/memory", "DELETE /v1/memory", "GET /v1/skills", "POST /v1/skills", "DELETE /v1/skills/{}",
}

// rawCodec passes messages as the bytes they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
func (rawCodec) Name() string                       { return "proto" }

// callRaw calls any method with any bytes, and returns its first answer.
func callRaw(ctx context.Context, conn grpc.ClientConnInterface, m protoreflect.MethodDescriptor, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	desc := &grpc.StreamDesc{StreamName: string(m.Name()), ServerStreams: m.IsStreamingServer(), ClientStreams: m.IsStreamingClient()}
	st, err := conn.NewStream(ctx, desc, fullMethod(m), grpc.ForceCodec(rawCodec{}))
	if err != nil {
		return nil, err
	}
	if err := st.SendMsg(&payload); err != nil && !errors.Is(err, io.EOF) { // EOF: the answer tells why
		return nil, err
	}
	if err := st.CloseSend(); err != nil {
		return nil, err
	}
	var out []byte
	if err := st.RecvMsg(&out); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return out, nil
}

// Done when: /health, /, /v1/browse/status and every route of endpoints.tsv that
// the issue names is called from gRPC and from REST.
func TestEveryRoute(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *call) { c.say("About ", c.asked()) })
	s := start(t, withModel(p), withEnv("PIP_INDEX_URL="+newPackageIndex(t)))
	e := &everyRoute{t: t, s: s, rest: map[string]bool{}, rpc: map[string]bool{}}
	conn := s.dial(grpc.WithChainUnaryInterceptor(e.unary), grpc.WithChainStreamInterceptor(e.stream))
	e.conversations = antonv1.NewConversationsServiceClient(conn)
	e.responses = antonv1.NewResponsesServiceClient(conn)
	e.projects = antonv1.NewProjectsServiceClient(conn)
	e.files = antonv1.NewProjectFilesServiceClient(conn)
	e.settings = antonv1.NewSettingsServiceClient(conn)
	e.models = antonv1.NewModelsServiceClient(conn)
	e.health = antonv1.NewHealthServiceClient(conn)
	e.access = antonv1.NewAccessServiceClient(conn)
	e.backup = antonv1.NewBackupServiceClient(conn)
	e.attachments = antonv1.NewAttachmentsServiceClient(conn)
	e.artifacts = antonv1.NewArtifactsServiceClient(conn)
	e.search = antonv1.NewSearchServiceClient(conn)
	e.pads = antonv1.NewScratchpadsServiceClient(conn)
	e.memory = antonv1.NewMemoryServiceClient(conn)
	e.skills = antonv1.NewSkillsServiceClient(conn)
	e.mcp = antonv1.NewMcpServiceClient(conn)
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{{"health", e.healthRoutes}, {"projects", e.projectRoutes}, {"files", e.fileRoutes}, {"responses", e.responseRoutes},
		{"conversations", e.conversationRoutes}, {"openai", e.openaiRoutes}, {"settings", e.settingsRoutes},
		{"backup", e.backupRoutes}, {"attachments", e.attachmentRoutes}, {"artifacts", e.artifactRoutes}, {"search", e.searchRoutes}, {"scratchpads", e.scratchpadRoutes},
		{"memory", e.memoryRoutes}, {"skills", e.skillRoutes}, {"mcp", e.mcpRoutes}} {
		t.Run(step.name, func(t *testing.T) {
			e.t, e.s = t, s.with(t)
			step.run(t)
		})
	}
	all := routes(t)
	for _, r := range all {
		if !e.rest[r.String()] {
			t.Errorf("%s was not called", r)
		}
	}
	for _, want := range promisedRoutes {
		if !slices.ContainsFunc(all, func(r route) bool {
			return r.method+" "+r.path(func(string) string { return "{}" }) == want
		}) {
			t.Errorf("the API lacks %s", want)
		}
	}
	for _, m := range methods() {
		if !e.rpc[fullMethod(m)] {
			t.Errorf("%s was not called", fullMethod(m))
		}
	}
}
