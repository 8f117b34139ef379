package blackbox

import (
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	antv1 "anthill/gen/ant/v1"
)

func antTerminalRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewTerminalsServiceClient(conn)
	s := antv1.NewSendsServiceClient(conn)
	id, other := str(e.s.newSession("typed by grpc", "terminal"), "id"), str(e.s.newSession("typed by rest", "terminal"), "id")
	const path = "/api/sessions/{session_id}/terminal"
	command := []string{"sh", "-c", "stty -echo; echo begun; cat"}
	v, err := c.StartTerminal(e.s.call(), &antv1.StartTerminalRequest{SessionId: id, Command: command})
	alike(e, e.call("POST "+path+"/start", object{"command": command}, other), v, err)
	v, err = c.GetTerminal(e.s.call(), &antv1.GetTerminalRequest{SessionId: id})
	alike(e, e.call("GET "+path, nil, other), v, err)
	e.s.eventually("it runs", func() bool {
		v, err := c.GetTerminalScreen(e.s.call(), &antv1.GetTerminalScreenRequest{SessionId: id})
		return err == nil && slices.Contains(v.Lines, "begun")
	})
	sc, err := c.GetTerminalScreen(e.s.call(), &antv1.GetTerminalScreenRequest{SessionId: id})
	same(e, e.call("GET "+path+"/screen", nil, id), sc, err)
	in, err := c.SendTerminalInput(e.s.call(), &antv1.SendTerminalInputRequest{SessionId: id, Data: "hello there\r"})
	if err != nil || !in.Ok || in.Event.GetKind() != "prompt" || in.Event.GetText() != "hello there" {
		e.t.Errorf("input: %v %v", in, err)
	}
	o := e.call("POST "+path+"/input", object{"data": "hello\r"}, other).ok()
	if ev, _ := o["event"].(object); o["ok"] != true || ev["kind"] != "prompt" || ev["text"] != "hello" || ev["session_id"] != other || len(o) != 2 {
		e.t.Errorf("input: %v", o)
	}
	antHistoryRoutes(e, c, id)
	raw, err := s.SendToTerminal(e.s.call(), &antv1.SendToTerminalRequest{SessionId: id, Text: "raw", Raw: true})
	alike(e, e.call("POST "+path+"/sends", object{"text": "raw", "raw": true}, other), raw, err)
	one, err := s.GetTerminalSend(e.s.call(), &antv1.GetTerminalSendRequest{SessionId: id, SendId: raw.GetId()})
	same(e, e.call("GET "+path+"/sends/{send_id}", nil, id, raw.GetId()), one, err)
	list, err := s.ListTerminalSends(e.s.call(), &antv1.ListTerminalSendsRequest{SessionId: id})
	same(e, e.call("GET "+path+"/sends", nil, id), list, err)
	if st, err := c.AttachTerminal(e.s.call()); err != nil {
		e.t.Error(err)
	} else if err := st.Send(&antv1.AttachTerminalRequest{Message: &antv1.AttachTerminalRequest_Open{Open: &antv1.AttachOpen{SessionId: id}}}); err != nil {
		e.t.Error(err)
	} else if first, err := st.Recv(); err != nil || !first.GetHealth().GetAlive() {
		e.t.Errorf("attached: %v %v", first, err)
	}
	stop, err := c.InterruptTerminal(e.s.call(), &antv1.InterruptTerminalRequest{SessionId: id, Reason: "enough", RequestedBy: "@ann"})
	if err != nil || !stop.Ok || stop.Action != "interrupt" || stop.Key != "ctrl-c" || stop.Event.GetKind() != "terminal_stop" {
		e.t.Errorf("stop: %v %v", stop, err)
	}
	o = e.call("POST "+path+"/stop", object{}, other).ok()
	if o["ok"] != true || o["action"] != "interrupt" || o["key"] != "ctrl-c" || str(o, "event", "kind") != "terminal_stop" {
		e.t.Errorf("stop: %v", o)
	}
	v, err = c.EndTerminal(e.s.call(), &antv1.EndTerminalRequest{SessionId: id})
	alike(e, e.call("DELETE "+path, nil, other), v, err)
}

func antHistoryRoutes(e *everyRoute, c antv1.TerminalsServiceClient, id string) {
	const path = "/api/sessions/{session_id}/terminal"
	keys := func(o object) string {
		var names []string
		for k := range o {
			names = append(names, k)
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	e.s.eventually("there is history", func() bool {
		v, err := c.ListTerminalHistory(e.s.call(), &antv1.ListTerminalHistoryRequest{SessionId: id, Grep: "begun"})
		return err == nil && v.Count > 0
	})
	const piece, page = "byte_offset chunk_index id size", "count has_more limit mode next_offset"
	for query, want := range map[string][2]string{
		"":            {page + " rows session_id since_ms truncated", piece + " text ts_ms"},
		"?raw=1":      {page + " rows session_id since_ms truncated", "byte_offset chunk_index id raw size ts_ms"},
		"?offset=0":   {page + " rows session_id truncated", piece + " text ts_ms"},
		"?grep=begun": {page + " query rows session_id truncated", piece + " snippet text ts_ms"},
	} {
		o := e.call("GET "+path+"/history", nil, id, query).ok()
		rows := o["rows"].([]any)
		if keys(o) != want[0] || len(rows) == 0 || keys(rows[0].(object)) != want[1] {
			e.t.Errorf("history%s: %v", query, o)
		}
	}
	l, err := c.ListTerminalEvents(e.s.call(), &antv1.ListTerminalEventsRequest{SessionId: id, Kind: "started"})
	o := e.call("GET "+path+"/events", nil, id, "?kind=started").ok()
	if err != nil || o["count"] != float64(l.Count) || l.Count == 0 || keys(o) != "count kind limit rows session_id since_ms" || o["kind"] != "started" {
		e.t.Fatalf("events: %v, %v %v", o, l, err)
	}
	row := o["rows"].([]any)[0].(object)
	if _, isObject := row["data"].(object); !isObject || keys(row) != "data id kind ts_ms" || row["id"] != l.Rows[0].Id {
		e.t.Errorf("events: %v, %v", o, l)
	}
}

func antAgentRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	a := e.s.play(playedCLIs[0])
	item := a.asked("run make install")
	status := antv1.NewStatusServiceClient(conn)
	prompts := antv1.NewPromptsServiceClient(conn)
	attention := antv1.NewAttentionServiceClient(conn)
	st, err := status.GetStatus(e.s.call(), &antv1.GetStatusRequest{SessionId: a.id})
	o := e.call("GET /api/sessions/{session_id}/status", nil, a.id).ok()
	if err != nil || o["event_id"] != st.GetEventId() || o["summary"] != st.GetSummary() || str(o, "route", "mode") != st.GetRoute().GetMode() {
		e.t.Errorf("status: %v, %v %v", o, st, err)
	}
	pend, err := prompts.GetPendingPrompt(e.s.call(), &antv1.GetPendingPromptRequest{SessionId: a.id})
	o = e.call("GET /api/sessions/{session_id}/prompt-bridge/pending", nil, a.id).ok()
	if err != nil || str(o, "pending", "id") != pend.GetPending().GetId() || str(o, "pending", "raw_text") != pend.GetPending().GetRawText() {
		e.t.Errorf("pending: %v, %v %v", o, pend, err)
	}
	list, err := attention.ListAttention(e.s.call(), &antv1.ListAttentionRequest{})
	same(e, e.call("GET /api/attention", nil), list, err)
	one, err := attention.GetAttention(e.s.call(), &antv1.GetAttentionRequest{Id: str(item, "id")})
	same(e, e.call("GET /api/attention/{id}", nil, str(item, "id")), one, err)
	done, err := attention.AnswerAttention(e.s.call(), &antv1.AnswerAttentionRequest{Id: str(item, "id"), Choice: "approve"})
	next := func() object { a.settled(); return a.asked("run make install") }
	alike(e, e.call("POST /api/attention/{id}/answer", object{"choice": "approve"}, str(next(), "id")), done, err)
	next()
	resp, err := prompts.RespondPrompt(e.s.call(), &antv1.RespondPromptRequest{SessionId: a.id, Text: "1"})
	next()
	o = e.call("POST /api/sessions/{session_id}/prompt-bridge/respond", object{"text": "1"}, a.id).ok()
	if err != nil || o["ok"] != resp.Ok || str(o, "prompt", "status") != resp.GetPrompt().GetStatus() {
		e.t.Errorf("respond: %v, %v %v", o, resp, err)
	}
	change, err := structpb.NewStruct(map[string]any{"expire_after_ms": 3600000})
	if err != nil {
		e.t.Fatal(err)
	}
	set, err := prompts.UpdatePromptBridgeConfig(e.s.call(), &antv1.UpdatePromptBridgeConfigRequest{Config: change})
	o = e.call("PUT /api/prompt-bridge/config", object{"expire_after_ms": 3600000}).ok()
	got, err2 := prompts.GetPromptBridgeConfig(e.s.call(), &antv1.GetPromptBridgeConfigRequest{})
	again := e.call("GET /api/prompt-bridge/config", nil).ok()
	if err != nil || err2 != nil || !proto.Equal(set, got) || asJSON(e.t, o) != asJSON(e.t, again) || set.Config.ExpireAfterMs != o["config"].(object)["expire_after_ms"] {
		e.t.Errorf("configuration: %v %v, %v %v, %v %v", o, again, set, got, err, err2)
	}
}
