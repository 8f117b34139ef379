package rooms

import (
	"context"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// copying is a room whose members are being copied from another one. It is stored
// with the room, so that those who do not fit into its transaction follow even
// after a crash.
type copying struct {
	From  string `json:"from"`
	After string `json:"after,omitempty"` // the member that was copied last
}

func copyKey(room string) key.Key { return key.Of("ant_copying").Str(room) }

// copyBatch members, with their index entries, fit into a transaction beside the
// making of a room.
const copyBatch = 15

// spawn makes a room, the link to it, and members, all or nothing.
func (r *Room) spawn(ctx context.Context, q *antv1.CreateLinkRequest, wanted *link) (*antv1.CreateLinkResponse, error) {
	id := r.opt.NewID()
	var out *antv1.CreateLinkResponse
	more := false
	err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
		more = false
		source, err := r.linkable(tx, q.SessionId, "Source")
		if err != nil {
			return err
		}
		name := []rune(orElse(wanted.Title, discussion+source.Name))
		made, err := r.opt.Sessions.SpawnChat(tx, Spawn{ID: id, Name: string(name[:min(len(name), spawnedNameMax)]), Parent: source.ID})
		if err != nil {
			return err
		}
		l := *wanted
		l.Source, l.Target = source.ID, made.ID
		if err := r.addLink(tx, &l); err != nil {
			return err
		}
		out = l.created()
		out.DiscussionName = new(made.Name)
		if q.CopyMembers == nil || *q.CopyMembers {
			more, err = r.copyMembers(tx, made.ID, &copying{From: source.ID})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if more {
		if err := r.copyOn(ctx, out.TargetRoomId); err != nil {
			r.Wake() // the room is there; its members follow
		}
	}
	return out, r.opt.Main.View(context.WithoutCancel(ctx), func(rd store.Reader) error {
		st, err := loadState(rd, out.TargetRoomId)
		if err == nil {
			out.MembersCopied = new(int32(st.Members))
		}
		return err
	})
}

// copyMembers copies the next members of a room, and notes where to go on if there
// are more.
func (r *Room) copyMembers(tx store.Tx, to string, c *copying) (more bool, err error) {
	st, err := loadState(tx, to)
	if err != nil {
		return false, err
	}
	o := store.ScanOptions{Prefix: key.Key(nil).Str(c.From), Limit: copyBatch}
	if c.After != "" {
		o.After = memberKey(c.From, c.After)
	}
	list, err := collect(members.Scan(tx, o))
	if err != nil {
		return false, err
	}
	for _, m := range list {
		c.After = m.Session
		there, err := members.Get(tx, memberKey(to, m.Session))
		if err != nil {
			return false, err
		}
		s, err := r.opt.Sessions.Find(tx, m.Session)
		if err != nil {
			return false, err
		}
		if m.Left || there != nil || !s.active() || st.Members >= membersMax {
			continue
		}
		err = members.Put(tx, &member{Room: to, Session: m.Session, Terminal: m.Terminal, Role: m.Role, Alias: m.Alias,
			Joined: r.opt.Now().UnixNano()})
		if err != nil {
			return false, err
		}
		st.Members++
	}
	if err := save(tx, stateKey(to), st); err != nil {
		return false, err
	}
	if len(list) == copyBatch {
		return true, save(tx, copyKey(to), c)
	}
	tx.Delete(copyKey(to))
	return false, nil
}

// copyOn copies the members of a room that are still to be copied.
func (r *Room) copyOn(ctx context.Context, to string) error {
	for more := true; more; {
		err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
			more = false
			c, err := load[copying](tx, copyKey(to))
			if err != nil || c == nil {
				return err
			}
			room, err := r.opt.Sessions.Find(tx, to)
			if err != nil {
				return err
			}
			if room == nil { // deleted meanwhile
				tx.Delete(copyKey(to))
				return nil
			}
			more, err = r.copyMembers(tx, to, c)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// copyAllMembers goes on where calls, or an earlier run, stopped.
func (r *Room) copyAllMembers(ctx context.Context) error {
	for {
		to := ""
		err := r.opt.Main.View(ctx, func(rd store.Reader) error {
			to = ""
			for k := range rd.Scan(store.Prefix(key.Of("ant_copying"))) {
				p := key.Parse(k)
				p.Str()
				to = p.Str()
				return p.Err()
			}
			return nil
		})
		if err != nil || to == "" {
			return err
		}
		if err := r.copyOn(ctx, to); err != nil {
			return err
		}
	}
}
