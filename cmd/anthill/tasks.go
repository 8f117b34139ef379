package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	antv1 "anthill/gen/ant/v1"
)

type tasksFlags struct {
	server, status, as, description string
	all, json, force                bool
	lease                           time.Duration
}

// taskRoom is a room whose tasks a command is about.
type taskRoom struct {
	antv1.TasksServiceClient
	conn *client
	ref  string // as the user named it
	id   string
}

func newTasks(v *viper.Viper) *cobra.Command {
	var f tasksFlags
	c := &cobra.Command{
		Use:   "tasks ROOM",
		Short: "List the tasks of a room, and work on them",
		Long: `List the tasks of a room of the running server, the oldest first. ROOM is an id, a
@handle or a name. A task is named by its id, or by the beginning of it that the
list shows. Claim a task before you work on it: nobody else can while you hold it.`,
		Example: `  anthill tasks planning
  anthill tasks add planning "Book the ferry"
  anthill tasks claim planning 4fZk2b9Q --lease 1h
  anthill tasks done planning 4fZk2b9Q`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.in(c.Context(), v, args[0], func(room *taskRoom) error { return listTasks(c.Context(), room, f, c.OutOrStdout()) })
		},
		ValidArgsFunction: firstOnly(complete(v, &f.server, roomNames)),
	}
	c.PersistentFlags().StringVar(&f.server, "server", "", serverUsage)
	c.PersistentFlags().BoolVar(&f.json, "json", false, "print every task as one line of JSON")
	c.Flags().BoolVarP(&f.all, "all", "a", false, "also those that are deleted")
	c.Flags().StringVar(&f.status, "status", "", "only those with this `STATUS`")
	completeFlags(c, map[string]cobra.CompletionFunc{"server": cobra.NoFileCompletions, "status": cobra.FixedCompletions(
		[]cobra.Completion{"proposed", "accepted", "to-be-assigned", "assigned", "review", "complete", "deleted", "open"}, cobra.ShellCompDirectiveNoFileComp)})
	c.AddCommand(newTasksAdd(v, &f), newTasksClaim(v, &f), newTasksRelease(v, &f), newTasksAssign(v, &f), newTasksDone(v, &f), newTasksDelete(v, &f))
	return c
}

func newTasksAdd(v *viper.Viper, f *tasksFlags) *cobra.Command {
	c := f.command(v, "add ROOM TITLE...", "Make a task and print its id", `  anthill tasks add planning "Book the ferry" --description "For two, on Friday"`,
		cobra.MinimumNArgs(2), func(ctx context.Context, room *taskRoom, args []string, out io.Writer) error {
			made, err := room.CreateTask(ctx, &antv1.CreateTaskRequest{SessionId: room.id, Title: strings.Join(args, " "),
				Description: f.description, CreatedBy: orUser(f.as), CreatedSource: "cli"})
			if err != nil {
				return room.explain(err, "")
			}
			return f.tell(out, made, made.GetTask().GetId())
		})
	c.Flags().StringVar(&f.description, "description", "", "more about it")
	addAs(c, f)
	completeFlags(c, map[string]cobra.CompletionFunc{"description": cobra.NoFileCompletions})
	return c
}

func newTasksClaim(v *viper.Viper, f *tasksFlags) *cobra.Command {
	c := f.command(v, "claim ROOM TASK", "Take a task, so that nobody else works on it, or keep it for longer", "  anthill tasks claim planning 4fZk2b9Q --as @codex --lease 1h",
		cobra.ExactArgs(2), func(ctx context.Context, room *taskRoom, args []string, out io.Writer) error {
			seconds := f.lease / time.Second
			if seconds < 1 || seconds > math.MaxInt32 {
				return errors.New("--lease must be a second at least and a day at most, as 90s, 30m or 2h")
			}
			n := int32(seconds)
			got, err := room.ClaimTask(ctx, &antv1.ClaimTaskRequest{SessionId: room.id, TaskId: args[0], By: orUser(f.as), LeaseSeconds: &n, Force: f.force})
			if err != nil {
				return room.explain(err, args[0])
			}
			return f.tell(out, got, fmt.Sprintf("%s is yours, %s, until %s UTC", shortTask(got.Task), got.Task.GetClaimedBy(), got.Task.GetClaimedUntil()))
		})
	c.Flags().DurationVar(&f.lease, "lease", 30*time.Minute, "how long you hold it unless you claim it again")
	c.Flags().BoolVar(&f.force, "force", false, "take it over from whoever holds it")
	addAs(c, f)
	completeFlags(c, map[string]cobra.CompletionFunc{"lease": cobra.NoFileCompletions})
	return c
}

func newTasksRelease(v *viper.Viper, f *tasksFlags) *cobra.Command {
	c := f.command(v, "release ROOM TASK", "Give a task back", "  anthill tasks release planning 4fZk2b9Q --as @codex",
		cobra.ExactArgs(2), func(ctx context.Context, room *taskRoom, args []string, out io.Writer) error {
			got, err := room.ReleaseTask(ctx, &antv1.ReleaseTaskRequest{SessionId: room.id, TaskId: args[0], By: orUser(f.as), Force: f.force})
			if err != nil {
				return room.explain(err, args[0])
			}
			return f.tell(out, got, shortTask(got.Task)+" is free")
		})
	c.Flags().BoolVar(&f.force, "force", false, "whoever holds it")
	addAs(c, f)
	return c
}

func newTasksAssign(v *viper.Viper, f *tasksFlags) *cobra.Command {
	return f.command(v, "assign ROOM TASK WHO", `Say who is to do a task; "" is nobody`, "  anthill tasks assign planning 4fZk2b9Q @codex",
		cobra.ExactArgs(3), func(ctx context.Context, room *taskRoom, args []string, out io.Writer) error {
			status, who := "assigned", structpb.NewStringValue(args[1])
			if args[1] == "" {
				status, who = "to-be-assigned", structpb.NewNullValue()
			}
			return f.update(ctx, room, &antv1.UpdateTaskRequest{TaskId: args[0], Status: &status, AssignedTo: who}, out)
		})
}

func newTasksDone(v *viper.Viper, f *tasksFlags) *cobra.Command {
	return f.command(v, "done ROOM TASK", "Say that a task is complete", "  anthill tasks done planning 4fZk2b9Q",
		cobra.ExactArgs(2), func(ctx context.Context, room *taskRoom, args []string, out io.Writer) error {
			status := "complete"
			return f.update(ctx, room, &antv1.UpdateTaskRequest{TaskId: args[0], Status: &status}, out)
		})
}

func newTasksDelete(v *viper.Viper, f *tasksFlags) *cobra.Command {
	return f.command(v, "delete ROOM TASK", "Delete a task; assign brings it back", "  anthill tasks delete planning 4fZk2b9Q",
		cobra.ExactArgs(2), func(ctx context.Context, room *taskRoom, args []string, out io.Writer) error {
			status := "deleted"
			return f.update(ctx, room, &antv1.UpdateTaskRequest{TaskId: args[0], Status: &status}, out)
		})
}

// command is one that does something in a room; what follows the room is handed to do.
func (f *tasksFlags) command(v *viper.Viper, use, short, example string, args cobra.PositionalArgs,
	do func(ctx context.Context, room *taskRoom, args []string, out io.Writer) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: example, Args: args,
		ValidArgsFunction: f.completeTask(v),
		RunE: func(c *cobra.Command, args []string) error {
			return f.in(c.Context(), v, args[0], func(room *taskRoom) error {
				return do(room.conn.with(c.Context()), room, args[1:], c.OutOrStdout())
			})
		},
	}
}

func addAs(c *cobra.Command, f *tasksFlags) {
	c.Flags().StringVar(&f.as, "as", "", "`HANDLE` of who does it (default @ and the name of the user)")
	completeFlags(c, map[string]cobra.CompletionFunc{"as": cobra.NoFileCompletions})
}

// in finds a room and connects for as long as do runs.
func (f *tasksFlags) in(ctx context.Context, v *viper.Viper, ref string, do func(*taskRoom) error) error {
	return (&roomsFlags{server: f.server}).with(v, func(conn *client) error {
		s, err := findRoom(ctx, conn, ref)
		if err != nil {
			return err
		}
		return do(&taskRoom{antv1.NewTasksServiceClient(conn), conn, ref, s.Id})
	})
}

func (f *tasksFlags) update(ctx context.Context, room *taskRoom, q *antv1.UpdateTaskRequest, out io.Writer) error {
	q.SessionId = room.id
	got, err := room.UpdateTask(ctx, q)
	if err != nil {
		return room.explain(err, q.TaskId)
	}
	return f.tell(out, got, strings.TrimSpace(shortTask(got.Task)+" is "+got.Task.Status+" "+got.Task.GetAssignedTo()))
}

// tell prints what became of a task.
func (f *tasksFlags) tell(out io.Writer, got *antv1.TaskResponse, text string) error {
	if f.json {
		return printTask(out, got.Task)
	}
	_, err := fmt.Fprintln(out, printable(text))
	return err
}

func printTask(out io.Writer, t *antv1.Task) error {
	b, err := rowJSON.Marshal(t)
	if err == nil {
		_, err = fmt.Fprintf(out, "%s\n", b)
	}
	return err
}

// shortTask is as much of an id as lists show.
func shortTask(t *antv1.Task) string { return t.Id[:min(8, len(t.Id))] }

func listTasks(ctx context.Context, room *taskRoom, f tasksFlags, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	header := "ID\tSTATUS\tTASK\tASSIGNED TO\tHELD BY\tUNTIL (UTC)"
	q := &antv1.ListTasksRequest{SessionId: room.id, Status: f.status}
	if !f.all && f.status == "" {
		q.Deleted = new(false)
	}
	for more := true; more; {
		page, err := room.ListTasks(room.conn.with(ctx), q)
		if err != nil {
			return room.explain(err, "")
		}
		q.Cursor, more = page.Newer, page.HasMore
		for _, t := range page.Tasks {
			if f.json {
				if err := printTask(out, t); err != nil {
					return err
				}
				continue
			}
			if header != "" {
				fmt.Fprintln(w, header)
				header = ""
			}
			fields := []string{shortTask(t), t.Status, briefly(t.Title), briefly(t.GetAssignedTo()), briefly(t.GetClaimedBy()), t.GetClaimedUntil()}
			fmt.Fprintln(w, printable(strings.TrimRight(strings.Join(fields, "\t"), "\t")))
		}
	}
	return w.Flush() // what failed before fails here
}

// explain says what to do about a failed call about a task.
func (r *taskRoom) explain(err error, ref string) error {
	said := r.conn.explain(err)
	for _, d := range status.Convert(err).Details() {
		info, ok := d.(*errdetails.ErrorInfo)
		if !ok {
			continue
		}
		switch info.Reason {
		case "TASK_NOT_FOUND":
			return fmt.Errorf("there is no task %q in %s: 'anthill tasks --all %s' lists those there are", ref, r.ref, r.ref)
		case "TASK_CLAIMED":
			return fmt.Errorf("%w; --force takes it over", said)
		case "TASK_AMBIGUOUS":
			return ambiguousTask(ref, info.Metadata["matches"])
		}
	}
	return said
}

// ambiguousTask names the tasks that an id could mean.
func ambiguousTask(ref, matches string) error {
	var list []struct{ ID, Title, Status string }
	if err := json.Unmarshal([]byte(matches), &list); err != nil {
		return fmt.Errorf("more than one task begins with %q: give more of the id", ref)
	}
	text := fmt.Sprintf("more than one task begins with %q: give more of the id", ref)
	for _, m := range list {
		text += fmt.Sprintf("\n  %s  %s  %s", m.ID, m.Status, briefly(m.Title))
	}
	return errors.New(printable(text))
}

// completeTask completes a room, and then its tasks.
func (f *tasksFlags) completeTask(v *viper.Viper) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0:
			return complete(v, &f.server, roomNames)(c, args, typed)
		case len(args) > 1 || c.Name() == "add":
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(v, &f.server, func(ctx context.Context, conn *client) (out []cobra.Completion, err error) {
			s, err := findRoom(ctx, conn, args[0])
			if err != nil {
				return nil, err
			}
			page, err := antv1.NewTasksServiceClient(conn).ListTasks(ctx, &antv1.ListTasksRequest{SessionId: s.Id, Deleted: new(false)})
			for _, t := range page.GetTasks() {
				out = append(out, describedAs(t.Id, t.Title))
			}
			return out, err
		})(c, args, typed)
	}
}
