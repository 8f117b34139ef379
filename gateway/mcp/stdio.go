package mcp

import (
	"context"
	"errors"
	"io"
	"log/slog"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
)

// lineMax bounds one message of a client, in bytes: a question may have 8 MiB.
const lineMax = 16 << 20

// StdioOptions for ServeStdio.
type StdioOptions struct {
	Caller  *antonv1.Caller // whom the channel's calls are made for
	As      string          // who it is where a tool is not told; may be empty
	Version string
	Log     *slog.Logger
}

// ServeStdio serves one client over a pair of pipes until in ends, or until ctx
// does, with its cause. Calls are made with ctx and its metadata. Nothing but
// messages of the protocol is written to out.
func ServeStdio(ctx context.Context, channel grpc.ClientConnInterface, in io.ReadCloser, out io.WriteCloser, o StdioOptions) error {
	going, end := context.WithCancelCause(ctx)
	defer end(errGone)
	stop := context.AfterFunc(ctx, func() { end(errGone) }) // not a cancellation by the client
	defer stop()
	ctx = (&call{ctx: going, as: o.As, log: o.Log}).with(ctx)
	server := newServer(newTools(channel), offerTo(o.Caller), o.Version)
	err := server.Run(ctx, &sdk.IOTransport{Reader: in, Writer: out, MaxLineLength: lineMax})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
