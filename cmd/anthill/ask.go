package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	antonv1 "anthill/gen/anton/v1"
)

const questionMax = 8 << 20

type askFlags struct {
	server, conversation, project, model string
	json                                 bool
}

func newAsk(v *viper.Viper) *cobra.Command {
	var f askFlags
	c := &cobra.Command{
		Use:   "ask QUESTION...",
		Short: "Ask the agent and stream its answer",
		Long: `Ask the running server and stream the answer to the terminal. What the agent
does meanwhile goes to standard error, so that a pipe gets the answer alone.
A question of "-" is read from standard input. Ctrl-C stops the turn.`,
		Example: `  anthill ask "Summarise notes.md"
  anthill ask --conversation trip "And what did I forget?"
  anthill ask --json "List the files" | jq .`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(v)
			if err != nil {
				return err
			}
			question := strings.Join(args, " ")
			if question == "-" {
				b, err := io.ReadAll(io.LimitReader(c.InOrStdin(), questionMax+1))
				if err != nil {
					return fmt.Errorf("read the question: %w", err)
				}
				question = string(b)
			}
			return ask(c.Context(), cfg, f, question, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&f.server, "server", "", "`HOST:PORT` of the server (default the configured one)")
	c.Flags().StringVarP(&f.conversation, "conversation", "c", "", "go on in this conversation, or begin it under this id")
	c.Flags().StringVarP(&f.project, "project", "p", "", "project of a new conversation (default the active one)")
	c.Flags().StringVarP(&f.model, "model", "m", "", "model instead of the configured one")
	c.Flags().BoolVar(&f.json, "json", false, "print every event as one line of JSON")
	return c
}

func ask(ctx context.Context, cfg config, f askFlags, question string, out, progress io.Writer) error {
	addr := f.server
	if addr == "" {
		addr = reachable(cfg.Listen[0])
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return fmt.Errorf("server address: %w", err)
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	call := context.WithoutCancel(ctx)
	if cfg.APIKey != "" {
		call = metadata.AppendToOutgoingContext(call, "x-api-key", cfg.APIKey)
	}
	client := antonv1.NewResponsesServiceClient(conn)
	stream, err := client.CreateResponse(call, &antonv1.CreateResponseRequest{
		Model: f.model, Conversation: f.conversation, Project: f.project,
		Input: []*antonv1.InputItem{{Role: "user", Text: question}}})
	if err != nil {
		return explain(err, addr)
	}
	p := &printer{out: out, progress: progress, json: f.json}
	// Ctrl-C stops the turn, not only this program; its last event still comes.
	unhook := context.AfterFunc(ctx, func() {
		stop, done := context.WithTimeout(call, 5*time.Second)
		defer done()
		if _, err := client.CancelResponse(stop, &antonv1.CancelResponseRequest{ConversationId: p.conversation.Load()}); err != nil {
			os.Exit(130)
		}
	})
	defer unhook()
	for {
		ev, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return p.end()
		}
		if err != nil {
			return explain(err, addr)
		}
		if err := p.print(ev); err != nil {
			return err
		}
	}
}

// reachable turns a listen address into one to dial.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// explain says what to do about a failed call.
func explain(err error, addr string) error {
	st := status.Convert(err)
	switch st.Code() {
	case codes.Unavailable:
		if strings.Contains(st.Message(), "connection") {
			return fmt.Errorf("no server answers at %s: start one with 'anthill serve'", addr)
		}
	case codes.Unauthenticated:
		return errors.New("the server wants a key: set ANT_API_KEY")
	}
	return errors.New(st.Message())
}

// line is the JSON of one event.
var line = protojson.MarshalOptions{UseProtoNames: true}
