package anton

import (
	"encoding/json"
	"net/http"

	"google.golang.org/protobuf/proto"

	"anthill/gateway/rest"
	antonv1 "anthill/gen/anton/v1"
)

// either is a member under the client's name or the page's.
func (d *reader) either(camel, snake string) string {
	if d.has(camel) {
		return d.str(camel)
	}
	return d.str(snake)
}

// writeMemory serves POST /v1/memory in both dialects (anton.md 7): a whole file
// by its relativePath, or an entry.
func (h *Handler) writeMemory(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	body, bad := readBody(r)
	if bad != nil {
		h.refuse(w, r, *bad)
		return
	}
	d, wrong := openBody(body)
	if len(wrong) > 0 {
		h.refuse(w, r, invalid(wrong...))
		return
	}
	if d.has("relativePath") || d.has("relative_path") {
		q := &antonv1.WriteMemoryFileRequest{RelativePath: d.either("relativePath", "relative_path"), Scope: d.str("scope"),
			Project: d.str("project"), ProjectPath: d.either("projectPath", "project_path")}
		if d.has("content") {
			q.Content = new(d.str("content"))
		}
		answer(h, w, r, d, func() (proto.Message, error) { return h.memory.WriteMemoryFile(outgoing(r), q) })
		return
	}
	q := &antonv1.PutMemoryEntryRequest{Id: d.str("id"), Name: d.str("name"), Description: d.str("description"), Type: d.str("type"),
		Content: d.str("content"), Project: d.str("project"), ProjectPath: d.either("projectPath", "project_path"), Scope: d.str("scope")}
	answer(h, w, r, d, func() (proto.Message, error) { return h.memory.PutMemoryEntry(outgoing(r), q) })
}

// deleteMemory serves DELETE /v1/memory: what is meant stands in the query or in
// a JSON body, which counts more.
func (h *Handler) deleteMemory(w http.ResponseWriter, r *http.Request, _ map[string]string) {
	d := &reader{}
	if r.ContentLength != 0 {
		body, bad := readBody(r)
		if bad != nil {
			h.refuse(w, r, *bad)
			return
		}
		var wrong []rest.FieldError
		if len(body) > 0 {
			if d, wrong = openBody(body); len(wrong) > 0 {
				h.refuse(w, r, invalid(wrong...))
				return
			}
		}
	}
	query := r.URL.Query()
	said := func(camel, snake string) string {
		if d.has(camel) || d.has(snake) {
			return d.either(camel, snake)
		}
		if query.Has(camel) {
			return query.Get(camel)
		}
		return query.Get(snake)
	}
	q := &antonv1.DeleteMemoryRequest{Id: said("id", "id"), Name: said("name", "name"), RelativePath: said("relativePath", "relative_path"),
		Scope: said("scope", "scope"), Project: said("project", "project"), ProjectPath: said("projectPath", "project_path")}
	answer(h, w, r, d, func() (proto.Message, error) { return h.memory.DeleteMemory(outgoing(r), q) })
}

// answer makes a call unless the body was wrong, and writes what comes of it.
func answer(h *Handler, w http.ResponseWriter, r *http.Request, d *reader, call func() (proto.Message, error)) {
	if len(d.bad) > 0 {
		h.refuse(w, r, invalid(d.bad...))
		return
	}
	m, err := call()
	if err != nil {
		problemOf(r, err).write(w, r)
		return
	}
	h.show(w, m)
}

// show writes a message in the names of its file.
func (h *Handler) show(w http.ResponseWriter, m proto.Message) {
	b, err := rest.Encode(m, namesOf(m))
	if err != nil { // text that is not UTF-8 came out of a service
		h.log.Error("an answer cannot be written", "error", err)
		writeJSON(w, http.StatusInternalServerError, errorBody{Detail: "Internal Server Error"})
		return
	}
	writeJSON(w, http.StatusOK, json.RawMessage(b))
}
