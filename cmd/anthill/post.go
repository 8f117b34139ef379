package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	antv1 "anthill/gen/ant/v1"
)

const messageMax = 1 << 20

type postFlags struct {
	server, as, target, replyTo, key string
	dryRun, json                     bool
}

func newPost(v *viper.Viper) *cobra.Command {
	var f postFlags
	c := &cobra.Command{
		Use:   "post ROOM TEXT...",
		Short: "Post a message to a room",
		Long: `Post a message to a room of the running server and print its id. ROOM is an id,
a @handle or a name. A text of "-" is read from standard input. Whom it wakes,
and what became of that, goes to standard error.`,
		Example: `  anthill post @planning "@codex run the tests"
  anthill post --dry-run @planning "@everyone stop"
  git log -3 | anthill post @planning -`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(v)
			if err != nil {
				return err
			}
			text := strings.Join(args[1:], " ")
			if text == "-" {
				b, err := io.ReadAll(io.LimitReader(c.InOrStdin(), messageMax+1))
				if err != nil {
					return fmt.Errorf("read the text: %w", err)
				}
				text = string(b)
			}
			if len(text) > messageMax {
				return errors.New("the text is too long: a message has 1 MiB at most")
			}
			conn, err := connect(cfg, f.server)
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // nothing is left to lose
			return post(c.Context(), conn, f, args[0], text, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&f.server, "server", "", serverUsage)
	c.Flags().StringVar(&f.as, "as", "", "`HANDLE` of who posts (default @ and the name of the user)")
	c.Flags().StringVar(&f.target, "target", "", "`HANDLE` of the only one whom it is for")
	c.Flags().StringVar(&f.replyTo, "reply-to", "", "`ID` of the message that it answers")
	c.Flags().StringVar(&f.key, "key", "", "idempotency `KEY`: the same message with the same key is posted once (default a new one)")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "only say whom it would wake")
	c.Flags().BoolVar(&f.json, "json", false, "print the answer of the server as one line of JSON")
	c.ValidArgsFunction = firstOnly(complete(v, &f.server, roomNames))
	completeFlags(c, map[string]cobra.CompletionFunc{"server": cobra.NoFileCompletions, "as": cobra.NoFileCompletions,
		"target": cobra.NoFileCompletions, "reply-to": cobra.NoFileCompletions, "key": cobra.NoFileCompletions})
	return c
}

// firstOnly completes the first argument alone.
func firstOnly(f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f(c, args, typed)
	}
}

func post(ctx context.Context, conn *client, f postFlags, ref, text string, out, notes io.Writer) error {
	room, err := findRoom(ctx, conn, ref)
	if err != nil {
		return err
	}
	q := &antv1.PostMessageRequest{SessionId: room.Id, Content: &text, SenderId: orUser(f.as), Target: f.target,
		ReplyTo: f.replyTo, DryRun: f.dryRun, IdempotencyKey: f.key}
	if f.key == "" {
		q.IdempotencyKey = rand.Text()
	}
	messages := antv1.NewMessagesServiceClient(conn)
	v, err := messages.PostMessage(conn.with(ctx), q)
	if status.Code(err) == codes.Unavailable && ctx.Err() == nil {
		// The connection may have broken after the message was taken: the key sees
		// to it that it is posted once.
		v, err = messages.PostMessage(conn.with(ctx), q)
	}
	if err != nil {
		return conn.explain(err)
	}
	if f.json {
		b, err := rowJSON.Marshal(v)
		if err == nil {
			_, err = fmt.Fprintf(out, "%s\n", b)
		}
		return err
	}
	if !v.DryRun {
		if _, err := fmt.Fprintln(out, v.Id); err != nil {
			return err
		}
	}
	return tellDeliveries(notes, v)
}

// tellDeliveries says whom a message wakes, one per line. (The room gets every
// message, which goes without saying.)
func tellDeliveries(w io.Writer, v *antv1.PostMessageResponse) error {
	woken := v.Deliveries[min(1, len(v.Deliveries)):]
	if v.DryRun && len(woken) == 0 {
		_, err := fmt.Fprintln(w, "it would wake nobody")
		return err
	}
	for _, d := range woken {
		who, text := d.GetHandle(), d.State
		if who == "" {
			who = d.TargetId
		}
		if d.Error != nil {
			text += ": " + *d.Error
		}
		if _, err := fmt.Fprintln(w, printable(fmt.Sprintf("  %s %s", who, text))); err != nil {
			return err
		}
	}
	return nil
}

// orUser is a handle, or that of the user who runs the program.
func orUser(handle string) string {
	if handle != "" {
		return handle
	}
	u, err := user.Current()
	if err != nil || u.Username == "" {
		return "@cli"
	}
	name := u.Username[strings.LastIndexByte(u.Username, '\\')+1:] // DOMAIN\name
	return "@" + name
}
