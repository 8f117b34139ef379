package anton

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"anthill/gateway/rest"
	"anthill/gateway/sse"
	antonv1 "anthill/gen/anton/v1"
)

// readMessage reads the JSON body of a route that is served by hand.
func (h *Handler) readMessage(w http.ResponseWriter, r *http.Request, m proto.Message) bool {
	body, bad := readBody(r)
	if bad == nil && len(strings.TrimSpace(string(body))) > 0 { // without one, what is required is missed by name
		if err := rest.DecodeBody(body, m); err != nil {
			p := bodyProblem(err)
			bad = &p
		}
	}
	if bad != nil {
		h.refuse(w, r, *bad)
	}
	return bad == nil
}

// streamCell serves POST /v1/scratchpad/execute-stream.
// compat: the frames have no event line (anton.md 9).
func (h *Handler) streamCell(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	q := &antonv1.StreamCellRequest{}
	if !h.readMessage(w, r, q) {
		return
	}
	events, err := h.pads.StreamCell(outgoing(r), q)
	var first *antonv1.CellEvent
	if err == nil {
		first, err = events.Recv()
	}
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	out := sse.New(w, r, sse.Options{})
	recv := func() (*antonv1.CellEvent, error) {
		if ev := first; ev != nil {
			first = nil
			return ev, nil
		}
		return events.Recv()
	}
	write := func(ev *antonv1.CellEvent) error {
		data, err := cellFrame(ev)
		if err != nil {
			return err
		}
		return out.Event("", data)
	}
	err = sse.Pump(r.Context(), out, recv, write)
	if err == nil || r.Context().Err() != nil {
		return
	}
	h.log.Info("stream of a cell ended early", "error", err)
	st, isStatus := status.FromError(err)
	if !isStatus {
		return // the client does not read
	}
	// compat: the words of the reference; detail says more.
	data, err := json.Marshal(map[string]string{"type": "error", "error": "Execution failed", "detail": st.Message()})
	if err == nil {
		err = out.Event("", data)
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		h.log.Info("stream of a cell ended early", "error", err)
	}
}

// cellFrame is an event as JSON. Its type is started, stdout, stderr, progress,
// display, or, for the last one, cell.
func cellFrame(ev *antonv1.CellEvent) ([]byte, error) {
	var kind string
	var body any
	switch e := ev.Event.(type) {
	case *antonv1.CellEvent_Started:
		kind, body = "started", e.Started
	case *antonv1.CellEvent_Stdout:
		kind, body = "stdout", map[string]string{"text": e.Stdout}
	case *antonv1.CellEvent_Stderr:
		kind, body = "stderr", map[string]string{"text": e.Stderr}
	case *antonv1.CellEvent_Progress:
		kind, body = "progress", e.Progress
	case *antonv1.CellEvent_Display:
		kind, body = "display", e.Display
	case *antonv1.CellEvent_Cell:
		kind, body = "cell", &antonv1.ExecuteCellResponse{Cell: e.Cell}
	}
	data, err := marshaler.Marshal(body)
	if err != nil {
		return nil, err
	}
	head := `{"type":"` + kind + `","sequence":` + strconv.Itoa(int(ev.Sequence)) + ","
	return append([]byte(head), data[1:]...), nil
}

// viewScratchpad serves GET /v1/scratchpad/view: the page itself, or the page in JSON.
func (h *Handler) viewScratchpad(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	query := r.URL.Query()
	v, err := h.pads.GetScratchpadView(outgoing(r), &antonv1.GetScratchpadViewRequest{Name: query.Get("name"),
		Project: query.Get("project"), Conversation: query.Get("conversation")})
	switch {
	case err != nil:
		problemOf(r, err).write(w, r)
	case prefersJSON(r, "text/html"):
		h.writeMessage(w, v)
	default:
		w.Header().Set("Content-Security-Policy", v.ContentSecurityPolicy)
		writeDocument(w, "text/html; charset=utf-8", v.View)
	}
}

const ipynbType = "application/x-ipynb+json"

// notebookOfScratchpad serves GET /v1/scratchpad/notebook: Markdown, with
// format=ipynb (or by Accept) Jupyter's format; or either of them in JSON.
func (h *Handler) notebookOfScratchpad(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	query := r.URL.Query()
	q := &antonv1.GetScratchpadNotebookRequest{Name: query.Get("name"), Project: query.Get("project"),
		Conversation: query.Get("conversation"), Format: query.Get("format")}
	if accepted(r, ipynbType) == 2 && q.Format == "" {
		q.Format = "ipynb"
	}
	book, err := h.pads.GetScratchpadNotebook(outgoing(r), q)
	switch {
	case err != nil:
		problemOf(r, err).write(w, r)
	case q.Format == "ipynb":
		// The document is JSON by itself: who asks for it by name wants no other around it.
		w.Header().Set("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape(q.Name)+".ipynb")
		writeDocument(w, ipynbType, book.Notebook)
	case prefersJSON(r, "text/markdown"):
		h.writeMessage(w, book)
	default:
		writeDocument(w, "text/markdown; charset=utf-8", book.Notebook)
	}
}

// writeMessage answers with a message as the generated routes do.
func (h *Handler) writeMessage(w http.ResponseWriter, m proto.Message) {
	data, err := marshaler.Marshal(m)
	if err != nil {
		h.log.Error("encode an answer", "error", err)
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, json.RawMessage(data))
}

// writeDocument answers with a text of that type.
func writeDocument(w http.ResponseWriter, typ, text string) {
	hd := w.Header()
	hd.Set("Content-Type", typ)
	hd.Set("Cache-Control", "no-store")
	hd.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(http.StatusOK)
	if _, err := w.Write([]byte(text)); err != nil {
		return // a client that hung up is nobody's error
	}
}

// prefersJSON says whether Accept names application/json rather than typ.
func prefersJSON(r *http.Request, typ string) bool {
	return accepted(r, "application/json") > accepted(r, typ)
}

// accepted says how much Accept wants a type: up to 2 by name, up to 1 by a
// pattern or when nothing is said, 0 not at all.
func accepted(r *http.Request, typ string) (best float64) {
	lists := r.Header.Values("Accept")
	if len(lists) == 0 {
		return 1
	}
	main, _, _ := strings.Cut(typ, "/")
	for part := range strings.SplitSeq(strings.Join(lists, ","), ",") {
		name, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q, err := strconv.ParseFloat(params["q"], 64)
		if err != nil || q > 1 {
			q = 1
		}
		switch name {
		case typ:
			if q > 0 {
				best = max(best, 1+q)
			}
		case main + "/*", "*/*":
			best = max(best, q)
		}
	}
	return best
}
