package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"google.golang.org/protobuf/encoding/protojson"

	antonv1 "anthill/gen/anton/v1"
)

const questionMax = 8 << 20

type askFlags struct {
	server, conversation, project, model string
	files                                []string
	json                                 bool
}

func newAsk(v *viper.Viper) *cobra.Command {
	var f askFlags
	c := &cobra.Command{
		Use:   "ask QUESTION...",
		Short: "Ask the agent and stream its answer",
		Long: `Ask the running server and stream the answer to the terminal. What the agent
does meanwhile goes to standard error, so that a pipe gets the answer alone.
A question of "-" is read from standard input. Ctrl-C stops the turn.

Files that come with the question are uploaded first, and read by the server
before it answers.`,
		Example: `  anthill ask "Summarise notes.md"
  anthill ask --file data.csv "profile this"
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
	c.Flags().StringVar(&f.server, "server", "", serverUsage)
	c.Flags().StringVarP(&f.conversation, "conversation", "c", "", "go on in this conversation, or begin it under this id")
	c.Flags().StringVarP(&f.project, "project", "p", "", "project of a new conversation (default the active one)")
	c.Flags().StringVarP(&f.model, "model", "m", "", "model instead of the configured one")
	c.Flags().StringArrayVarP(&f.files, "file", "f", nil, "attach the file at `PATH`; repeatable")
	c.Flags().BoolVar(&f.json, "json", false, "print every event as one line of JSON")
	c.ValidArgsFunction = cobra.NoFileCompletions
	completeFlags(c, map[string]cobra.CompletionFunc{
		"conversation": complete(v, &f.server, conversationNames),
		"project":      complete(v, &f.server, projectNames),
		"model":        complete(v, &f.server, modelNames),
		"server":       cobra.NoFileCompletions,
	})
	return c
}

func ask(ctx context.Context, cfg config, f askFlags, question string, out, progress io.Writer) error {
	conn, err := connect(cfg, f.server)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	up := &uploader{conn: conn, progress: progress}
	if err := up.attach(ctx, f); err != nil {
		return err
	}
	err = converse(ctx, conn, f, question, up.ids, &printer{out: out, progress: progress, json: f.json})
	if _, refused := errors.AsType[errRefused](err); refused {
		up.takeBack(ctx)
	}
	return err
}

// errRefused says that the server began no turn.
type errRefused struct{ error }

// converse asks and prints what comes. An errRefused began no turn.
func converse(ctx context.Context, conn *client, f askFlags, question string, attached []string, p *printer) error {
	call := conn.with(context.WithoutCancel(ctx))
	client := antonv1.NewResponsesServiceClient(conn)
	stream, err := client.CreateResponse(call, &antonv1.CreateResponseRequest{
		Model: f.model, Conversation: f.conversation, Project: f.project, AttachmentIds: attached,
		Input: []*antonv1.InputItem{{Role: "user", Text: question}}})
	if err != nil {
		return errRefused{conn.explain(err)}
	}
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
		if err != nil && p.last == nil {
			return errRefused{conn.explain(err)}
		}
		if err != nil {
			return conn.explain(err)
		}
		if err := p.print(ev); err != nil {
			return err
		}
	}
}

// line is the JSON of one event.
var line = protojson.MarshalOptions{UseProtoNames: true}
