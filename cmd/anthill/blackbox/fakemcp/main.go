// Command fakemcp is a server of the Model Context Protocol for tests, over
// stdio: it notes what it sees in a file, and misbehaves as it is told.
//
//	fakemcp LOG MODE
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: fakemcp LOG MODE")
		os.Exit(2)
	}
	if err := run(note(os.Args[1]), os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// note appends lines to the log.
func note(path string) func(format string, args ...any) {
	return func(format string, args ...any) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err == nil {
			_, err = fmt.Fprintf(f, format+"\n", args...)
		}
		if err != nil {
			panic(err)
		}
		_ = f.Close()
	}
}

func run(note func(string, ...any), mode string) error {
	note("start %d", os.Getpid())
	switch mode {
	case "hang": // it answers nothing, and does not even end when it is asked to
		signal.Ignore(syscall.SIGTERM)
		select {}
	case "garbage":
		fmt.Println("Welcome to this server! " + strings.Repeat("\x1b[31m}{", 1000))
		select {}
	case "exit":
		fmt.Fprintln(os.Stderr, "no database at", os.Getenv("FAKE_TOKEN"), os.Getenv("HOME"))
		os.Exit(3)
	case "family": // it leaves a child behind
		child := exec.Command("sleep", "600")
		if err := child.Start(); err != nil {
			return err
		}
		note("child %d", child.Process.Pid)
	}
	s := mcp.NewServer(&mcp.Implementation{Name: "fake", Version: "1"}, nil)
	if mode == "many" {
		for i := range 1000 {
			add(s, fmt.Sprintf("tool_%03d", i), func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
				return text(fmt.Sprint("this is ", i)), nil, nil
			})
		}
	} else {
		tools(s, note)
	}
	err := s.Run(context.Background(), &mcp.StdioTransport{})
	note("end %d", os.Getpid())
	return err
}

type in struct {
	Text string `json:"text,omitempty" jsonschema:"what to say"`
}

type out struct {
	Sum  int      `json:"sum"`
	Said []string `json:"said"`
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}

func add(s *mcp.Server, name string, h mcp.ToolHandlerFor[in, any]) {
	mcp.AddTool(s, &mcp.Tool{Name: name, Title: "Fake " + name, Description: "Does " + name + " with " + os.Getenv("FAKE_TOKEN")}, h)
}

// pixel is a PNG of one pixel.
var pixel = []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99=\x1d\x00\x00\x00\x00IEND\xaeB`\x82")

func tools(s *mcp.Server, note func(string, ...any)) {
	add(s, "echo", func(_ context.Context, _ *mcp.CallToolRequest, q in) (*mcp.CallToolResult, any, error) {
		return text("you said " + q.Text), nil, nil
	})
	add(s, "recall_environ", func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
		dir, err := os.Getwd()
		return text(strings.Join(os.Environ(), "\n") + "\ncwd=" + dir + "\nargs=" + strings.Join(os.Args[1:], "|")), nil, err
	})
	add(s, "fail", func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
		r := text("it did not work")
		r.IsError = true
		return r, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "add.up!", Description: "A name that models cannot have"}, func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, out, error) {
		return nil, out{Sum: 42, Said: []string{"a", "b"}}, nil
	})
	add(s, "picture", func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "look:"}, &mcp.ImageContent{MIMEType: "image/png", Data: pixel}}}, nil, nil
	})
	add(s, "huge", func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
		return text("FIRST" + strings.Repeat("0123456789", 200_000) + "LAST"), nil, nil
	})
	add(s, "flood", func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
		return text(strings.Repeat("0123456789", 2_000_000)), nil, nil
	})
	add(s, "die", func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
		fmt.Fprintln(os.Stderr, "out of cheese", os.Getenv("FAKE_TOKEN"))
		os.Exit(7)
		return nil, nil, nil
	})
	add(s, "wait", func(ctx context.Context, q *mcp.CallToolRequest, _ in) (*mcp.CallToolResult, any, error) {
		note("waits")
		<-ctx.Done()
		note("cancelled")
		return nil, nil, ctx.Err()
	})
	add(s, "slowly", func(ctx context.Context, q *mcp.CallToolRequest, _ in) (*mcp.CallToolResult, any, error) {
		err := q.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: q.Params.GetProgressToken(),
			Message: "half with " + os.Getenv("FAKE_TOKEN"), Progress: 1, Total: 2})
		time.Sleep(100 * time.Millisecond) // so that it is heard before the answer
		return text("slowly done"), nil, err
	})
	add(s, "grow", func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
		add(s, "late", func(context.Context, *mcp.CallToolRequest, in) (*mcp.CallToolResult, any, error) {
			return text("late but here"), nil, nil
		})
		return text("grown"), nil, nil
	})
}
