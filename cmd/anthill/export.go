package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	antv1 "anthill/gen/ant/v1"
)

type exportFlags struct {
	server, format, file string
	targets              []string
}

func newExport(v *viper.Viper) *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export ROOM",
		Short: "Write a room into a file",
		Long: `Write a room into a file: as Markdown to read, as JSON with everything, or as a
zip of both with the room's uploads. ROOM is an id, a @handle or a name. The file
appears when it is whole; "-" is standard output. With --target the server writes
it where it is configured to (ANT_OBSIDIAN_VAULT, ANT_OPEN_SLIDE_DIR).`,
		Example: `  anthill export @planning
  anthill export planning --format zip -o planning.zip
  anthill export planning --target obsidian`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(v)
			if err != nil {
				return err
			}
			conn, err := connect(cfg, f.server)
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // nothing is left to lose
			room, err := findRoom(c.Context(), conn, args[0])
			if err != nil {
				return err
			}
			if len(f.targets) > 0 {
				return exportTo(c.Context(), conn, room.Id, f.targets, c.OutOrStdout())
			}
			e := &exportJob{conn: conn, ctx: c.Context(), room: room.Id, format: f.format}
			return e.run(f.file, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&f.server, "server", "", serverUsage)
	c.Flags().StringVar(&f.format, "format", "markdown", "markdown, json or zip")
	c.Flags().StringVarP(&f.file, "output", "o", "", "`FILE` to write; - is standard output (default a name made of the room's)")
	c.Flags().StringSliceVar(&f.targets, "target", nil, "obsidian or open-slide: write it there instead (repeatable)")
	c.ValidArgsFunction = complete(v, &f.server, roomNames)
	completeFlags(c, map[string]cobra.CompletionFunc{"server": cobra.NoFileCompletions,
		"format": cobra.FixedCompletions([]cobra.Completion{"markdown", "json", "zip"}, cobra.ShellCompDirectiveNoFileComp),
		"target": cobra.FixedCompletions([]cobra.Completion{"obsidian", "open-slide"}, cobra.ShellCompDirectiveNoFileComp)})
	return c
}

// exportTo lets the server write; it fails if one of the targets was not written.
func exportTo(ctx context.Context, conn *client, room string, targets []string, out io.Writer) error {
	answer, err := antv1.NewExportsServiceClient(conn).ExportSession(conn.with(ctx), &antv1.ExportSessionRequest{SessionId: room, Targets: targets})
	if err != nil {
		return conn.explain(err)
	}
	var failed []string
	for _, t := range []struct {
		id     string
		result *antv1.ExportResult
	}{{"obsidian", answer.Targets.Obsidian}, {"open-slide", answer.Targets.OpenSlide}} {
		switch {
		case t.result == nil:
		case t.result.Ok:
			if _, err := fmt.Fprintf(out, "%s: %s\n", t.id, printable(t.result.GetPath())); err != nil {
				return err
			}
		default:
			failed = append(failed, t.id+": "+t.result.GetNote())
		}
	}
	if len(failed) > 0 {
		return errors.New(strings.Join(failed, "\n"))
	}
	return nil
}

// exportJob fetches a room.
type exportJob struct {
	conn         *client
	ctx          context.Context
	room, format string
}

func (e *exportJob) run(file string, out io.Writer) error {
	stream, err := antv1.NewExportsServiceClient(e.conn).DownloadExport(e.conn.with(e.ctx), &antv1.DownloadExportRequest{SessionId: e.room, Format: e.format})
	var first *antv1.DownloadExportResponse
	if err == nil {
		first, err = stream.Recv()
	}
	if err != nil {
		return e.conn.explain(err)
	}
	if file == "-" {
		_, err := e.copy(stream, out)
		return err
	}
	if file == "" {
		file = first.GetFile().GetName() // letters, digits, "-", "_" and ".": it leads nowhere
	}
	sum, err := writeWhole(file, func(w io.Writer) (*antv1.ExportSummary, error) { return e.copy(stream, w) })
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %.0f messages, %s\n", printable(file), sum.Messages, sizeText(sum.Bytes))
	return err
}

func (e *exportJob) copy(stream interface {
	Recv() (*antv1.DownloadExportResponse, error)
}, w io.Writer) (*antv1.ExportSummary, error) {
	for {
		m, err := stream.Recv()
		switch {
		case e.ctx.Err() != nil:
			return nil, errors.New("interrupted")
		case errors.Is(err, io.EOF):
			return nil, errors.New("the export ended early: try again")
		case err != nil:
			return nil, e.conn.explain(err)
		case m.GetSummary() != nil:
			return m.GetSummary(), nil
		}
		if _, err := w.Write(m.GetData()); err != nil {
			return nil, err
		}
	}
}
