package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"google.golang.org/protobuf/encoding/protojson"

	antv1 "anthill/gen/ant/v1"
)

type roomsFlags struct {
	server    string
	all, json bool
	typ, root string
}

func newRooms(v *viper.Viper) *cobra.Command {
	var f roomsFlags
	c := &cobra.Command{
		Use:   "rooms",
		Short: "List rooms, or make one",
		Long: `List the sessions of the running server: chats, terminals and agents. Each is a
room to post to and to follow.`,
		Example: `  anthill rooms
  anthill rooms --all --json | jq .name
  anthill rooms new planning`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(v, func(conn *client) error { return listRooms(c.Context(), conn, f, c.OutOrStdout()) })
		},
	}
	c.PersistentFlags().StringVar(&f.server, "server", "", serverUsage)
	c.PersistentFlags().BoolVar(&f.json, "json", false, "print every room as one line of JSON")
	c.Flags().BoolVarP(&f.all, "all", "a", false, "also those that are archived or deleted and can be restored")
	completeFlags(c, map[string]cobra.CompletionFunc{"server": cobra.NoFileCompletions})
	c.AddCommand(newRoomsNew(v, &f))
	return c
}

func newRoomsNew(v *viper.Viper, f *roomsFlags) *cobra.Command {
	c := &cobra.Command{
		Use:               "new NAME",
		Short:             "Make a room and print its id",
		Example:           "  anthill rooms new build --type terminal",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(v, func(conn *client) error {
				made, err := antv1.NewSessionsServiceClient(conn).CreateSession(conn.with(c.Context()),
					&antv1.CreateSessionRequest{Name: args[0], Type: f.typ, RootDir: f.root})
				switch {
				case err != nil:
					return conn.explain(err)
				case f.json:
					return printRow(c.OutOrStdout(), made)
				}
				_, err = fmt.Fprintln(c.OutOrStdout(), made.Id)
				return err
			})
		},
	}
	c.Flags().StringVarP(&f.typ, "type", "t", "chat", "chat, terminal or agent")
	c.Flags().StringVar(&f.root, "root-dir", "", "`DIR` that a terminal works in")
	completeFlags(c, map[string]cobra.CompletionFunc{
		"type": cobra.FixedCompletions([]cobra.Completion{"chat", "terminal", "agent"}, cobra.ShellCompDirectiveNoFileComp)})
	return c
}

// with connects for as long as do runs.
func (f *roomsFlags) with(v *viper.Viper, do func(*client) error) error {
	cfg, err := load(v)
	if err != nil {
		return err
	}
	conn, err := connect(cfg, f.server)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	return do(conn)
}

func listRooms(ctx context.Context, conn *client, f roomsFlags, out io.Writer) error {
	list, err := antv1.NewSessionsServiceClient(conn).ListSessions(conn.with(ctx), &antv1.ListSessionsRequest{})
	if err != nil {
		return conn.explain(err)
	}
	rooms := list.Sessions
	if f.all {
		rooms = append(rooms, list.Recoverable...)
	}
	if f.json {
		for _, s := range rooms {
			if err := printRow(out, s); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(rooms) > 0 {
		fmt.Fprintln(w, "ID\tNAME\tTYPE\tHANDLE\tCHANGED (UTC)\tSTATE")
	}
	for _, s := range rooms {
		fields := []string{s.Id, s.Name, s.Type, s.GetHandle(), s.UpdatedAt, stateOf(s)}
		fmt.Fprintln(w, printable(strings.Join(fields, "\t")))
	}
	return w.Flush() // what failed before fails here
}

// stateOf is a room's state in one word.
func stateOf(s *antv1.Session) string {
	switch {
	case s.DeletedAt != nil:
		return "deleted"
	case s.Archived != 0:
		return "archived"
	}
	return s.Status
}

// rows are printed as REST answers them.
var rowJSON = protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}

func printRow(out io.Writer, s *antv1.Session) error {
	b, err := rowJSON.Marshal(s)
	if err == nil {
		_, err = fmt.Fprintf(out, "%s\n", b)
	}
	return err
}
