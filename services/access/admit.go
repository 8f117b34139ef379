package access

import (
	"context"
	"crypto/subtle"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// compat: the sentences of ant.md 0.1, which clients show.
var (
	errWrongRoom = fault.New(fault.Denied, "WRONG_ROOM", "Token does not authorise this room")
	errReadOnly  = fault.New(fault.Denied, "READ_ONLY_TOKEN", "Tokens of kind 'web' are read-only")
	errAdminOnly = fault.New(fault.Denied, "ADMIN_ONLY", "This action requires master API key, not a per-room token")
	errRelay     = fault.New(fault.Denied, "NOT_FOR_CALLERS", "This call is for the server itself: use Subscribe.")
)

// Unary decides about a call. The context that it returns has the caller; in a
// guest's request the room is named by its id afterwards.
func (r *Room) Unary(ctx context.Context, method string, req any) (context.Context, error) {
	a, err := r.admit(ctx, method)
	if err != nil {
		return nil, err
	}
	if err := a.bind(ctx, req); err != nil {
		return nil, err
	}
	if err := a.scope(); err != nil {
		return nil, err
	}
	return caller.WithShared(ctx, a.Caller), nil
}

// Stream decides about a stream, as far as it can before there is a request:
// each goes through Bind. Release must be called when the stream has ended.
func (r *Room) Stream(ctx context.Context, method string) (*Admission, error) {
	a, err := r.admit(ctx, method)
	if err != nil {
		return nil, err
	}
	if err := a.scope(); err != nil {
		return nil, err
	}
	a.ctx = caller.WithShared(ctx, a.Caller)
	if a.credential == "" {
		return a, nil
	}
	a.call = r.live.enter(a)
	// What was revoked before it was entered is seen here; what is revoked from
	// here on, by the registry.
	again, err := r.identify(ctx)
	if err == nil && again.credential != a.credential {
		err = errSessionRevoked
	}
	if err != nil {
		a.Release()
		return nil, err
	}
	return a, nil
}

// Admission is a call that was let in, or a stream.
type Admission struct {
	identity
	room *Room
	rule rule
	ctx  context.Context
	call *call // nil: nothing can end it early
}

func (r *Room) admit(ctx context.Context, method string) (*Admission, error) {
	a := &Admission{room: r, rule: rules[method]}
	switch a.rule.need {
	case keyless:
		a.identity = identity{Caller: nobody}
		return a, nil
	case relay:
		if r.isDoor(ctx) {
			a.identity = identity{Caller: nobody}
			return a, nil
		}
	}
	id, err := r.identify(ctx)
	if err != nil {
		return nil, err
	}
	a.identity = id
	switch {
	case a.rule.need == relay:
		return nil, errRelay
	case a.rule.need == admin && a.Scoped():
		return nil, errAdminOnly
	}
	return a, nil
}

// isDoor says whether a call comes from this process's own door to WebSockets.
func (r *Room) isDoor(ctx context.Context) bool {
	md, _ := metadata.FromIncomingContext(ctx)
	return slices.ContainsFunc(md.Get("x-anthill-relay"), func(shown string) bool {
		return subtle.ConstantTimeCompare([]byte(shown), []byte(r.relay)) == 1
	})
}

// scope says whether the token of a guest goes as far as the method.
func (a *Admission) scope() error {
	if !a.Scoped() {
		return nil
	}
	want := map[need]string{read: caller.Read, write: caller.Write, terminal: caller.Terminal}[a.rule.need]
	switch {
	case want == "" || a.Has(want):
		return nil
	case a.TokenKind == kindWeb:
		return errReadOnly
	}
	return fault.New(fault.Denied, "MISSING_SCOPE", "This room token lacks the scope '%s'", want)
}

// Context is that of the stream; it ends when what the caller showed does.
func (a *Admission) Context() context.Context { return a.ctx }

// Bind confines a request to the room of a guest.
func (a *Admission) Bind(req any) error { return a.bind(a.ctx, req) }

// Ended says why the stream must end although its client is there; nil: it need not.
func (a *Admission) Ended() error {
	if a.call == nil {
		return nil
	}
	return a.call.ended()
}

// Release ends what Stream began.
func (a *Admission) Release() {
	if a.call != nil {
		a.room.live.leave(a.credential, a.call)
	}
}

// bind checks the rooms that a guest's request names, and puts the id of the
// room in their place: what an @handle leads to may change before it is used.
func (a *Admission) bind(ctx context.Context, req any) error {
	if !a.Scoped() || a.rule.room == "" {
		return nil
	}
	m, ok := req.(proto.Message)
	if !ok {
		return errWrongRoom
	}
	r := m.ProtoReflect()
	name := a.rule.room
	if within, rest, nested := strings.Cut(name, "."); nested {
		fd := r.Descriptor().Fields().ByName(protoreflect.Name(within))
		if !r.Has(fd) {
			return nil // what follows the message that names the room
		}
		r, name = r.Get(fd).Message(), rest
	}
	fields := r.Descriptor().Fields()
	for _, name := range a.rule.zero {
		if fd := fields.ByName(protoreflect.Name(name)); fd == nil || r.Has(fd) {
			return errWrongRoom
		}
	}
	fd := fields.ByName(protoreflect.Name(name))
	if fd == nil || fd.Kind() != protoreflect.StringKind || !r.Has(fd) {
		return errWrongRoom
	}
	if !fd.IsList() {
		if err := a.inRoom(ctx, r.Get(fd).String()); err != nil {
			return err
		}
		r.Set(fd, protoreflect.ValueOfString(a.Room))
		return nil
	}
	list := r.Mutable(fd).List()
	for i := range list.Len() {
		if err := a.inRoom(ctx, list.Get(i).String()); err != nil {
			return err
		}
		list.Set(i, protoreflect.ValueOfString(a.Room))
	}
	return nil
}

// inRoom says whether ref names the guest's room. One that does not exist is as
// wrong as another.
func (a *Admission) inRoom(ctx context.Context, ref string) error {
	if ref == a.Room {
		return nil
	}
	if len(ref) > refMax {
		return errWrongRoom
	}
	var id string
	err := a.room.opt.DB.View(ctx, func(rd store.Reader) (err error) {
		id, _, err = a.room.opt.Rooms.Resolve(rd, ref)
		return err
	})
	if err == nil && id != a.Room {
		return errWrongRoom
	}
	return err
}
