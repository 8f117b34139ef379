// Command bench measures a built anthill beside its references and prints one
// table.
//
// Every row takes turns between anthill and a reference on the same machine in
// the same run, because machines differ and drift. Servers are processes of
// their own: anthill is the binary given, references are this program run again
// with -peer. Nothing is asserted: a missed target is a verdict in the table,
// and only what could not be measured is an error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	binary   string
	rows     []string
	span     time.Duration // of one measurement
	rounds   int
	chunks   int // per stream of a burst
	messages int // in the home that is started
	fill     time.Duration
	found    int // messages that are searched
	large    int // messages of the room that has grown
}

// bench is one run.
type bench struct {
	options
	dir string    // removed at the end
	log io.Writer // progress, for people

	provider *process // started by the first row that needs them
	anthill  *process
}

// row is a group of measurements that belong together.
type row struct {
	name string
	run  func(*bench, context.Context) ([]result, error)
}

var rows = []row{
	{"get", (*bench).restGet},
	{"post", (*bench).restPost},
	{"grpc", (*bench).grpcUnary},
	{"message", (*bench).postMessage},
	{"fanout", (*bench).fanOut},
	{"burst", (*bench).burst},
	{"pace", (*bench).pace},
	{"start", (*bench).start},
	{"growth", (*bench).growth},
	{"search", (*bench).search},
	{"terminal-tmux", (*bench).terminalTmux},
	{"terminal-pty", (*bench).terminalPTY},
	{"echo", (*bench).echo},
}

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	o, peer, err := parse(args)
	if err != nil {
		return err
	}
	if peer != "" {
		return runPeer(peer, os.Stdin, os.Stdout)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return measure(ctx, o, os.Stdout, os.Stderr)
}

// parse reads the flags. peer is set in a process that serves as a reference.
func parse(args []string) (o options, peer string, err error) {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.binary, "anthill", "../bin/anthill", "the `binary` to measure")
	list := flags.String("rows", strings.Join(names, ","), "which `rows` to measure")
	seconds := flags.Float64("seconds", 2, "length of one measurement")
	flags.IntVar(&o.rounds, "rounds", 5, "measurements of each side of a row")
	flags.IntVar(&o.chunks, "chunks", 200_000, "chunks per stream of the burst row")
	flags.IntVar(&o.messages, "messages", 100_000, "messages in the home of the start row")
	flags.DurationVar(&o.fill, "fill", 4*time.Minute, "longest time to fill that home")
	flags.IntVar(&o.found, "searched", 200_000, "messages of the search row")
	flags.IntVar(&o.large, "large", 1_000_000, "messages of the large room of the growth row")
	flags.StringVar(&peer, "peer", "", "serve as this reference (for the program itself)")
	if err := flags.Parse(args); err != nil || peer != "" {
		return o, peer, err
	}
	o.rows = strings.Split(*list, ",")
	for _, name := range o.rows {
		if !slices.Contains(names, name) {
			return o, "", fmt.Errorf("no row %q: there are %s", name, strings.Join(names, ", "))
		}
	}
	o.span = time.Duration(*seconds * float64(time.Second))
	if o.span <= 0 || o.rounds < 1 || o.chunks < 1 || o.messages < 2 || o.found < 1 || o.large < 2 {
		return o, "", errors.New("-seconds, -rounds, -chunks, -messages, -searched and -large must be positive")
	}
	o.binary, err = filepath.Abs(o.binary)
	return o, "", err
}

// measure runs the chosen rows and prints the table, also of a run that fails
// half-way.
func measure(ctx context.Context, o options, out, log io.Writer) (err error) {
	if _, err := os.Stat(o.binary); err != nil {
		return fmt.Errorf("no binary to measure (make build makes one): %w", err)
	}
	b := &bench{options: o, log: log}
	if b.dir, err = os.MkdirTemp("", "anthill-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	noteLoad(log)
	var results []result
	for _, r := range rows {
		if !slices.Contains(o.rows, r.name) {
			continue
		}
		fmt.Fprintf(log, "measuring %s\n", r.name)
		got, err := r.run(b, ctx)
		if err != nil {
			return errors.Join(fmt.Errorf("row %s: %w", r.name, err), printTable(out, results))
		}
		results = append(results, got...)
	}
	return printTable(out, results)
}

// close ends what the rows share.
func (b *bench) close() error {
	return errors.Join(b.anthill.stop(), b.provider.stop(), os.RemoveAll(b.dir))
}

// noteLoad warns of company: on a busy machine even ratios are off.
func noteLoad(log io.Writer) {
	var load float64
	f, err := os.Open("/proc/loadavg")
	if err != nil {
		return // not Linux: nothing to say
	}
	defer f.Close()
	if _, err := fmt.Fscan(f, &load); err == nil && load > 0.5 {
		fmt.Fprintf(log, "the machine is not quiet (load %.2f): take the figures with care\n", load)
	}
}
