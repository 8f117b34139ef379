package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
)

const (
	grpcCallers = 32
	grpcConns   = 4
	targetGRPC  = 0.95
)

// grpcUnary reads one conversation over the port that anthill shares between
// protocols, and over a plain grpc.Server on a port of its own.
func (b *bench) grpcUnary(ctx context.Context) (_ []result, err error) {
	anthill, _, err := b.servers(ctx)
	if err != nil {
		return nil, err
	}
	seed, err := b.conversation(ctx)
	if err != nil {
		return nil, err
	}
	plain, err := peer(ctx, "grpc", seed)
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
	if !proto.Equal(answers[0], answers[1]) {
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

// plainConversations answers every question with the same conversation.
type plainConversations struct {
	antonv1.UnimplementedConversationsServiceServer
	stored *antonv1.Conversation
}

// GetConversation implements antonv1.ConversationsServiceServer.
func (p plainConversations) GetConversation(context.Context, *antonv1.GetConversationRequest) (*antonv1.Conversation, error) {
	return p.stored, nil
}

// grpcPeer is grpc-go as it comes.
func grpcPeer(seed []byte) (func(net.Listener) error, error) {
	p := plainConversations{stored: &antonv1.Conversation{}}
	if err := protojson.Unmarshal(seed, p.stored); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	s := grpc.NewServer()
	antonv1.RegisterConversationsServiceServer(s, p)
	return s.Serve, nil
}
