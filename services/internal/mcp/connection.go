package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"anthill/services/internal/dial"
)

// Bounds of what a server may send.
const (
	messageMax     = 16 << 20 // bytes of one message
	pagesMax       = 50       // of a list of tools
	toolsMax       = 1000     // that are listed of one server
	schemaMax      = 64 << 10 // bytes of one tool's schema
	titleMax       = 200      // bytes
	descriptionMax = 8 << 10  // bytes of one tool's description
	silentMax      = 10 * time.Minute
	wordsMax       = 1 << 10 // bytes of a problem
)

// connection is a session with a server. Whoever made it looks after it.
type connection struct {
	session *sdk.ClientSession
	process *process           // nil over HTTP
	cut     context.CancelFunc // ends all requests over HTTP
	quit    chan struct{}      // closed when the connection is to end
	once    sync.Once

	mu    sync.Mutex
	calls map[string]func(*sdk.ProgressNotificationParams) // by the token of their progress
	last  int
}

// end makes the connection end, soon.
func (c *connection) end() { c.once.Do(func() { close(c.quit) }) }

// close ends what is behind the connection. It blocks for some seconds at most.
func (c *connection) close() {
	if c.process != nil {
		c.process.close()
	}
	_ = c.session.Close() // over HTTP it says goodbye; nothing is left that could be done about a failure
	c.cut()
}

// connect starts the server if it is a process, and greets it.
func (s *server) connect(ctx context.Context) (*connection, error) {
	c := &connection{quit: make(chan struct{}), calls: map[string]func(*sdk.ProgressNotificationParams){}}
	client := sdk.NewClient(&sdk.Implementation{Name: "anthill", Version: s.engine.opt.Version}, &sdk.ClientOptions{
		Capabilities:           &sdk.ClientCapabilities{}, // a server can ask for nothing
		ToolListChangedHandler: func(context.Context, *sdk.ToolListChangedRequest) { s.changed() },
		ProgressNotificationHandler: func(_ context.Context, q *sdk.ProgressNotificationClientRequest) {
			c.progress(q.Params)
		},
	})
	// Requests of the session outlast the attempt, but not the connection.
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	c.cut = cut
	transport, err := s.transport(life, c)
	if err != nil {
		cut()
		return nil, err
	}
	type outcome struct {
		session *sdk.ClientSession
		err     error
	}
	greeted := make(chan outcome, 1)
	s.engine.work.Go(func() {
		session, err := client.Connect(ctx, transport, nil)
		greeted <- outcome{session, err}
	})
	var o outcome
	select {
	case o = <-greeted:
	case <-ctx.Done(): // the client may wait for longer than it was told to
		c.abort()
		if o = <-greeted; o.err == nil {
			_ = o.session.Close()
			o.err = ctx.Err()
		}
	}
	if o.err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			o.err = errSlow
		}
		problem := errors.New(s.words(c, o.err))
		c.abort()
		return nil, problem
	}
	c.session = o.session
	return c, nil
}

// abort ends what is behind a connection that never came to be.
func (c *connection) abort() {
	if c.process != nil {
		c.process.kill()
	}
	c.cut()
}

func (s *server) transport(life context.Context, c *connection) (sdk.Transport, error) {
	if s.entry.transport == web {
		return s.engine.overHTTP(life, s.entry), nil
	}
	p, err := s.engine.start(s.entry, s.dir)
	if err != nil {
		return nil, err
	}
	c.process = p
	return &sdk.IOTransport{Reader: p.out, Writer: p.in, MaxLineLength: messageMax}, nil
}

// list asks for the tools. What cannot be offered to a model is left out.
func (s *server) list(ctx context.Context, c *connection) (f found, err error) {
	left, more, had := 0, true, map[string]bool{}
	q := &sdk.ListToolsParams{}
	for page := 0; more && page < pagesMax; page++ {
		r, err := c.session.ListTools(ctx, q)
		if err != nil {
			return found{}, err
		}
		for _, t := range r.Tools {
			switch own, ok := s.tool(t); {
			case !ok, had[t.Name]:
				left++
			case len(f.tools) >= toolsMax:
				left++
			default:
				had[t.Name] = true
				f.tools = append(f.tools, own)
			}
		}
		more = r.NextCursor != "" && r.NextCursor != q.Cursor
		q = &sdk.ListToolsParams{Cursor: r.NextCursor}
	}
	var notes []string
	if left > 0 || more {
		notes = append(notes, fmt.Sprintf("of its tools %d are used: the others are too many, too large, or not valid", len(f.tools)))
	}
	if len(f.tools) > offeredMax {
		notes = append(notes, fmt.Sprintf("it has %d tools, and a turn gets %d at most: allow those that matter in the conversation", len(f.tools), offeredMax))
	}
	f.note = strings.Join(notes, "; ")
	return f, nil
}

// progress hands a sign of life on to the call that it is of.
func (c *connection) progress(p *sdk.ProgressNotificationParams) {
	if p == nil {
		return
	}
	token, _ := p.ProgressToken.(string)
	c.mu.Lock()
	heard := c.calls[token]
	c.mu.Unlock()
	if heard != nil {
		heard(p)
	}
}

// call runs a tool. It ends with ctx, of which the server is told, and when
// nothing is heard of the call for a long time; heard may be called from another
// goroutine meanwhile.
func (s *server) call(ctx context.Context, c *connection, name string, input json.RawMessage, heard func(*sdk.ProgressNotificationParams)) (*sdk.CallToolResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(silentMax, func() { cancel(errSilent) })
	defer silent.Stop()
	token := c.expect(func(p *sdk.ProgressNotificationParams) {
		silent.Reset(silentMax)
		heard(p)
	})
	defer c.unexpect(token)
	q := &sdk.CallToolParams{Name: name, Arguments: input}
	q.SetProgressToken(token)
	type outcome struct {
		result *sdk.CallToolResult
		err    error
	}
	done := make(chan outcome, 1)
	// In a goroutine of its own: writing to a server that reads nothing blocks.
	begun := s.engine.run(func() {
		r, err := c.session.CallTool(ctx, q)
		done <- outcome{r, err}
	})
	if !begun {
		return nil, errClosed
	}
	select {
	case o := <-done:
		if o.err != nil && ctx.Err() != nil {
			o.err = context.Cause(ctx)
		}
		return o.result, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

var errSilent = fmt.Errorf("nothing was heard of the call for %d minutes", silentMax/time.Minute)

func (c *connection) expect(heard func(*sdk.ProgressNotificationParams)) (token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	token = strconv.Itoa(c.last)
	c.calls[token] = heard
	return token
}

func (c *connection) unexpect(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, token)
}

// words say what went wrong with a server, without secrets. A process is given a
// moment to end, since what it printed is the best there is to tell.
func (s *server) words(c *connection, err error) string {
	text := err.Error()
	switch u, isURL := errors.AsType[*url.Error](err); {
	case errors.Is(err, dial.ErrRefused):
		text = "its address is not allowed"
	case isURL: // it quotes the address
		text = "it cannot be reached: " + u.Err.Error()
	}
	if c != nil && c.process != nil {
		if !errors.Is(err, errSlow) {
			if ended, how := c.process.ended(); ended {
				text = how
			}
		}
		if printed := c.process.printed(); printed != "" {
			text += "; it printed: " + printed
		}
	}
	return clip(redact(readable(text), s.entry.secrets, s.engine.opt.Secrets()), wordsMax)
}

// readable is a text on one line that acts on nothing.
func readable(text string) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) {
			return ' '
		}
		return printable(c)
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.Join(strings.Fields(text), " ")
}
