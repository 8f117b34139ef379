package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services"
)

const (
	grpcCallers = 32
	grpcConns   = 4
	targetGRPC  = 0.95
)

// grpcUnary reads one conversation over the port that anthill shares between
// protocols, and from the same services on a plain grpc.Server with its own.
func (b *bench) grpcUnary(ctx context.Context) (_ []result, err error) {
	anthill, _, err := b.servers(ctx)
	if err != nil {
		return nil, err
	}
	plain, err := peer(ctx, "grpc", []byte(filepath.Join(b.dir, "plain")))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plain.stop()) }()
	var sides [2]side
	var answers [2]*antonv1.Conversation
	for i, p := range []*process{anthill, plain} {
		clients, hangUp, err := grpcClients(p.addr)
		if err != nil {
			return nil, err
		}
		defer hangUp()
		if err := seedConversation(ctx, p.addr); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		q := &antonv1.GetConversationRequest{Id: conversationID}
		if answers[i], err = clients[0].GetConversation(ctx, q); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		var callers []func() error
		for n := range grpcCallers {
			callers = append(callers, func() error {
				_, err := clients[n%grpcConns].GetConversation(ctx, q)
				return err
			})
		}
		sides[i] = func(context.Context) (float64, error) { return rate(callers, b.span) }
	}
	if answers[0].Title != answers[1].Title || answers[0].Turns != answers[1].Turns {
		return nil, fmt.Errorf("the reference does not answer the same: %v and %v", answers[0], answers[1])
	}
	p, err := b.alternate(ctx, sides[0], sides[1])
	return []result{atLeast("gRPC GetConversation on the shared port, 32 callers", "/s", p, targetGRPC)}, err
}

func grpcClients(addr string) (clients []antonv1.ConversationsServiceClient, hangUp func(), err error) {
	var open []*grpc.ClientConn
	hangUp = func() {
		for _, c := range open {
			c.Close() // nothing is under way on it
		}
	}
	for range grpcConns {
		c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			hangUp()
			return nil, nil, err
		}
		open = append(open, c)
		clients = append(clients, antonv1.NewConversationsServiceClient(c))
	}
	return clients, hangUp, nil
}

// streamWorkers are as many as anthill has.
const streamWorkers = 32

// grpcPeer is the same services, with the home that seed names, on a plain
// grpc.Server with a listener of its own: what differs is the port and nothing
// else.
func grpcPeer(ctx context.Context, seed []byte) (func(net.Listener) error, error) {
	home := string(bytes.TrimSpace(seed))
	svc, err := services.Open(ctx, services.Config{Home: home, ProjectsDir: filepath.Join(home, "projects"),
		EnvFile: filepath.Join(home, ".env"), Getenv: func(string) (string, bool) { return "", false },
		Version: "bench", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	debug.SetGCPercent(400) // as anthill does
	s := grpc.NewServer(grpc.ChainUnaryInterceptor(svc.Unary()), grpc.ChainStreamInterceptor(svc.Stream()),
		grpc.NumStreamWorkers(streamWorkers))
	svc.Register(s)
	return s.Serve, nil
}

// seedConversation makes the conversation that is read, if it is not there.
func seedConversation(ctx context.Context, addr string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close() // nothing is under way on it
	q := &antonv1.GetConversationRequest{Id: conversationID}
	if _, err := antonv1.NewConversationsServiceClient(conn).GetConversation(ctx, q); err == nil {
		return nil
	}
	turn, err := antonv1.NewResponsesServiceClient(conn).CreateResponse(ctx, &antonv1.CreateResponseRequest{
		Conversation: conversationID, Model: "short",
		Input: []*antonv1.InputItem{{Role: "user", Text: "Compare the two quotes and draft a reply to the supplier."}}})
	for err == nil {
		_, err = turn.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
