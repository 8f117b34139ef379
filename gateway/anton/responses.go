package anton

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"anthill/gateway/rest"
	"anthill/gateway/sse"
	antonv1 "anthill/gen/anton/v1"
)

// createResponse serves POST /v1/responses: server-sent events or one JSON
// object, over the same turn. A client that hangs up stops nothing.
func (h *Handler) createResponse(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	body, bad := readBody(r)
	if bad != nil {
		h.refuse(w, r, *bad)
		return
	}
	q, stream, wrong := decodeCreate(body)
	if len(wrong) > 0 {
		h.refuse(w, r, invalid(wrong...))
		return
	}
	q.IdempotencyKey = r.Header.Get("Idempotency-Key")
	events, err := h.responses.CreateResponse(outgoing(r), q)
	if err == nil && h.waits(w, events, q) && wantsStream(r, stream) && !q.Options.Background {
		h.stream(w, r, nil, events) // it may be long until the turn begins: the answer begins now
		return
	}
	if q.Options.Background && !wantsStream(r, stream) {
		h.begun(w, r, events, err)
		return
	}
	h.answer(w, r, events, err, wantsStream(r, stream))
}

// waits says that a request has been put in the queue, and tells the client as what.
func (h *Handler) waits(w http.ResponseWriter, events eventStream, q *antonv1.CreateResponseRequest) bool {
	if q.WhenBusy == "" || q.WhenBusy == "reject" {
		return false
	}
	md, err := events.Header()
	if err != nil || len(md.Get("queue-id")) == 0 { // an error comes with the first event
		return false
	}
	w.Header().Set("X-Queue-Id", md.Get("queue-id")[0])
	return true
}

// begun answers with a response that has only begun: it goes on by itself.
func (h *Handler) begun(w http.ResponseWriter, r *http.Request, events eventStream, err error) {
	var first *antonv1.ResponseEvent
	if err == nil {
		first, err = events.Recv()
	}
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	writeJSON(w, http.StatusOK, viewResponse(first.GetCreated().GetResponse()))
}

// getResponse serves GET /v1/responses/{response_id}, as JSON or, with
// stream=true, as the events that it was made of.
func (h *Handler) getResponse(w http.ResponseWriter, r *http.Request, params map[string]string) {
	// compat: openai-go asks for the stream in a body.
	d, ok := h.openRequest(w, r)
	if !ok {
		return
	}
	stream := false
	d.read("stream", &stream, "bool_type", "Input should be a valid boolean")
	wrong := d.bad
	query := r.URL.Query()
	if s := query.Get("stream"); s != "" {
		var err error
		if stream, err = strconv.ParseBool(s); err != nil {
			wrong = append(wrong, rest.FieldError{Type: "bool_parsing", Loc: []any{"query", "stream"}, Input: s,
				Msg: "Input should be a valid boolean, unable to interpret input"})
		}
	}
	q := &antonv1.StreamResponseRequest{ResponseId: params["response_id"]}
	if s := query.Get("starting_after"); s != "" {
		n, bad := querySeq("starting_after", s)
		wrong = append(wrong, bad...)
		q.StartingAfter = &n
	}
	if len(wrong) > 0 {
		h.refuse(w, r, invalid(wrong...))
		return
	}
	if stream && q.StartingAfter == nil {
		events, err := h.responses.StreamResponse(outgoing(r), q)
		h.answer(w, r, events, err, true)
		return
	}
	resp, err := h.responses.GetResponse(outgoing(r), &antonv1.GetResponseRequest{ResponseId: q.ResponseId})
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	if !stream {
		writeJSON(w, http.StatusOK, viewResponse(resp))
		return
	}
	// The next event may be long in coming, or never come: the answer begins now.
	events, err := h.responses.StreamResponse(outgoing(r), q)
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	h.stream(w, r, nil, events)
}

// querySeq reads a sequence number from a query.
func querySeq(name, s string) (n int32, wrong []rest.FieldError) {
	v, err := strconv.ParseInt(s, 10, 32)
	switch {
	case err != nil:
		wrong = append(wrong, rest.FieldError{Type: "int_parsing", Loc: []any{"query", name}, Input: s,
			Msg: "Input should be a valid integer, unable to parse string as an integer"})
	case v < 0:
		wrong = append(wrong, rest.FieldError{Type: "greater_than_equal", Loc: []any{"query", name}, Input: s,
			Msg: "Input should be greater than or equal to 0"})
	}
	return int32(v), wrong
}

// tailResponse serves GET /v1/responses/tail.
func (h *Handler) tailResponse(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	query := r.URL.Query()
	q := &antonv1.TailResponseRequest{ConversationId: query.Get("conversation_id")}
	var wrong []rest.FieldError
	if q.ConversationId == "" {
		wrong = append(wrong, rest.FieldError{Type: "missing", Loc: []any{"query", "conversation_id"}, Msg: "Field required"})
	}
	if s := query.Get("from_seq"); s != "" {
		n, bad := querySeq("from_seq", s)
		wrong = append(wrong, bad...)
		q.FromSeq = n
	}
	if len(wrong) > 0 {
		h.refuse(w, r, invalid(wrong...))
		return
	}
	events, err := h.responses.TailResponse(outgoing(r), q)
	h.answer(w, r, events, err, true)
}

// wantsStream: an explicit stream decides; without one SDKs get JSON, the
// page's clients SSE (configuration.md, choices).
func wantsStream(r *http.Request, explicit *bool) bool {
	if explicit != nil {
		return *explicit
	}
	return !strings.Contains(r.Header.Get("Accept"), "application/json") && r.Header.Get("Authorization") == ""
}

type eventStream = grpc.ServerStreamingClient[antonv1.ResponseEvent]

// answer waits for the first event, so that what is refused gets an HTTP error.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, events eventStream, err error, stream bool) {
	var first *antonv1.ResponseEvent
	if err == nil {
		first, err = events.Recv()
	}
	switch {
	case err != nil:
		problemOf(r, err).write(w, r)
	case stream:
		h.stream(w, r, first, events)
	default:
		h.whole(w, r, first, events)
	}
}

func (h *Handler) stream(w http.ResponseWriter, r *http.Request, first *antonv1.ResponseEvent, events eventStream) {
	c := callerOf(r)
	out := sse.New(w, r, sse.Options{})
	write := func(ev *antonv1.ResponseEvent) error {
		name, data, err := c.frame(ev)
		if err != nil || name == "" {
			return err
		}
		return out.Event(name, data)
	}
	recv := func() (*antonv1.ResponseEvent, error) {
		if ev := first; ev != nil {
			first = nil
			return ev, nil
		}
		return events.Recv()
	}
	// The answer is under way: an error can only end it, and the client, which
	// saw no terminal event, knows to come back by tail.
	if err := sse.Pump(r.Context(), out, recv, write); err != nil && r.Context().Err() == nil {
		h.log.Info("stream ended early", "error", err)
	}
}

// whole answers with the finished response.
func (h *Handler) whole(w http.ResponseWriter, r *http.Request, last *antonv1.ResponseEvent, events eventStream) {
	for {
		ev, err := events.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if status.Code(err) != codes.Canceled {
				problemOf(r, err).write(w, r)
			}
			return
		}
		last = ev
	}
	switch e := last.Event.(type) {
	case *antonv1.ResponseEvent_Completed:
		writeJSON(w, http.StatusOK, viewResponse(e.Completed.Response))
	case *antonv1.ResponseEvent_Incomplete:
		writeJSON(w, http.StatusOK, viewResponse(e.Incomplete.Response))
	case *antonv1.ResponseEvent_Failed:
		f := e.Failed.Error
		// The turn is kept: asking again by itself would ask twice.
		problem{status: failedStatus(f.GetCode()), detail: f.GetMessage(), code: f.GetCode(), noRetry: true}.write(w, r)
	default:
		problem{status: http.StatusServiceUnavailable, detail: "The server is stopping", noRetry: true}.write(w, r)
	}
}
