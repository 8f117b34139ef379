package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// connections call at once in the rows of unary REST calls.
const connections = 32

// conversationID is that of the one conversation that unary rows read.
const conversationID = "bench"

const (
	targetGet  = 0.55
	targetPost = 0.60
)

// restGet reads one conversation.
func (b *bench) restGet(ctx context.Context) ([]result, error) {
	return b.rest(ctx, "REST GET /v1/conversations/{id}, 32 connections", targetGet,
		http.MethodGet, "/v1/conversations/"+conversationID, "")
}

// restPost cancels nothing: a call with a body that writes nothing.
func (b *bench) restPost(ctx context.Context) ([]result, error) {
	return b.rest(ctx, "REST POST /v1/responses/cancel, 32 connections", targetPost,
		http.MethodPost, "/v1/responses/cancel", `{"conversation_id":"idle"}`)
}

// rest compares one request on anthill and on a plain server, which must give
// the same answer.
func (b *bench) rest(ctx context.Context, path string, target float64, method, route, body string) (_ []result, err error) {
	anthill, _, err := b.servers(ctx)
	if err != nil {
		return nil, err
	}
	seed, err := b.conversation(ctx)
	if err != nil {
		return nil, err
	}
	plain, err := peer(ctx, "rest", seed)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plain.stop()) }()
	var sides [2]side
	var answers [2][]byte
	for i, p := range []*process{anthill, plain} {
		q := request(method, p.addr, route, body)
		if answers[i], err = once(p.addr, q); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		callers, hangUp, err := wires(p.addr, q, connections)
		if err != nil {
			return nil, err
		}
		defer hangUp()
		sides[i] = func(context.Context) (float64, error) { return rate(callers, b.span) }
	}
	if !bytes.Equal(answers[0], answers[1]) {
		return nil, fmt.Errorf("the reference does not answer the same: %s and %s", answers[0], answers[1])
	}
	p, err := b.alternate(ctx, sides[0], sides[1])
	return []result{atLeast(path, "/s", p, target)}, err
}

// wires dials the connections of one side.
func wires(addr string, request []byte, n int) (callers []func() error, hangUp func(), err error) {
	var open []*wire
	hangUp = func() {
		for _, w := range open {
			w.conn.Close() // nothing is under way on it
		}
	}
	for range n {
		w, err := dial(addr)
		if err != nil {
			hangUp()
			return nil, nil, err
		}
		open = append(open, w)
		callers = append(callers, func() error { return w.call(request) })
	}
	return callers, hangUp, nil
}

// conversation returns the JSON of the conversation that unary rows read,
// which the first of them makes.
func (b *bench) conversation(ctx context.Context) ([]byte, error) {
	anthill, _, err := b.servers(ctx)
	if err != nil {
		return nil, err
	}
	get := request(http.MethodGet, anthill.addr, "/v1/conversations/"+conversationID, "")
	if found, err := once(anthill.addr, get); err == nil {
		return found, nil
	}
	turn := request(http.MethodPost, anthill.addr, "/v1/responses", fmt.Sprintf(
		`{"stream":false,"model":"short","conversation":%q,"input":"Compare the two quotes and draft a reply to the supplier."}`,
		conversationID))
	if _, err := once(anthill.addr, turn); err != nil {
		return nil, fmt.Errorf("make a conversation: %w", err)
	}
	return once(anthill.addr, get)
}

// The wire of the reference, key by key in anthill's order.
type (
	wireConversation struct {
		ID                  string            `json:"id"`
		Object              string            `json:"object"`
		Title               string            `json:"title"`
		Turns               int32             `json:"turns"`
		Preview             string            `json:"preview"`
		CreatedAt           string            `json:"created_at"`
		UpdatedAt           string            `json:"updated_at"`
		Project             string            `json:"project"`
		ProjectPath         string            `json:"project_path"`
		DisabledConnections []wireConnection  `json:"disabled_connections"`
		Running             bool              `json:"running"`
		Metadata            map[string]string `json:"metadata"`
	}
	wireConnection struct {
		Engine string `json:"engine"`
		Name   string `json:"name"`
	}
	wireCancel struct {
		ConversationID string `json:"conversation_id"`
	}
	wireCancelled struct {
		Cancelled      bool   `json:"cancelled"`
		ConversationID string `json:"conversation_id"`
	}
)

// restPeer is what a plain Go server does for the same answers.
func restPeer(seed []byte) (func(net.Listener) error, error) {
	var c wireConversation
	if err := json.Unmarshal(seed, &c); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	stored := map[string]wireConversation{c.ID: c}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/conversations/{id}", func(w http.ResponseWriter, r *http.Request) {
		c, ok := stored[r.PathValue("id")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		reply(w, c)
	})
	mux.HandleFunc("POST /v1/responses/cancel", func(w http.ResponseWriter, r *http.Request) {
		var q wireCancel
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, wireCancelled{ConversationID: q.ConversationID})
	})
	return (&http.Server{Handler: mux}).Serve, nil
}

func reply(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b) // a client that is gone needs no answer
}
