package ant

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"anthill/gateway/edge"
	"anthill/gateway/sse"
	antv1 "anthill/gen/ant/v1"
)

// serveEvents is GET /api/events?since=&epoch=&session=: the events of /ws as
// server-sent events without names. The id of each is its seq, so that a browser
// resumes by itself (Last-Event-ID, which wins over since).
func (h *Handler) serveEvents(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	q, bad := subscription(r)
	if bad != "" {
		h.refuse(w, r, problem{status: http.StatusBadRequest, message: bad})
		return
	}
	stream, err := h.sockets.events.Subscribe(edge.Outgoing(r), q)
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	first, err := stream.Recv()
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	out := sse.New(w, r, sse.Options{})
	if err := out.ID(first.Seq); err != nil {
		return // the client has gone
	}
	err = sse.Pump(r.Context(), out, stream.Recv, func(e *antv1.Event) error {
		payload := Render(e)
		if payload == nil {
			return nil
		}
		if e.Seq != 0 {
			return out.EventAt(e.Seq, payload)
		}
		return out.Event("", payload)
	})
	if status.Code(err) == codes.Unauthenticated { // a guest's right to listen has ended
		err = errors.Join(out.Event("closed", encode(object{"reason": endOf(err)})), out.Flush())
	}
	if err != nil {
		h.log.Debug("stream of events", "request", edge.RequestID(r.Context()), "error", err)
	}
}

// endOf says why a caller may no longer listen: revoked or expired.
func endOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && strings.HasSuffix(info.Reason, "_EXPIRED") {
			return "expired"
		}
	}
	return "revoked"
}

// subscription reads the query; bad says what is wrong with it. Without a session
// it is about all of them.
func subscription(r *http.Request) (q *antv1.SubscribeRequest, bad string) {
	query := r.URL.Query()
	q = &antv1.SubscribeRequest{}
	for _, list := range query["session"] {
		for id := range strings.SplitSeq(list, ",") {
			switch id = strings.TrimSpace(id); id {
			case "":
			case sessionsChannel:
				q.Sessions = true
			default:
				q.SessionIds = append(q.SessionIds, id)
			}
		}
	}
	if len(q.SessionIds) == 0 && !q.Sessions {
		q.All, q.Sessions = true, true
	}
	since, name := query.Get("since"), "since"
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		since, name = last, "Last-Event-ID"
	}
	if since != "" {
		n, err := strconv.ParseUint(since, 10, 64)
		if err != nil {
			return nil, name + " must be the seq of an event"
		}
		q.Since = &n
	}
	if epoch := query.Get("epoch"); epoch != "" {
		n, err := strconv.ParseUint(epoch, 10, 32)
		if err != nil {
			return nil, "epoch must be that of an event"
		}
		q.Epoch = uint32(n)
	}
	return q, ""
}
