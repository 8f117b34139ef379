// Package identity is the room in which processes of this machine are bound to
// sessions, so that a program finds out which session it runs in.
//
// Programs of this machine enter; others are refused, for their processes mean
// nothing here. A process is known by its id and by when it began, as the system
// tells it, so that one that got the id of another is never taken for it.
package identity

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/wire"
)

const (
	kept       = 30 * 24 * time.Hour // how long a process is remembered
	pidsMax    = 64                  // of one question
	sweepEvery = 256                 // registrations
	sweepBatch = 20                  // rows of a transaction
)

// Session is what this room needs to know of one.
type Session struct{ ID, Handle, DisplayName string }

// Sessions answers from inside a transaction.
type Sessions interface {
	// Find looks a session up by id or handle; nil: there is none.
	Find(r store.Reader, ref string) (*Session, error)
}

// Options open the room.
type Options struct {
	DB       store.DB
	Sessions Sessions
	Now      func() time.Time
	// Start says when a process began, in the system's own terms; empty: there is
	// none. Nil: the system is asked.
	Start func(pid int) string
}

// Room serves IdentityService.
type Room struct {
	antv1.UnimplementedIdentityServiceServer
	opt Options

	mu  sync.Mutex
	new int // registrations since the last sweep
}

// Open makes the room.
func Open(o Options) *Room {
	if o.Start == nil {
		o.Start = started
	}
	return &Room{opt: o, new: sweepEvery - 1}
}

// Register adds the room's service to a server.
func (r *Room) Register(s grpc.ServiceRegistrar) { antv1.RegisterIdentityServiceServer(s, r) }

// process is one that is bound to a session.
type process struct {
	PID     int    `json:"pid"`
	Start   string `json:"start"`
	Session string `json:"session"`
	Expires int64  `json:"expires"` // ns
}

var processes = store.NewTable(store.TableOptions[process]{
	Name: "ant_process",
	Key:  func(p *process) key.Key { return pidKey(p.PID) },
	Indexes: []store.Index[process]{
		{Name: "session", Keys: func(p *process) []key.Key { return []key.Key{key.Of(p.Session)} }},
	},
})

func pidKey(pid int) key.Key { return key.Key(nil).Uint(uint64(pid)) }

// RegisterIdentity implements antv1.IdentityServiceServer.
func (r *Room) RegisterIdentity(ctx context.Context, q *antv1.RegisterIdentityRequest) (*antv1.IdentityResponse, error) {
	if err := onThisMachine(ctx); err != nil {
		return nil, err
	}
	ref := q.SenderId
	for _, other := range []string{q.SessionId, q.Handle} {
		if ref == "" {
			ref = other
		}
	}
	switch {
	case q.Pid < 2: // everything descends from the first one
		return nil, fault.BadField("value_error", "pid is the id of a process: 2 or more", "pid")
	case ref == "":
		return nil, fault.BadField("missing", "sender_id, session_id or handle required", "sender_id")
	}
	start := r.opt.Start(int(q.Pid))
	if start == "" {
		return nil, fault.Missing("PROCESS_NOT_FOUND", "There is no process %d on this machine", q.Pid)
	}
	var out *antv1.IdentityResponse
	err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
		s, err := r.opt.Sessions.Find(tx, ref)
		if err != nil {
			return err
		}
		if s == nil {
			return wire.ErrNoSession
		}
		p := &process{PID: int(q.Pid), Start: start, Session: s.ID, Expires: r.opt.Now().Add(kept).UnixNano()}
		out = p.view(s)
		return processes.Put(tx, p)
	})
	if err != nil {
		return nil, err
	}
	return out, r.sweepSometimes(ctx)
}

// ResolveIdentity implements antv1.IdentityServiceServer.
func (r *Room) ResolveIdentity(ctx context.Context, q *antv1.ResolveIdentityRequest) (*antv1.IdentityResponse, error) {
	if err := onThisMachine(ctx); err != nil {
		return nil, err
	}
	switch {
	case len(q.Pids) == 0:
		return nil, fault.BadField("missing", "pids required", "pids")
	case len(q.Pids) > pidsMax:
		return nil, fault.BadField("value_error", "pids has too many: 64 at most", "pids")
	}
	for _, pid := range q.Pids {
		if pid < 2 {
			continue
		}
		found, err := r.resolve(ctx, int(pid))
		if err != nil || found.Identity != nil {
			return found, err
		}
	}
	return &antv1.IdentityResponse{}, nil
}

// resolve finds the session of one process.
func (r *Room) resolve(ctx context.Context, pid int) (out *antv1.IdentityResponse, err error) {
	out = &antv1.IdentityResponse{}
	err = r.opt.DB.View(ctx, func(rd store.Reader) error {
		p, err := processes.Get(rd, pidKey(pid))
		if err != nil || p == nil || r.over(p) {
			return err
		}
		s, err := r.opt.Sessions.Find(rd, p.Session)
		if err == nil && s != nil {
			out = p.view(s)
		}
		return err
	})
	return out, err
}

// over says whether a process has ended, or was registered too long ago.
func (r *Room) over(p *process) bool {
	return r.opt.Now().UnixNano() >= p.Expires || r.opt.Start(p.PID) != p.Start
}

func (p *process) view(s *Session) *antv1.IdentityResponse {
	return &antv1.IdentityResponse{Identity: &antv1.Identity{SenderId: s.ID, Handle: wire.OrNull(s.Handle), DisplayName: wire.OrNull(s.DisplayName),
		Pid: int32(p.PID), PidStart: p.Start}}
}

// sweepSometimes forgets processes that are over, once in so many registrations.
func (r *Room) sweepSometimes(ctx context.Context) error {
	r.mu.Lock()
	r.new++
	due := r.new >= sweepEvery
	if due {
		r.new = 0
	}
	r.mu.Unlock()
	if !due {
		return nil
	}
	for after := (key.Key)(nil); ; {
		var list []*process
		err := r.opt.DB.View(ctx, func(rd store.Reader) error {
			list = nil
			for p, err := range processes.Scan(rd, store.ScanOptions{After: after, Limit: sweepBatch}) {
				if err != nil {
					return err
				}
				list = append(list, p)
			}
			return nil
		})
		if err != nil || len(list) == 0 {
			return err
		}
		if err := r.forget(ctx, list); err != nil {
			return err
		}
		after = pidKey(list[len(list)-1].PID)
	}
}

// forget removes those of a list that are over.
func (r *Room) forget(ctx context.Context, list []*process) error {
	var gone []*process
	for _, p := range list {
		if r.over(p) {
			gone = append(gone, p)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return r.opt.DB.Update(ctx, func(tx store.Tx) error {
		for _, p := range gone {
			now, err := processes.Get(tx, pidKey(p.PID))
			if err != nil {
				return err
			}
			if now == nil || now.Start != p.Start {
				continue // registered anew meanwhile
			}
			if _, err := processes.Delete(tx, pidKey(p.PID)); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteSession forgets the processes of a session that is deleted for good.
func (r *Room) DeleteSession(ctx context.Context, id string) error {
	for n := sweepBatch; n == sweepBatch; {
		err := r.opt.DB.Update(ctx, func(tx store.Tx) error {
			n = 0
			for p, err := range processes.ScanIndex(tx, "session", store.ScanOptions{Prefix: key.Of(id), Limit: sweepBatch}) {
				if err != nil {
					return err
				}
				n++
				if _, err := processes.Delete(tx, pidKey(p.PID)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// clientAddress is the metadata in which the gateway says who sent a request; on
// its channel only.
const clientAddress = "x-client-address"

// onThisMachine refuses callers from elsewhere. What is not known is elsewhere.
func onThisMachine(ctx context.Context) error {
	address := ""
	if p, ok := peer.FromContext(ctx); ok { // a socket: the rest could be invented
		host, _, err := net.SplitHostPort(p.Addr.String())
		if err == nil {
			address = host
		}
	} else if md, _ := metadata.FromIncomingContext(ctx); len(md.Get(clientAddress)) == 1 {
		address = md.Get(clientAddress)[0]
	}
	ip, err := netip.ParseAddr(address)
	if err == nil && !ip.Unmap().IsLoopback() {
		err = errors.New("not a loopback address")
	}
	if err != nil {
		return fault.New(fault.Denied, "LOCAL_ONLY",
			"Processes are known by their ids on this machine only: call from it, by a loopback address.").Because(err)
	}
	return nil
}
