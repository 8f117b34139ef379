package blackbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	antonv1 "anthill/gen/anton/v1"
)

// everyRoute calls each route by both doors and compares the answers.
type everyRoute struct {
	t             *testing.T
	s             *server
	rest, rpc     map[string]bool // called
	conversations antonv1.ConversationsServiceClient
	responses     antonv1.ResponsesServiceClient
	projects      antonv1.ProjectsServiceClient
	files         antonv1.ProjectFilesServiceClient
	settings      antonv1.SettingsServiceClient
	models        antonv1.ModelsServiceClient
	health        antonv1.HealthServiceClient
	access        antonv1.AccessServiceClient
	attachments   antonv1.AttachmentsServiceClient
	artifacts     antonv1.ArtifactsServiceClient
	search        antonv1.SearchServiceClient
	backup        antonv1.BackupServiceClient
	pads          antonv1.ScratchpadsServiceClient
	memory        antonv1.MemoryServiceClient
	skills        antonv1.SkillsServiceClient
	mcp           antonv1.McpServiceClient
}

func (e *everyRoute) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	e.rpc[method] = true
	return next(ctx, method, req, reply, cc, opts...)
}

func (e *everyRoute) stream(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	e.rpc[method] = true
	return next(ctx, d, cc, method, opts...)
}

// call makes a REST call by its template.
func (e *everyRoute) call(route string, body any, args ...string) answer {
	e.t.Helper()
	e.rest[route] = true
	method, template, _ := strings.Cut(route, " ")
	i := 0
	path := routeOf(method, template).path(func(string) string { i++; return args[i-1] })
	if i < len(args) {
		path += args[i] // the query
	}
	return e.s.do(method, path, body)
}

func routeOf(method, template string) route { return route{method: method, template: template} }

// same compares a REST answer with the message that gRPC answered.
func same[M proto.Message](e *everyRoute, a answer, m M, err error) {
	e.t.Helper()
	e.compare(a, m, err, func(v any) any { return v })
}

// alike compares only the shapes: both calls made something of their own.
func alike[M proto.Message](e *everyRoute, a answer, m M, err error) {
	e.t.Helper()
	e.compare(a, m, err, shapeOf)
}

func (e *everyRoute) compare(a answer, m proto.Message, err error, view func(any) any) {
	e.t.Helper()
	if err != nil {
		e.t.Fatalf("gRPC beside %s: %v", a.what, err)
	}
	rest := a.got(a.success())
	opts := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}
	switch m.ProtoReflect().Descriptor().ParentFile().Path() {
	case "anton/v1/settings.proto", "anton/v1/memory.proto", "anton/v1/skills.proto":
		opts.UseProtoNames = false
	}
	data, err := opts.Marshal(m)
	if err != nil {
		e.t.Fatal(err)
	}
	rpc := decode[object](e.t, data)
	if strings.HasSuffix(m.ProtoReflect().Descriptor().ParentFile().Path(), "conversations.proto") {
		undress(rest)
	}
	if !reflect.DeepEqual(view(rest), view(rpc)) {
		e.t.Errorf("%s:\nREST %s\ngRPC %s", a.what, clip(a.body), clip(data))
	}
}

// success is the status that an answer should have.
func (a answer) success() int {
	if a.status == http.StatusCreated && isAnt(strings.SplitN(a.what, " ", 2)[1]) {
		return http.StatusCreated
	}
	return http.StatusOK
}

// undress takes out what only OpenAI's shape of a conversation has.
func undress(v any) {
	switch v := v.(type) {
	case object:
		delete(v, "object")
		if v["status"] == "deleted" {
			delete(v, "deleted")
		}
		for _, x := range v {
			undress(x)
		}
	case []any:
		for _, x := range v {
			undress(x)
		}
	}
}

// shapeOf replaces values by their types.
func shapeOf(v any) any {
	switch v := v.(type) {
	case object:
		out := object{}
		for k, x := range v {
			out[k] = shapeOf(x)
		}
		return out
	case []any:
		out := []any{}
		for _, x := range v {
			out = append(out, shapeOf(x))
		}
		return out
	}
	return fmt.Sprintf("%T", v)
}

func (e *everyRoute) healthRoutes(t *testing.T) {
	h, err := e.health.GetHealth(e.s.call(), &antonv1.GetHealthRequest{})
	same(e, e.call("GET /health", nil), h, err)
	b, err := e.health.GetBanner(e.s.call(), &antonv1.GetBannerRequest{})
	same(e, e.call("GET /", nil), b, err)
	st, err := e.health.GetBrowseStatus(e.s.call(), &antonv1.GetBrowseStatusRequest{})
	same(e, e.call("GET /v1/browse/status", nil), st, err)
	e.accessRoutes(t)
}

func (e *everyRoute) projectRoutes(*testing.T) {
	p, err := e.projects.CreateProject(e.s.call(), &antonv1.CreateProjectRequest{Name: proto.String("by grpc")})
	alike(e, e.call("POST /v1/projects", object{"name": "by rest"}), p, err)
	l, err := e.projects.ListProjects(e.s.call(), &antonv1.ListProjectsRequest{})
	same(e, e.call("GET /v1/projects", nil), l, err)
	a, err := e.projects.SetActiveProject(e.s.call(), &antonv1.SetActiveProjectRequest{Name: proto.String("by-grpc")})
	same(e, e.call("PUT /v1/projects/active", object{"name": "by-grpc"}), a, err)
	a, err = e.projects.GetActiveProject(e.s.call(), &antonv1.GetActiveProjectRequest{})
	same(e, e.call("GET /v1/projects/active", nil), a, err)
	p, err = e.projects.RenameProject(e.s.call(), &antonv1.RenameProjectRequest{Project: "by-grpc", Name: proto.String("grpc")})
	alike(e, e.call("PATCH /v1/projects/{project}", object{"name": "rest"}, "by-rest"), p, err)
	d, err := e.projects.DeleteProject(e.s.call(), &antonv1.DeleteProjectRequest{Project: "grpc"})
	alike(e, e.call("DELETE /v1/projects/{project}", nil, "rest"), d, err)
}

func (e *everyRoute) fileRoutes(t *testing.T) {
	const read, raw = "GET /v1/projects/{project}/files/{path=**}", "GET /v1/projects/{project}/files-raw/{path=**}"
	w, err := e.files.WriteFile(e.s.call(), &antonv1.WriteFileRequest{Project: "general", Path: "sub/grpc.txt", Content: proto.String("häßlich")})
	alike(e, e.call("PUT /v1/projects/{project}/files/{path=**}", object{"content": "häßlich"}, "general", "sub/rest%20file.txt"), w, err)
	for _, path := range []string{"sub/grpc.txt", "sub/rest file.txt", ".anton/anton.md"} {
		f, err := e.files.ReadFile(e.s.call(), &antonv1.ReadFileRequest{Project: "general", Path: path})
		same(e, e.call(read, nil, "general", strings.ReplaceAll(path, " ", "%20")), f, err)
	}
	l, err := e.files.ListFiles(e.s.call(), &antonv1.ListFilesRequest{Project: "general"})
	same(e, e.call("GET /v1/projects/{project}/files", nil, "general"), l, err)
	in, err := e.files.GetInstructions(e.s.call(), &antonv1.GetInstructionsRequest{Project: "general"})
	same(e, e.call("GET /v1/projects/{project}/instructions", nil, "general"), in, err)

	e.uploads(t)
	a := e.call(raw, nil, "general", "rest.bin")
	if a.status != http.StatusOK || string(a.body) != "\x00\xffrest" || !strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment") ||
		a.header.Get("Content-Security-Policy") == "" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v %v", a, a.header)
	}
	dl, err := e.files.DownloadFile(e.s.call(), &antonv1.DownloadFileRequest{Project: "general", Path: "grpc.bin"})
	if err != nil {
		t.Fatal(err)
	}
	parts, err := receive(dl)
	var data []byte
	for _, part := range parts {
		data = append(data, part.GetData()...)
	}
	if err != nil || parts[0].GetHeader().GetName() != "grpc.bin" || string(data) != "\x00\xffgrpc" {
		t.Errorf("download: %v %v", parts, err)
	}
	d, err := e.files.DeleteFile(e.s.call(), &antonv1.DeleteFileRequest{Project: "general", Path: "sub/grpc.txt"})
	alike(e, e.call("DELETE /v1/projects/{project}/files/{path=**}", nil, "general", "sub/rest%20file.txt"), d, err)
}

// form is a multipart body with files of these names and contents in turn.
func form(t *testing.T, pairs ...string) (body []byte, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		part, err := w.CreateFormFile("files", pairs[i])
		if err == nil {
			_, err = io.WriteString(part, pairs[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), w.FormDataContentType()
}

func (e *everyRoute) uploads(t *testing.T) {
	const upload = "/v1/projects/general/files/upload"
	e.rest["POST /v1/projects/{project}/files/upload"] = true
	body, typ := form(t, "rest.bin", "\x00\xffrest", ".dot", "x", "../up.txt", "x", "big.bin", strings.Repeat("b", 11<<20))
	o := e.s.do(http.MethodPost, upload, body, headers("Content-Type", typ)).ok()
	var got []string
	for _, r := range o["results"].([]any) {
		r := r.(object)
		got = append(got, fmt.Sprintf("%v %v %v %v", r["name"], r["ok"], r["size"], r["error"] != nil))
	}
	want := []string{"rest.bin true 6 false", ".dot false <nil> true", "up.txt true 1 false", "big.bin true 1.1534336e+07 false"}
	if !slices.Equal(got, want) {
		t.Errorf("upload: %q, want %q", got, want)
	}
	up, err := e.files.UploadFiles(e.s.call())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*antonv1.UploadFilesRequest{
		{Part: &antonv1.UploadFilesRequest_Header{Header: &antonv1.UploadHeader{Project: "general", Name: "grpc.bin"}}},
		{Part: &antonv1.UploadFilesRequest_Data{Data: []byte("\x00\xff")}}, {Part: &antonv1.UploadFilesRequest_Data{Data: []byte("grpc")}},
		{Part: &antonv1.UploadFilesRequest_Header{Header: &antonv1.UploadHeader{Name: "../up.txt"}}},
	} {
		if err := up.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	res, err := up.CloseAndRecv()
	if err != nil || len(res.Results) != 2 || !res.Results[0].Ok || res.Results[0].Size != 6 || res.Results[1].Ok || res.Results[1].Error == "" {
		t.Errorf("upload by gRPC: %v %v", res, err)
	}
}

func (e *everyRoute) responseRoutes(t *testing.T) {
	e.rest["POST /v1/responses"], e.rest["GET /v1/responses/tail"] = true, true
	tn := e.s.ask(object{"input": "rest?", "conversation": "rest"}).turn()
	rpc, err := e.responses.CreateResponse(e.s.call(), &antonv1.CreateResponseRequest{Conversation: "grpc",
		Input: []*antonv1.InputItem{{Role: "user", Text: "grpc?"}}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := receive(rpc)
	if err != nil || eventText(all) != "About grpc?" || tn.text != "About rest?" {
		t.Errorf("%q, %q, %v", tn.text, eventText(all), err)
	}
	for _, id := range []string{"rest", "grpc"} {
		frames := e.s.tail(id, 0).rest()
		rpc, err := e.responses.TailResponse(e.s.call(), &antonv1.TailResponseRequest{ConversationId: id})
		if err != nil {
			t.Fatal(err)
		}
		events, err := receive(rpc)
		if err != nil || len(events) != len(frames) || eventText(events) != textOf(frames) {
			t.Fatalf("tail of %s: %d events %q by gRPC, %d events %q by REST, %v", id, len(events), eventText(events), len(frames), textOf(frames), err)
		}
		for i, ev := range events {
			if int64(ev.SequenceNumber) != frames[i].seq() || ev.AtMs != frames[i].AtMs {
				t.Errorf("event %d of %s: %v, %s", i, id, ev, frames[i].data)
			}
		}
	}
	for _, id := range []string{"rest", "unknown"} {
		f, err := e.responses.GetInFlight(e.s.call(), &antonv1.GetInFlightRequest{ConversationId: id})
		same(e, e.call("GET /v1/responses/in-flight", nil, "?conversation_id="+id), f, err)
		c, err := e.responses.CancelResponse(e.s.call(), &antonv1.CancelResponseRequest{ConversationId: id})
		same(e, e.call("POST /v1/responses/cancel", object{"conversation_id": id}), c, err)
	}
	l, err := e.responses.ListInFlight(e.s.call(), &antonv1.ListInFlightRequest{})
	same(e, e.call("GET /v1/responses/in-flight-list", nil), l, err)
}

func (e *everyRoute) conversationRoutes(t *testing.T) {
	for _, project := range []string{"", "all", "general", "unknown"} {
		l, err := e.conversations.ListConversations(e.s.call(), &antonv1.ListConversationsRequest{Project: project, Limit: proto.Int32(5)})
		same(e, e.call("GET /v1/conversations", nil, "?limit=5&project="+project), l, err)
		if project != "" {
			same(e, e.call("GET /v1/projects/{project}/conversations", nil, project, "?limit=5"), l, err)
		}
	}
	c, err := e.conversations.GetConversation(e.s.call(), &antonv1.GetConversationRequest{Id: "rest"})
	same(e, e.call("GET /v1/conversations/{id}", nil, "rest"), c, err)

	a := e.call("GET /v1/conversations/{id}/messages", nil, "rest")
	a.ok()
	rest := decode[struct{ Messages []message }](t, a.body).Messages
	ms, err := e.conversations.ListMessages(e.s.call(), &antonv1.ListMessagesRequest{Id: "rest"})
	if err != nil || len(ms.Messages) != len(rest) {
		t.Fatalf("%d messages by REST, by gRPC %v %v", len(rest), ms, err)
	}
	for i, m := range ms.Messages {
		r := rest[i]
		if m.Role != r.Role || m.Content != r.Content || m.TurnId != r.TurnID || m.Status != r.Status || len(m.Events) != len(r.Events) {
			t.Errorf("message %d: %+v by REST, %v by gRPC", i, r, m)
		}
	}
	u, err := e.conversations.UpdateConversation(e.s.call(), &antonv1.UpdateConversationRequest{Id: "grpc", Title: proto.String("New")})
	alike(e, e.call("PATCH /v1/conversations/{id}", object{"title": "New"}, "rest"), u, err)
	f, err := e.conversations.ForkConversation(e.s.call(), &antonv1.ForkConversationRequest{Id: "grpc", Turn: proto.Int32(0)})
	forked := e.call("POST /v1/conversations/{id}/fork", object{"turn": 0}, "rest")
	alike(e, forked, f, err)
	for _, id := range []string{f.GetId(), str(forked.ok(), "id")} {
		e.s.delete("/v1/conversations/" + id).ok()
	}
	q, err := e.conversations.ListQueue(e.s.call(), &antonv1.ListQueueRequest{Id: "rest"})
	same(e, e.call("GET /v1/conversations/{id}/queue", nil, "rest"), q, err)
	q, err = e.conversations.ResumeQueue(e.s.call(), &antonv1.ResumeQueueRequest{Id: "rest"})
	same(e, e.call("POST /v1/conversations/{id}/queue/resume", object{}, "rest"), q, err)
	_, err = e.conversations.TakeBackQueued(e.s.call(), &antonv1.TakeBackQueuedRequest{Id: "rest", QueueId: "none"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("taken back what is not there: %v", err)
	}
	e.call("DELETE /v1/conversations/{id}/queue/{queue_id}", nil, "rest", "none").got(http.StatusNotFound)
	d, err := e.conversations.DeleteTurn(e.s.call(), &antonv1.DeleteTurnRequest{Id: "grpc", TurnIndex: 0})
	alike(e, e.call("DELETE /v1/conversations/{id}/turns/{turn_index}", nil, "rest", "0"), d, err)
	w, err := e.conversations.WatchConversations(e.s.call(), &antonv1.WatchConversationsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if ev, err := w.Recv(); err != nil || len(ev.GetSnapshot().GetConversations()) != 2 {
		t.Errorf("watch: %v %v", ev, err)
	}
	del, err := e.conversations.DeleteConversation(e.s.call(), &antonv1.DeleteConversationRequest{Id: "grpc"})
	alike(e, e.call("DELETE /v1/conversations/{id}", nil, "rest"), del, err)
}

func (e *everyRoute) settingsRoutes(t *testing.T) {
	st, err := e.settings.GetSettings(e.s.call(), &antonv1.GetSettingsRequest{})
	a := e.call("GET /v1/settings", nil)
	same(e, a, st, err)
	if strings.Contains(string(a.body), e.s.opts.model.key) {
		t.Errorf("settings: %v", a)
	}
	u, err := e.settings.UpdateSettings(e.s.call(), &antonv1.UpdateSettingsRequest{Tone: proto.String("terse")})
	same(e, e.call("PUT /v1/settings", object{"tone": "terse"}), u, err)

	c, err := e.settings.GetConfigured(e.s.call(), &antonv1.GetConfiguredRequest{})
	same(e, e.call("GET /v1/settings/configured", nil), c, err)
	in, err := e.settings.GetInstallStatus(e.s.call(), &antonv1.GetInstallStatusRequest{})
	same(e, e.call("GET /v1/settings/install-status", nil), in, err)
	k, err := e.settings.RevealKey(e.s.call(), &antonv1.RevealKeyRequest{Name: "openai"})
	same(e, e.call("GET /v1/settings/reveal-key/{name}", nil, "openai"), k, err)
	ur, err := e.settings.UpdateRawSettings(e.s.call(), &antonv1.UpdateRawSettingsRequest{Content: proto.String("A=1")})
	same(e, e.call("POST /v1/settings/raw", object{"content": "B=2"}), ur, err)
	raw, err := e.settings.GetRawSettings(e.s.call(), &antonv1.GetRawSettingsRequest{})
	if o := e.call("GET /v1/settings/raw", nil).ok(); err != nil || o["content"] != raw.Content || o["A"] != raw.Values["A"] || o["B"] != "2" {
		t.Errorf("raw: %v by REST, %v %v by gRPC", o, raw, err)
	}
	v, err := e.settings.ValidateSettings(e.s.call(), &antonv1.ValidateSettingsRequest{PlanningProvider: proto.String("offline")})
	same(e, e.call("POST /v1/settings/validate", object{"planningProvider": "offline"}), v, err)
	vp, err := e.settings.ValidateProvider(e.s.call(), &antonv1.ValidateProviderRequest{Provider: proto.String("openai"), ApiKey: proto.String("")})
	same(e, e.call("POST /v1/settings/validate-provider", object{"provider": "openai", "apiKey": ""}), vp, err)
	tp, err := e.settings.TestProviders(e.s.call(), &antonv1.TestProvidersRequest{Providers: &structpb.ListValue{}})
	same(e, e.call("POST /v1/settings/test-providers", object{"providers": []object{}}), tp, err)

	ms, err := e.models.ListModels(e.s.call(), &antonv1.ListModelsRequest{})
	same(e, e.call("GET /v1/models", nil), ms, err)
	m, err := e.models.GetModel(e.s.call(), &antonv1.GetModelRequest{Model: "scripted"})
	same(e, e.call("GET /v1/models/{model=**}", nil, "scripted"), m, err)
}

func (e *everyRoute) openaiRoutes(t *testing.T) {
	const items, item = "/v1/conversations/{id}/items", "/v1/conversations/{id}/items/{item_id}"
	given := []object{{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi."}}
	both := []*antonv1.InputItem{{Role: "user", Text: "Hello!"}, {Role: "assistant", Text: "Hi."}}
	c, err := e.conversations.CreateConversation(e.s.call(), &antonv1.CreateConversationRequest{Items: both, Metadata: map[string]string{"a": "b"}})
	made := e.call("POST /v1/conversations", object{"items": given, "metadata": object{"a": "b"}})
	alike(e, made, c, err)
	rest := str(made.object(), "id")
	c, err = e.conversations.SetConversationMetadata(e.s.call(), &antonv1.SetConversationMetadataRequest{Id: c.Id, Metadata: map[string]string{"c": "d"}})
	alike(e, e.call("POST /v1/conversations/{id}", object{"metadata": object{"c": "d"}}, rest), c, err)
	grpcID := c.Id
	added, err := e.conversations.CreateItems(e.s.call(), &antonv1.CreateItemsRequest{Id: grpcID, Items: both})
	sameItems(t, e.call("POST "+items, object{"items": given}, rest), added.GetData(), err)
	list, err := e.conversations.ListItems(e.s.call(), &antonv1.ListItemsRequest{Id: rest, Limit: proto.Int32(3), Order: "asc"})
	ids := sameItems(t, e.call("GET "+items, nil, rest, "?limit=3&order=asc"), list.GetData(), err)
	one, err := e.conversations.GetItem(e.s.call(), &antonv1.GetItemRequest{Id: rest, ItemId: ids[1]})
	if o := e.call("GET "+item, nil, rest, ids[1]).ok(); err != nil || one.Id != ids[1] || o["id"] != ids[1] {
		t.Errorf("item %v by REST, by gRPC %v %v", o, one, err)
	}
	c, err = e.conversations.DeleteItem(e.s.call(), &antonv1.DeleteItemRequest{Id: grpcID, ItemId: added.Data[0].Id})
	alike(e, e.call("DELETE "+item, nil, rest, ids[0]), c, err)

	tn := e.s.ask(object{"input": "by rest", "conversation": rest}).turn()
	r, err := e.responses.GetResponse(e.s.call(), &antonv1.GetResponseRequest{ResponseId: tn.responseID})
	if o := e.call("GET /v1/responses/{response_id}", nil, tn.responseID).ok(); err != nil || o["id"] != r.Id || o["status"] != r.Status || o["output_text"] != r.OutputText ||
		o["model"] != r.Model || o["created_at"] != r.CreatedAt || o["conversation_id"] != r.ConversationId {
		t.Errorf("response %v by REST, by gRPC %v %v", o, r, err)
	}
	st, err := e.responses.StreamResponse(e.s.call(), &antonv1.StreamResponseRequest{ResponseId: tn.responseID})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := receive(st); err != nil || eventText(all) != "About by rest" {
		t.Errorf("replayed %q %v", eventText(all), err)
	}
	in, err := e.responses.ListInputItems(e.s.call(), &antonv1.ListInputItemsRequest{ResponseId: tn.responseID})
	sameItems(t, e.call("GET /v1/responses/{response_id}/input_items", nil, tn.responseID), in.GetData(), err)
	stopped, err := e.responses.StopResponse(e.s.call(), &antonv1.StopResponseRequest{ResponseId: tn.responseID})
	if o := e.call("POST /v1/responses/{response_id}/cancel", nil, tn.responseID).ok(); err != nil || o["status"] != "completed" || stopped.Status != "completed" {
		t.Errorf("stopped %v by REST, by gRPC %v %v", o, stopped, err)
	}
	e.rest["POST /v1/chat/completions"] = true
	if got := decode[completion](t, e.s.post(chatPath, object{"messages": says("chat")}).body); *got.Choices[0].Message.Content != "About chat" {
		t.Errorf("completion %+v", got)
	}
	other := e.s.ask(object{"input": "by grpc", "conversation": rest}).turn()
	gone, err := e.responses.DeleteResponse(e.s.call(), &antonv1.DeleteResponseRequest{ResponseId: other.responseID})
	alike(e, e.call("DELETE /v1/responses/{response_id}", nil, tn.responseID), gone, err)
	for _, id := range []string{rest, grpcID} {
		e.s.delete("/v1/conversations/" + id).ok()
	}
}

// sameItems compares the ids of two lists that may be the same, and the kinds of
// what is in them.
func sameItems(t *testing.T, a answer, want []*antonv1.Item, err error) (ids []string) {
	t.Helper()
	a.ok()
	list := decode[struct{ Data []listed }](t, a.body).Data
	if err != nil || len(list) != len(want) {
		t.Fatalf("%v; by gRPC %v %v", a, want, err)
	}
	for i, it := range list {
		ids = append(ids, it.ID)
		if it.Type != "message" || it.Role != want[i].GetInput().GetRole() || it.text() != want[i].GetInput().GetText() {
			t.Errorf("item %d: %v, by gRPC %v", i, it, want[i])
		}
	}
	return ids
}

func (e *everyRoute) backupRoutes(t *testing.T) {
	a := e.call("GET /v1/backup", nil)
	if a.status != http.StatusOK || !bytes.HasPrefix(a.body, []byte("\x1f\x8b")) {
		t.Errorf("%s: %d, %d bytes", a.what, a.status, len(a.body))
	}
	st, err := e.backup.CreateBackup(e.s.call(), &antonv1.CreateBackupRequest{})
	if err != nil {
		t.Fatal(err)
	}
	parts, err := receive(st)
	if err != nil || len(parts) < 2 || !bytes.HasPrefix(parts[0].GetData(), []byte("\x1f\x8b")) || parts[len(parts)-1].GetSummary().GetVersion() == "" {
		t.Errorf("%d parts, %v", len(parts), err)
	}
}

// attachmentRoutes uploads by both doors, and reads by each what the other brought.
func (e *everyRoute) attachmentRoutes(t *testing.T) {
	const one, session = "/v1/attachments/{project}/{session_id}", "grpc-and-rest"
	e.rest["POST "+one+"/upload"], e.rest["POST /v1/attachments/upload"] = true, true
	var ids []string
	upload := func(path string, fields ...string) {
		body, typ := form(t, append(fields, "notes.txt", "from REST")...)
		a := e.s.do(http.MethodPost, path, body, headers("Content-Type", typ))
		list := decode[[]object](t, a.body)
		if a.status != http.StatusOK || len(list) != 1 {
			t.Fatalf("%v", a)
		}
		ids = append(ids, list[0]["id"].(string))
	}
	upload("/v1/attachments/general/" + session + "/upload")
	upload("/v1/attachments/upload?project=general&session_id=" + session)
	up, err := e.attachments.UploadAttachments(e.s.call())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*antonv1.UploadAttachmentsRequest{
		{Part: &antonv1.UploadAttachmentsRequest_Header{Header: &antonv1.AttachmentHeader{Project: "general", SessionId: session, Name: "notes.txt"}}},
		{Part: &antonv1.UploadAttachmentsRequest_Data{Data: []byte("from gRPC")}},
	} {
		if err := up.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	res, err := up.CloseAndRecv()
	if err != nil || len(res.Attachments) != 1 {
		t.Fatalf("%v %v", res, err)
	}
	ids = append(ids, res.Attachments[0].Id)
	l, err := e.attachments.ListAttachments(e.s.call(), &antonv1.ListAttachmentsRequest{Project: "general", SessionId: session})
	if err != nil || len(l.Attachments) != 3 {
		t.Fatalf("%v %v", l, err)
	}
	for _, a := range []answer{e.call("GET "+one, nil, "general", session), e.call("GET /v1/attachments", nil, "?session_id="+session)} {
		if got := decode[[]object](t, a.body); len(got) != 3 {
			t.Errorf("%v", a)
		}
	}
	for _, id := range ids {
		g, err := e.attachments.GetAttachment(e.s.call(), &antonv1.GetAttachmentRequest{Id: id})
		if err != nil || g.Id != id || e.call("GET /v1/attachments/{id}", nil, id).ok()["id"] != id {
			t.Errorf("%s: %v %v", id, g, err)
		}
	}
	dl, err := e.attachments.DownloadAttachment(e.s.call(), &antonv1.DownloadAttachmentRequest{Id: ids[0]})
	if err != nil {
		t.Fatal(err)
	}
	parts, err := receive(dl)
	var data []byte
	for _, p := range parts {
		data = append(data, p.GetData()...)
	}
	if raw := e.call("GET "+one+"/{id}/raw", nil, "general", session, ids[2]); err != nil || string(data) != "from REST" || string(raw.body) != "from gRPC" {
		t.Errorf("%q, %v, %v", data, err, raw)
	}
	if m, err := e.attachments.MoveAttachmentToProject(e.s.call(), &antonv1.MoveAttachmentToProjectRequest{Id: ids[0]}); err != nil || !m.Ok {
		t.Errorf("move: %v %v", m, err)
	}
	if a := e.call("POST "+one+"/{id}/move-to-project", nil, "general", session, ids[1]).ok(); a["ok"] != true {
		t.Errorf("move: %v", a)
	}
	if d, err := e.attachments.DeleteAttachment(e.s.call(), &antonv1.DeleteAttachmentRequest{Id: ids[2]}); err != nil || !d.Ok {
		t.Errorf("delete: %v %v", d, err)
	}
	e.call("DELETE /v1/attachments/{id}", nil, ids[0])
	e.call("DELETE "+one+"/{id}", nil, "general", session, ids[1])
}

func (e *everyRoute) artifactRoutes(t *testing.T) {
	e.s.put("/v1/projects/general/files/.anton/artifacts/report/index.html", object{"content": "<p>x"}).ok()
	l, err := e.artifacts.ListArtifacts(e.s.call(), &antonv1.ListArtifactsRequest{Project: "general"})
	a := e.call("GET /v1/artifacts", nil, "?project=general")
	if got := decode[[]object](t, a.body); err != nil || len(l.Artifacts) != 1 || len(got) != 1 || got[0]["slug"] != "report" {
		t.Errorf("%v %v, %v", l, err, a)
	}
	g, err := e.artifacts.GetArtifact(e.s.call(), &antonv1.GetArtifactRequest{Project: "general", Slug: "report"})
	one := e.call("GET /v1/artifacts/{slug}", nil, "report").ok()
	if err != nil || g.Slug != "report" || len(g.Files) != 1 || one["slug"] != "report" || len(one["files"].([]any)) != 1 {
		t.Errorf("%v %v, %v", g, err, one)
	}
}
