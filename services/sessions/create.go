package sessions

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// CreateSession implements antv1.SessionsServiceServer.
func (r *Room) CreateSession(ctx context.Context, q *antv1.CreateSessionRequest) (*antv1.Session, error) {
	wanted, err := asked(q)
	if err != nil {
		return nil, err
	}
	start := r.running()
	if q.Start && start != nil {
		if err := start.Check(q.Cols, q.Rows); err != nil {
			return nil, err
		}
	}
	id, chatID := r.opt.NewID(), ""
	if wanted.Type == Terminal {
		chatID = r.opt.NewID()
	}
	var out *antv1.Session
	err = r.opt.DB.Update(ctx, func(tx store.Tx) error {
		now := r.opt.Now().UnixNano()
		rec := *wanted
		rec.ID, rec.Created, rec.Updated = id, now, now
		if rec.Type == Terminal {
			rec.LinkedChat = chatID
			if err := nameTerminal(tx, &rec); err != nil {
				return err
			}
		}
		if err := put(tx, &rec); err != nil {
			return err
		}
		if rec.Type == Terminal {
			if err := addChat(tx, &rec); err != nil {
				return err
			}
		}
		out = row(&rec, now, nil)
		return r.listChanged(tx)
	})
	if err == nil && q.Start && start != nil {
		err = r.startNew(ctx, start, q, id)
	}
	return out, err
}

// startNew runs the terminal of a session that was made for it. If it does not
// run, the session was never there.
func (r *Room) startNew(ctx context.Context, t Terminals, q *antv1.CreateSessionRequest, id string) error {
	failed := t.Start(ctx, id, q.Cols, q.Rows)
	if failed == nil {
		return nil
	}
	_, err := r.DeleteSession(context.WithoutCancel(ctx), &antv1.DeleteSessionRequest{Id: id, Hard: true})
	return errors.Join(failed, err)
}

// asked is a request as a record without id and times.
func asked(q *antv1.CreateSessionRequest) (*record, error) {
	rec := &record{Type: q.Type, TTL: cmp.Or(q.Ttl, defaultTTL), Workspace: q.WorkspaceId, RootDir: q.RootDir, Status: "idle"}
	var err error
	if rec.Name, err = checkName(q.Name); err != nil {
		return nil, err
	}
	if rec.Meta, err = checkMeta(q.Meta); err != nil {
		return nil, err
	}
	if q.Start && q.Type != Terminal {
		return nil, invalid("start", "is for terminals")
	}
	for _, err := range []error{checkType(q.Type), checkTTL(rec.TTL),
		checkText("workspace_id", q.WorkspaceId, workspaceMax), checkText("root_dir", q.RootDir, rootMax)} {
		if err != nil {
			return nil, err
		}
	}
	return rec, nil
}

// nameTerminal gives a terminal the names that it is spoken to by.
func nameTerminal(rd store.Reader, rec *record) error {
	handle, err := freeHandle(rd, slug(rec.Name), "")
	rec.Handle, rec.Alias, rec.DisplayName = "@"+handle, handle, handle
	return err
}

// addChat makes the private chat of a new terminal.
func addChat(tx store.Tx, terminal *record) error {
	meta, err := json.Marshal(map[string]any{"auto_linked_terminal_id": terminal.ID, "auto_named": true})
	if err != nil {
		return err
	}
	chat := &record{ID: terminal.LinkedChat, Name: chatName(terminal.Name), Type: Chat, Status: "idle", TTL: terminal.TTL,
		Workspace: terminal.Workspace, RootDir: terminal.RootDir, Meta: string(meta),
		AutoFor: terminal.ID, AutoNamed: true, Created: terminal.Created, Updated: terminal.Updated}
	handle, err := freeHandle(tx, slug(chat.Name), "")
	if err != nil {
		return err
	}
	chat.Handle = "@" + handle
	return put(tx, chat)
}

// chatName is what the private chat of a terminal is called.
func chatName(terminal string) string { return terminal + "-Chat" }

var noHandle = regexp.MustCompile(`[^a-z0-9]+`)

// slug makes a name into a handle, without its @.
func slug(name string) string {
	s := strings.Trim(noHandle.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if len(s) > slugMax {
		s = strings.TrimRight(s[:slugMax], "-")
	}
	if s == "everyone" {
		s += "-1" // @everyone is not a name
	}
	return cmp.Or(s, "session")
}

// freeHandle is a handle that no live session but self has: the one wanted, or
// that with the first number behind it that is free. Both are without their @.
func freeHandle(rd store.Reader, want, self string) (string, error) {
	return firstFree(rd, byHandle, self, func(n int) (string, key.Key) {
		handle := want
		if n > 1 {
			handle += "-" + strconv.Itoa(n)
		}
		return handle, key.Of("@" + handle)
	})
}

// freeName is freeHandle for names.
func freeName(rd store.Reader, want, self string) (string, error) {
	return firstFree(rd, byName, self, func(n int) (string, key.Key) {
		name := want
		if n > 1 {
			name = fmt.Sprintf("%s (%d)", want, n)
		}
		return name, key.Of(fold(name))
	})
}

func firstFree(rd store.Reader, index, self string, candidate func(n int) (string, key.Key)) (string, error) {
	for n := 1; ; n++ {
		s, k := candidate(n)
		holder, err := records.Lookup(rd, index, k)
		if err != nil {
			return "", err
		}
		if holder == nil || holder.ID == self {
			return s, nil
		}
	}
}
