package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services"
)

func newBackup(v *viper.Viper) *cobra.Command {
	var server string
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write everything the server keeps into one file",
		Long: `Write conversations, rooms, projects and their files into one file (a gzip-compressed
tar), as of one moment, while the server goes on. FILE appears when it is whole;
"-" is standard output. Without a running server the data directory is read
directly.

The settings file (~/.anton/.env) with its API keys is not in it: keep that
yourself. Links and devices in project folders are left out, and named.`,
		Example: `  anthill backup anthill.tgz
  anthill backup - | ssh nas 'cat > anthill.tgz'`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(v)
			if err != nil {
				return err
			}
			b := backupJob{cfg: cfg, server: server, log: slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))}
			if args[0] == "-" {
				sum, err := b.write(c.Context(), c.OutOrStdout())
				if err != nil {
					return err
				}
				return describeBackup(c.ErrOrStderr(), "standard output", sum)
			}
			sum, err := writeWhole(args[0], func(w io.Writer) (*antonv1.BackupSummary, error) { return b.write(c.Context(), w) })
			if err != nil {
				return err
			}
			return describeBackup(c.OutOrStdout(), args[0], sum)
		},
	}
	c.Flags().StringVar(&server, "server", "", serverUsage)
	return c
}

type backupJob struct {
	cfg    config
	server string
	log    *slog.Logger
}

// write backs up what the given server has, else the configured home: through
// the server that holds it, or directly.
func (b backupJob) write(ctx context.Context, w io.Writer) (*antonv1.BackupSummary, error) {
	if b.server != "" {
		return b.fetch(ctx, b.server, w)
	}
	holder, err := services.HolderOf(b.cfg.Home)
	if err != nil {
		return nil, err
	}
	if holder != nil {
		server, err := serverOf(b.cfg, holder)
		if err != nil {
			return nil, err
		}
		return b.fetch(ctx, server, w)
	}
	sum, err := services.Backup(ctx, services.Config{Home: b.cfg.Home, ProjectsDir: b.cfg.ProjectsDir, Version: buildVersion(), Log: b.log}, w)
	if errors.Is(err, services.ErrNoData) {
		return nil, fmt.Errorf("%w: start a server with 'anthill serve', or name the directory with --home", err)
	}
	return sum, err
}

// serverOf is the address of the server that holds the home.
func serverOf(cfg config, h *services.Holder) (string, error) {
	if len(h.Addresses) == 0 {
		return "", fmt.Errorf("%s is in use by an anthill that is just starting or restoring: try again in a moment", cfg.Home)
	}
	return reachableURL(h.Addresses[0]), nil
}

func (b backupJob) fetch(ctx context.Context, server string, w io.Writer) (*antonv1.BackupSummary, error) {
	conn, err := connect(b.cfg, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	stream, err := antonv1.NewBackupServiceClient(conn).CreateBackup(conn.with(ctx), &antonv1.CreateBackupRequest{})
	if err != nil {
		return nil, conn.explain(err)
	}
	for {
		m, err := stream.Recv()
		switch {
		case ctx.Err() != nil:
			return nil, errors.New("interrupted")
		case errors.Is(err, io.EOF):
			return nil, errors.New("the backup ended early")
		case err != nil:
			return nil, conn.explain(err)
		case m.GetSummary() != nil:
			return m.GetSummary(), nil
		}
		if _, err := w.Write(m.GetData()); err != nil {
			return nil, err
		}
	}
}

// writeWhole writes a file that appears, or replaces another, only when it is
// whole and on disk.
func writeWhole[T any](path string, write func(io.Writer) (T, error)) (out T, err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".part-*") // mode 0600
	if err != nil {
		return out, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	out, err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return out, err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return out, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return out, nil // it is there; only a power cut could still take it
	}
	return out, errors.Join(d.Sync(), d.Close())
}

func describeBackup(w io.Writer, name string, s *antonv1.BackupSummary) error {
	_, err := fmt.Fprintf(w, "%s holds everything up to %s: %s, project files: %d.\nThe settings file with API keys is not in it.\n",
		name, s.CreatedAt, sizeText(s.Bytes), s.Files)
	if err != nil || s.SkippedCount == 0 {
		return err
	}
	_, err = fmt.Fprintf(w, "Left out, because they are links, devices or unreadable (%d):\n", s.SkippedCount)
	for i, name := range s.Skipped {
		if i == 20 {
			name = "…"
		}
		if i > 20 || err != nil {
			break
		}
		_, err = fmt.Fprintf(w, "  %s\n", printable(name))
	}
	return err
}

// sizeText is a size for people.
func sizeText(bytes float64) string {
	for _, unit := range []string{"bytes", "KiB", "MiB", "GiB"} {
		if bytes < 1024 {
			if unit == "bytes" {
				return fmt.Sprintf("%.0f %s", bytes, unit)
			}
			return fmt.Sprintf("%.1f %s", bytes, unit)
		}
		bytes /= 1024
	}
	return fmt.Sprintf("%.1f TiB", bytes)
}
