package blackbox

import (
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	antonv1 "anthill/gen/anton/v1"
)

// undecodable are payloads that no client library sends: every method refuses them.
func undecodable(m protoreflect.MethodDescriptor) map[string][]byte {
	out := map[string][]byte{
		"garbage": []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "cut off": {0x0a, 0x05, 'a'}, "no value": {0x0a},
		"field 0": {0x02, 0x01, 'x'}, "open group": {0x0b}, "length beyond": protowire.AppendVarint([]byte{0x0a}, 1<<62),
	}
	fields := m.Input().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		tag := protowire.AppendTag(nil, fd.Number(), protowire.BytesType)
		switch {
		case fd.Kind() == protoreflect.StringKind && !fd.IsMap():
			out["invalid UTF-8 in "+string(fd.Name())] = append(tag, "\x03a\xffb"...)
		case fd.IsMap():
			out["invalid UTF-8 in "+string(fd.Name())] = append(tag, "\x06\x0a\x01\xff\x12\x01x"...)
		case fd.Kind() == protoreflect.MessageKind:
			out["broken "+string(fd.Name())] = append(tag, "\x02\x0a\x7f"...)
			if fd.Message().ParentFile().Package() == "google.protobuf" { // those that nest
				out["deep "+string(fd.Name())] = deepMessage(fd)
			}
		}
	}
	return out
}

// deepMessage nests lists 24,000 levels deep, further than decoders go. It is
// written from its end, where the innermost is.
func deepMessage(fd protoreflect.FieldDescriptor) []byte {
	buf := make([]byte, 1<<20)
	at := len(buf)
	wrap := func(number protowire.Number) {
		head := protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.BytesType), uint64(len(buf)-at))
		at -= len(head)
		copy(buf[at:], head)
	}
	for range 12_000 {
		wrap(6) // a Value that is a list
		wrap(1) // a ListValue with that Value
	}
	if fd.Message().Name() == "Struct" {
		wrap(6)
		wrap(2) // the value of an entry
		wrap(1) // a Struct with that entry
	}
	wrap(fd.Number())
	return buf[at:]
}

// Done when: bad input gets the matching code over gRPC and changes nothing.
func TestBadInputMessages(t *testing.T) {
	t.Parallel()
	s, unchanged := badInput(t)
	defer unchanged()
	conn := s.dial()
	for _, m := range methods() {
		for what, payload := range undecodable(m) {
			_, err := callRaw(s.call(), conn, m, payload)
			wantCode(t, fullMethod(m)+", "+what, err, codes.InvalidArgument)
			if msg := status.Convert(err).Message(); strings.Contains(msg, "proto:") {
				t.Errorf("%s, %s: %q", fullMethod(m), what, msg)
			}
		}
		huge := protowire.AppendBytes(protowire.AppendTag(nil, 100, protowire.BytesType), make([]byte, 13<<20))
		if m.Name() == "GetConversation" || m.Name() == "CreateResponse" {
			_, err := callRaw(s.call(), conn, m, huge)
			wantCode(t, fullMethod(m)+", huge", err, codes.ResourceExhausted)
		}
		// An empty message is refused where something is required.
		if needs := requiredField(m.Input()); needs != "" {
			_, err := callRaw(s.call(), conn, m, nil)
			wantCode(t, fullMethod(m)+", empty", err, codes.InvalidArgument)
			if !strings.Contains(status.Convert(err).Message(), needs) {
				t.Errorf("%s, empty: %v does not name %s", fullMethod(m), err, needs)
			}
		}
	}
	_, err := callRaw(s.call(), conn, methods()[0], []byte{0xff})
	wantCode(t, "garbage", err, codes.InvalidArgument)
	err = conn.Invoke(s.call(), "/anton.v1.ProjectsService/Nothing", &antonv1.ListProjectsRequest{}, &antonv1.ListProjectsResponse{})
	wantCode(t, "unknown method", err, codes.Unimplemented)
	err = conn.Invoke(s.call(), "/anton.v1.NothingService/Nothing", &antonv1.ListProjectsRequest{}, &antonv1.ListProjectsResponse{})
	wantCode(t, "unknown service", err, codes.Unimplemented)
}

// requiredField is the first one that the messages of a method must have.
func requiredField(md protoreflect.MessageDescriptor) string {
	return map[protoreflect.Name]string{
		"CreateResponseRequest": "input", "TailResponseRequest": "conversation_id", "GetInFlightRequest": "conversation_id",
		"CancelResponseRequest": "conversation_id", "GetConversationRequest": "id", "ListMessagesRequest": "id", "UpdateConversationRequest": "id",
		"DeleteTurnRequest": "id", "DeleteConversationRequest": "id", "CreateProjectRequest": "name", "SetActiveProjectRequest": "name",
		"RenameProjectRequest": "project", "DeleteProjectRequest": "project", "GetInstructionsRequest": "project", "ListFilesRequest": "project",
		"GetResponseRequest": "response_id", "StreamResponseRequest": "response_id", "StopResponseRequest": "response_id", "DeleteResponseRequest": "response_id",
		"ListInputItemsRequest": "response_id", "SetConversationMetadataRequest": "id", "ListItemsRequest": "id", "CreateItemsRequest": "id", "GetItemRequest": "id",
		"DeleteItemRequest": "id", "GetModelRequest": "model", "ValidateProviderRequest": "provider", "RevealKeyRequest": "name", "UpdateRawSettingsRequest": "content",
		"ReadFileRequest": "project", "WriteFileRequest": "project", "DeleteFileRequest": "project", "DownloadFileRequest": "project",
	}[md.Name()]
}

// refusal is a call that must fail.
type refusal struct {
	what string
	err  error
	want codes.Code
}

func second[T any](_ T, err error) error { return err }

func firstOf[T any](st grpc.ServerStreamingClient[T], err error) error {
	if err != nil {
		return err
	}
	return second(st.Recv())
}

func user(text string) []*antonv1.InputItem { return []*antonv1.InputItem{{Role: "user", Text: text}} }

func TestBadInputValuesOverGRPC(t *testing.T) {
	t.Parallel()
	s, unchanged := badInput(t)
	defer unchanged()
	conn := s.dial()
	r, c := antonv1.NewResponsesServiceClient(conn), antonv1.NewConversationsServiceClient(conn)
	p, f := antonv1.NewProjectsServiceClient(conn), antonv1.NewProjectFilesServiceClient(conn)
	set := antonv1.NewSettingsServiceClient(conn)
	create := func(q *antonv1.CreateResponseRequest) error { return firstOf(r.CreateResponse(s.call(), q)) }
	bad, missing := codes.InvalidArgument, codes.NotFound
	nested := structpb.NewStringValue("x")
	for range 200 {
		nested = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{nested}})
	}
	all := []refusal{
		{"no text", create(&antonv1.CreateResponseRequest{Input: user(" \n")}), bad},
		{"role", create(&antonv1.CreateResponseRequest{Input: []*antonv1.InputItem{{Role: "wizard", Text: "x"}}}), bad},
		{"NUL in the text", create(&antonv1.CreateResponseRequest{Input: user("a\x00b"), Conversation: "nul"}), bad},
		{"conversation id", create(&antonv1.CreateResponseRequest{Input: user("q"), Conversation: "../x"}), bad},
		{"NUL in the id", create(&antonv1.CreateResponseRequest{Input: user("q"), Conversation: "a\x00b"}), bad},
		{"unknown project", create(&antonv1.CreateResponseRequest{Input: user("q"), Project: "no-such"}), missing},
		{"traversal project", create(&antonv1.CreateResponseRequest{Input: user("q"), Project: "../data"}), missing},
		{"temperature", create(&antonv1.CreateResponseRequest{Input: user("q"), Temperature: proto.Float64(9)}), bad},
		{"tokens", create(&antonv1.CreateResponseRequest{Input: user("q"), MaxOutputTokens: proto.Int32(-1)}), bad},
		{"connections", create(&antonv1.CreateResponseRequest{Input: user("q"), HasDisabledConnections: true, DisabledConnections: []*antonv1.Connection{{}}}), bad},
		{"too much text", create(&antonv1.CreateResponseRequest{Input: user(strings.Repeat("x", 9<<20)), Conversation: "huge"}), codes.InvalidArgument},
		{"tail of unknown", firstOf(r.TailResponse(s.call(), &antonv1.TailResponseRequest{ConversationId: "no-such"})), missing},
		{"tail from -1", firstOf(r.TailResponse(s.call(), &antonv1.TailResponseRequest{ConversationId: "c", FromSeq: -1})), bad},
		{"previous response", create(&antonv1.CreateResponseRequest{Input: user("q"), Options: &antonv1.RequestOptions{PreviousResponseId: "resp_1"}}), bad},
		{"previous response and conversation", create(&antonv1.CreateResponseRequest{Input: user("q"), Conversation: "c", Options: &antonv1.RequestOptions{PreviousResponseId: "resp_1"}}), bad},
		{"unstored beside unknown", create(&antonv1.CreateResponseRequest{Input: user("q"), Conversation: "nowhere", Options: &antonv1.RequestOptions{Store: proto.Bool(false)}}), missing},
		{"unstored in unknown", create(&antonv1.CreateResponseRequest{Input: user("q"), Project: "nowhere", Options: &antonv1.RequestOptions{Store: proto.Bool(false)}}), missing},
		{"unknown response", second(r.GetResponse(s.call(), &antonv1.GetResponseRequest{ResponseId: "resp_1"})), missing},
		{"stream of unknown", firstOf(r.StreamResponse(s.call(), &antonv1.StreamResponseRequest{ResponseId: "resp_1"})), missing},
		{"stream from -1", firstOf(r.StreamResponse(s.call(), &antonv1.StreamResponseRequest{ResponseId: "resp_1", StartingAfter: proto.Int32(-1)})), bad},
		{"stop unknown", second(r.StopResponse(s.call(), &antonv1.StopResponseRequest{ResponseId: "resp_1"})), missing},
		{"delete unknown response", second(r.DeleteResponse(s.call(), &antonv1.DeleteResponseRequest{ResponseId: "resp_1"})), missing},
		{"input items of unknown", second(r.ListInputItems(s.call(), &antonv1.ListInputItemsRequest{ResponseId: "resp_1"})), missing},
		{"items of unknown", second(c.ListItems(s.call(), &antonv1.ListItemsRequest{Id: "no-such"})), missing},
		{"items behind unknown", second(c.ListItems(s.call(), &antonv1.ListItemsRequest{Id: "c", After: "msg_1"})), bad},
		{"101 items", second(c.ListItems(s.call(), &antonv1.ListItemsRequest{Id: "c", Limit: proto.Int32(101)})), bad},
		{"items in no order", second(c.ListItems(s.call(), &antonv1.ListItemsRequest{Id: "c", Order: "x"})), bad},
		{"no items", second(c.CreateItems(s.call(), &antonv1.CreateItemsRequest{Id: "c"})), bad},
		{"items for unknown", second(c.CreateItems(s.call(), &antonv1.CreateItemsRequest{Id: "no-such", Items: user("q")})), missing},
		{"item of nobody", second(c.CreateItems(s.call(), &antonv1.CreateItemsRequest{Id: "c", Items: []*antonv1.InputItem{{}}})), bad},
		{"NUL in an item", second(c.CreateItems(s.call(), &antonv1.CreateItemsRequest{Id: "c", Items: user("a\x00b")})), bad},
		{"unknown item", second(c.GetItem(s.call(), &antonv1.GetItemRequest{Id: "c", ItemId: "msg_1"})), missing},
		{"delete unknown item", second(c.DeleteItem(s.call(), &antonv1.DeleteItemRequest{Id: "c", ItemId: "msg_1"})), missing},
		{"conversation in unknown", second(c.CreateConversation(s.call(), &antonv1.CreateConversationRequest{Project: "no-such"})), missing},
		{"metadata", second(c.CreateConversation(s.call(), &antonv1.CreateConversationRequest{Metadata: map[string]string{"k": strings.Repeat("x", 513)}})), bad},
		{"NUL in metadata", second(c.CreateConversation(s.call(), &antonv1.CreateConversationRequest{Metadata: map[string]string{"k": "a\x00b"}})), bad},
		{"metadata of unknown", second(c.SetConversationMetadata(s.call(), &antonv1.SetConversationMetadataRequest{Id: "no-such"})), missing},
		{"limit 0", second(c.ListConversations(s.call(), &antonv1.ListConversationsRequest{Limit: proto.Int32(0)})), bad},
		{"limit", second(c.ListConversations(s.call(), &antonv1.ListConversationsRequest{Limit: proto.Int32(1 << 30)})), bad},
		{"get unknown", second(c.GetConversation(s.call(), &antonv1.GetConversationRequest{Id: "no-such"})), missing},
		{"get NUL", second(c.GetConversation(s.call(), &antonv1.GetConversationRequest{Id: "c\x00"})), bad},
		{"messages of unknown", second(c.ListMessages(s.call(), &antonv1.ListMessagesRequest{Id: "../c"})), missing},
		{"nothing to update", second(c.UpdateConversation(s.call(), &antonv1.UpdateConversationRequest{Id: "c"})), bad},
		{"update unknown", second(c.UpdateConversation(s.call(), &antonv1.UpdateConversationRequest{Id: "no-such", Title: proto.String("x")})), missing},
		{"move to unknown", second(c.UpdateConversation(s.call(), &antonv1.UpdateConversationRequest{Id: "c", Project: proto.String("no-such")})), missing},
		{"NUL in a title", second(c.UpdateConversation(s.call(), &antonv1.UpdateConversationRequest{Id: "c", Title: proto.String("a\x00b")})), bad},
		{"muted", second(c.UpdateConversation(s.call(), &antonv1.UpdateConversationRequest{Id: "c",
			DisabledConnections: &structpb.ListValue{Values: []*structpb.Value{nested}}})), bad},
		{"turn -1", second(c.DeleteTurn(s.call(), &antonv1.DeleteTurnRequest{Id: "c", TurnIndex: -1})), bad},
		{"turn 9", second(c.DeleteTurn(s.call(), &antonv1.DeleteTurnRequest{Id: "c", TurnIndex: 9})), missing},
		{"delete unknown", second(c.DeleteConversation(s.call(), &antonv1.DeleteConversationRequest{Id: "no-such"})), missing},
		{"delete general", second(p.DeleteProject(s.call(), &antonv1.DeleteProjectRequest{Project: "general"})), bad},
		{"delete traversal", second(p.DeleteProject(s.call(), &antonv1.DeleteProjectRequest{Project: "../store"})), missing},
		{"delete dot", second(p.DeleteProject(s.call(), &antonv1.DeleteProjectRequest{Project: "."})), missing},
		{"rename unknown", second(p.RenameProject(s.call(), &antonv1.RenameProjectRequest{Project: "no-such", Name: proto.String("x")})), missing},
		{"activate unknown", second(p.SetActiveProject(s.call(), &antonv1.SetActiveProjectRequest{Name: proto.String("../data")})), missing},
		{"files of unknown", second(f.ListFiles(s.call(), &antonv1.ListFilesRequest{Project: ".."})), missing},
		{"instructions of unknown", second(f.GetInstructions(s.call(), &antonv1.GetInstructionsRequest{Project: "no-such"})), missing},
		{"unknown file", second(f.ReadFile(s.call(), &antonv1.ReadFileRequest{Project: "general", Path: "no-such"})), missing},
		{"delete a folder", second(f.DeleteFile(s.call(), &antonv1.DeleteFileRequest{Project: "general", Path: "dir"})), bad},
		{"large file", second(f.WriteFile(s.call(), &antonv1.WriteFileRequest{Project: "general", Path: "x", Content: proto.String(strings.Repeat("x", 2<<20+1))})), codes.ResourceExhausted},
		{"unknown provider", second(set.UpdateSettings(s.call(), &antonv1.UpdateSettingsRequest{PlanningProvider: proto.String("skynet")})), bad},
		{"NUL in a setting", second(set.UpdateSettings(s.call(), &antonv1.UpdateSettingsRequest{PlanningModel: proto.String("a\x00b")})), bad},
		{"NUL in a preference", second(set.UpdateSettings(s.call(), &antonv1.UpdateSettingsRequest{Greeting: proto.String("a\x00b")})), bad},
		{"providers", second(set.UpdateSettings(s.call(), &antonv1.UpdateSettingsRequest{Providers: &structpb.ListValue{Values: []*structpb.Value{nested}}})), bad},
		{"upload of nothing", upload(s, f), bad},
		{"upload of data first", upload(s, f, &antonv1.UploadFilesRequest{Part: &antonv1.UploadFilesRequest_Data{Data: []byte("x")}}), bad},
		{"upload to unknown", upload(s, f, &antonv1.UploadFilesRequest{Part: &antonv1.UploadFilesRequest_Header{Header: &antonv1.UploadHeader{Project: "no-such", Name: "x"}}}), missing},
		{"upload of no part", upload(s, f, &antonv1.UploadFilesRequest{}), bad},
	}
	for _, path := range []string{"../../store/main.db", "/etc/passwd", "dir/../../x", "a\x00b", "a\nb", `..\x`, "C:x", ".", strings.Repeat("x", 300)} {
		all = append(all,
			refusal{"read " + path, second(f.ReadFile(s.call(), &antonv1.ReadFileRequest{Project: "general", Path: path})), bad},
			refusal{"write " + path, second(f.WriteFile(s.call(), &antonv1.WriteFileRequest{Project: "general", Path: path, Content: proto.String("evil")})), bad},
			refusal{"delete " + path, second(f.DeleteFile(s.call(), &antonv1.DeleteFileRequest{Project: "general", Path: path})), bad},
			refusal{"download " + path, firstOf(f.DownloadFile(s.call(), &antonv1.DownloadFileRequest{Project: "general", Path: path})), bad})
	}
	for _, x := range all {
		wantCode(t, x.what, x.err, x.want)
		if reason, _ := reasonOf(x.err); x.err != nil && reason == "" {
			t.Errorf("%s: no reason in %v", x.what, x.err)
		}
	}
}

func upload(s *server, f antonv1.ProjectFilesServiceClient, parts ...*antonv1.UploadFilesRequest) error {
	st, err := f.UploadFiles(s.call())
	if err != nil {
		return err
	}
	for _, m := range parts {
		if st.Send(m) != nil {
			break // the answer says why
		}
	}
	return second(st.CloseAndRecv())
}
