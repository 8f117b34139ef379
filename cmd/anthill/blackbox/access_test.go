package blackbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	_ "google.golang.org/grpc/reflection/grpc_reflection_v1alpha" // known to the registry
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	antonv1 "anthill/gen/anton/v1"
)

const apiKey = "ACCESS-KEY-CANARY-0123456789abcdef"

// sample fills in path parameters that some routes would answer well.
func sample(name string) string {
	return map[string]string{"project": "general", "slug": "report", "id": "c", "turn_index": "7", "path": "a.txt", "response_id": "resp_1", "item_id": "msg_1", "invite_id": "i", "token_id": "t",
		"model": "scripted", "name": "openai", "session_id": "s", "label": "report", "queue_id": "queued_1"}[name]
}

// exchanges turns an invite into a token.
const exchanges = "/ant.v1.InvitesService/ExchangeInvite"

// sampleOf is sample for a route of either API.
func sampleOf(r route) func(string) string {
	if isAnt(r.template) {
		return antSample
	}
	return sample
}

// Done when (4): with a key, every REST route wants it.
func TestAccessOfEveryRESTRoute(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)), withKey(apiKey))
	s.put("/v1/projects/general/files/a.txt", object{"content": "x"}).ok()
	s.ask(object{"input": "q", "conversation": "c"}).turn()
	anonymous := *s
	anonymous.opts.key = ""
	a := &anonymous
	wrong := map[string]http.Header{
		"none": nil, "wrong bearer": headers("Authorization", "Bearer wrong"), "wrong key": headers("X-API-Key", "wrong"),
		"basic": headers("Authorization", "Basic "+apiKey), "prefix": headers("X-API-Key", apiKey[:10]), "longer": headers("X-API-Key", apiKey+"x"),
		"empty": headers("X-API-Key", "", "Authorization", "Bearer "), "metadata": headers("Grpc-Metadata-X-Api-Key", apiKey,
			"Grpc-Metadata-Authorization", "Bearer "+apiKey, "X-Forwarded-User", "admin"), "cookie": headers("Cookie", "apiKey="+apiKey),
	}
	for _, r := range append(slices.Concat(routes(t), antRoutes(t)), routeOf(http.MethodGet, "/v1/unknown"), routeOf(http.MethodGet, "/api/unknown"),
		routeOf(http.MethodTrace, "/v1/projects"), routeOf(http.MethodDelete, "/v1/projects"), routeOf(http.MethodGet, "/v1/projects/")) {
		path := r.path(sampleOf(r))
		if path == "/health" {
			a.get(path).ok()
			continue
		}
		if r.rpc != nil && fullMethod(r.rpc) == exchanges {
			continue // an invite is what its callers show
		}
		for how, h := range wrong {
			for _, body := range []any{nil, "{", object{}} {
				if body != nil && !r.takesBody() {
					continue
				}
				if strings.HasSuffix(path, "/") { // where a route is may be told, not what it has
					if got := a.do(r.method, path, body, h); got.status != http.StatusUnauthorized && got.status != http.StatusTemporaryRedirect {
						t.Errorf("%s: %v", how, got)
					}
					continue
				}
				got := a.do(r.method, path, body, h)
				if got.status != http.StatusUnauthorized {
					t.Errorf("key %s: %v", how, got)
					continue
				}
				if o := got.shape(); strings.Contains(str(o, "detail"), apiKey) || got.header.Get("WWW-Authenticate") == "" {
					t.Errorf("key %s: %v %v", how, got, got.header)
				}
			}
		}
		got := a.do(r.method, path+"?apiKey=wrong", nil)
		if !strings.HasSuffix(path, "/") && got.status != http.StatusUnauthorized {
			t.Errorf("wrong key in the query: %v", got)
		}
	}
	if res := a.do(http.MethodOptions, "/v1/projects", nil); res.status >= 300 {
		t.Errorf("%v", res)
	}
	for how, call := range map[string]func() answer{
		"bearer": func() answer {
			return a.do(http.MethodGet, "/v1/projects", nil, headers("Authorization", "Bearer "+apiKey))
		},
		"lower": func() answer {
			return a.do(http.MethodGet, "/v1/projects", nil, headers("Authorization", "bearer "+apiKey))
		},
		"X-API-Key": func() answer { return a.do(http.MethodGet, "/v1/projects", nil, headers("X-Api-Key", apiKey)) },
		"query":     func() answer { return a.get("/v1/projects?apiKey=" + apiKey) },
		"query beside others": func() answer {
			return a.get("/v1/conversations?project=all&apiKey=" + apiKey + "&limit=3")
		},
	} {
		if got := call(); got.status != http.StatusOK {
			t.Errorf("key by %s: %v", how, got)
		}
	}
	for _, r := range slices.Concat(routes(t), antRoutes(t)) { // with the key nobody is turned away
		if antStreams(r) || fullMethod(r.rpc) == exchanges {
			continue
		}
		if got := s.do(r.method, r.path(sampleOf(r)), nil); got.status == http.StatusUnauthorized || got.status == http.StatusForbidden || got.status >= 500 {
			t.Errorf("with the key: %v", got)
		}
	}
	out, errs, code := command(t, append(s.environ(), "ANT_API_KEY="), "", "ask", "--server", s.addr, "hello")
	if code == 0 || !strings.Contains(errs, "ANT_API_KEY") {
		t.Errorf("ask without the key: %d %q %q", code, out, errs)
	}
	if out, errs, code := command(t, s.environ(), "", "ask", "--server", s.addr, "hello"); code != 0 || strings.TrimSpace(out) != "About hello" {
		t.Errorf("ask with the key: %d %q %q", code, out, errs)
	}
	s.stop()
	if strings.Contains(s.stderr.String()+s.stdout.String(), apiKey) {
		t.Error("the key is in the log")
	}
	err := filepath.WalkDir(filepath.Dir(s.home), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(apiKey)) {
			t.Errorf("the key is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Done when (4): and every gRPC method, reflection and health included.
func TestAccessOfEveryMethod(t *testing.T) {
	t.Parallel()
	s := start(t, withModel(answering(t)), withKey(apiKey))
	conn := s.dial()
	names, err := listServices(s.call(), conn)
	if err != nil {
		t.Fatal(err)
	}
	var all []protoreflect.MethodDescriptor
	for _, name := range names {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			t.Errorf("service %s: %v", name, err)
			continue
		}
		ms := d.(protoreflect.ServiceDescriptor).Methods()
		for i := range ms.Len() {
			all = append(all, ms.Get(i))
		}
	}
	for _, m := range slices.Concat(methods(), antMethods()) {
		if !slices.ContainsFunc(all, func(x protoreflect.MethodDescriptor) bool { return fullMethod(x) == fullMethod(m) }) {
			t.Errorf("reflection does not know %s", fullMethod(m))
		}
	}
	if !slices.Contains(names, "grpc.health.v1.Health") {
		t.Errorf("services: %v", names)
	}
	bare, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, m := range all {
		for how, md := range map[string]metadata.MD{
			"no key": {}, "wrong bearer": metadata.Pairs("authorization", "Bearer wrong"), "wrong key": metadata.Pairs("x-api-key", "wrong"),
			"basic": metadata.Pairs("authorization", "Basic "+apiKey),
		} {
			// An empty message, and one that cannot be decoded: who calls comes first.
			for _, payload := range [][]byte{{}, {0xff, 0xff}} {
				_, err := callRaw(metadata.NewOutgoingContext(bare, md), conn, m, payload)
				switch {
				case fullMethod(m) == antonv1.HealthService_GetHealth_FullMethodName:
					if len(payload) == 0 && err != nil {
						t.Errorf("%s, %s: %v", fullMethod(m), how, err)
					}
				case len(payload) == 0:
					wantCode(t, fullMethod(m)+", "+how, err, codes.Unauthenticated)
				default: // grpc decodes the message of a unary call before anybody is asked
					wantCode(t, fullMethod(m)+", undecodable, "+how, err, codes.Unauthenticated, codes.InvalidArgument, codes.Internal)
				}
			}
		}
	}
	if _, err := listServices(bare, conn); err == nil {
		t.Error("reflection answers without the key")
	}
	_, err = healthpb.NewHealthClient(conn).Check(bare, &healthpb.HealthCheckRequest{})
	wantCode(t, "health check", err, codes.Unauthenticated)
	for how, md := range map[string]metadata.MD{"x-api-key": metadata.Pairs("x-api-key", apiKey), "bearer": metadata.Pairs("authorization", "Bearer "+apiKey)} {
		ctx := metadata.NewOutgoingContext(bare, md)
		if res, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil || res.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health with %s: %v %v", how, res, err)
		}
		if c, err := antonv1.NewAccessServiceClient(conn).GetCaller(ctx, &antonv1.GetCallerRequest{}); err != nil || c.Kind != "key" {
			t.Errorf("caller with %s: %v %v", how, c, err)
		}
	}
}

// Metadata cannot be put into REST calls from outside.
func TestAccessIgnoresSmuggledMetadata(t *testing.T) {
	t.Parallel()
	s := start(t)
	h := headers("Grpc-Metadata-X-Api-Key", "x", "Grpc-Metadata-Authorization", "Bearer x", "Grpc-Timeout", "1n", "Grpc-Metadata-Grpc-Timeout", "1n",
		"X-Http-Method-Override", "DELETE", "X-Forwarded-Host", "evil.example", "X-Forwarded-For", "10.0.0.1", "Forwarded", "host=evil.example")
	s.do(http.MethodGet, "/v1/projects", nil, h).ok()
	s.do(http.MethodPost, "/v1/projects", object{"name": "kept"}, h).ok()
	s.do(http.MethodGet, "/v1/projects/kept/files", nil, h).ok()
	s.get("/v1/projects/kept/files").ok()
	if tn := checkTurn(t, s.stream(http.MethodPost, "/v1/responses", object{"input": "hello"}, h).rest()); tn.end.Type != "response.completed" {
		t.Errorf("a turn: %s", tn.end.data)
	}
	id := headers("X-Request-Id", "my-request-1")
	if a := s.do(http.MethodGet, "/v1/unknown", nil, id); a.header.Get("X-Request-Id") == "" {
		t.Errorf("%v: no request id", a)
	}
	res, err := s.http.Get(s.url + "/health")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	res.Body.Close()
	for k := range res.Header {
		if strings.HasPrefix(k, "Grpc-") {
			t.Errorf("header %s comes out", k)
		}
	}
}
