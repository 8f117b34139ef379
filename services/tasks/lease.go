package tasks

import (
	"context"
	"strconv"
	"strings"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/wire"
)

const (
	leaseDefault = 30 * time.Minute
	leaseMax     = 24 * time.Hour
)

var (
	errAdminOnly = fault.New(fault.Denied, "ADMIN_ONLY", "This action requires master API key, not a per-room token")
	errNobody    = fault.BadField("missing", "by required", "by")
)

// ClaimTask implements antv1.TasksServiceServer. Of all who want a task, the one
// whose transaction comes first finds it free.
func (r *Room) ClaimTask(ctx context.Context, q *antv1.ClaimTaskRequest) (*antv1.TaskResponse, error) {
	by, err := claimant(ctx, q.By, q.Force)
	if err == nil && strings.TrimSpace(by.As(q.By)) == "" {
		err = errNobody
	}
	if err != nil {
		return nil, err
	}
	length := leaseDefault
	if q.LeaseSeconds != nil {
		length = time.Duration(*q.LeaseSeconds) * time.Second
		if length < time.Second || length > leaseMax {
			return nil, fault.BadField("value_error", "lease_seconds is 1 to 86400", "lease_seconds")
		}
	}
	return r.change(ctx, q.SessionId, q.TaskId, func(tx store.Tx, t *task, now time.Time) (bool, error) {
		if t.Status == complete || t.Status == deleted {
			return false, fault.New(fault.Precondition, "TASK_CLOSED", "The task is %s: give it another status to claim it", t.Status)
		}
		p, err := r.who(tx, by, q.By)
		if err != nil {
			return false, err
		}
		own := t.held(now) && t.Lease.Key == p.key
		if t.held(now) && !own && !q.Force {
			return false, t.taken()
		}
		if !own {
			t.Claim++
		}
		t.Lease = lease{Key: p.key, Name: p.name, Until: wholeSecond(now.Add(length))}
		return true, nil
	})
}

// ReleaseTask implements antv1.TasksServiceServer.
func (r *Room) ReleaseTask(ctx context.Context, q *antv1.ReleaseTaskRequest) (*antv1.TaskResponse, error) {
	by, err := claimant(ctx, q.By, q.Force)
	if err == nil && strings.TrimSpace(by.As(q.By)) == "" && !q.Force {
		err = errNobody
	}
	if err != nil {
		return nil, err
	}
	return r.change(ctx, q.SessionId, q.TaskId, func(tx store.Tx, t *task, now time.Time) (bool, error) {
		if q.Claim != nil && t.Claim != *q.Claim {
			return false, t.lost(*q.Claim, now)
		}
		if !t.held(now) {
			return false, nil
		}
		p, err := r.who(tx, by, q.By)
		if err != nil {
			return false, err
		}
		if t.Lease.Key != p.key && !q.Force {
			return false, t.taken()
		}
		t.Lease = lease{}
		return true, nil
	})
}

// claimant is who claims or releases a task, if they may do it so.
func claimant(ctx context.Context, name string, force bool) (caller.Caller, error) {
	by := caller.From(ctx)
	if force && by.Scoped() {
		return by, errAdminOnly
	}
	return by, checkSize("by", name, nameMax)
}

// wholeSecond is a time in ns, or the second after it.
func wholeSecond(t time.Time) int64 {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		t = whole.Add(time.Second)
	}
	return t.UnixNano()
}

// taken says who holds the task.
func (t *task) taken() error {
	return t.leaseOf(fault.New(fault.Conflict, "TASK_CLAIMED", "%s holds this task until %s (UTC): take another, or wait until then",
		t.Lease.Name, wire.Time(t.Lease.Until)))
}

// lost says that a lease is no longer the present one.
func (t *task) lost(claim int32, now time.Time) error {
	if t.held(now) {
		return t.leaseOf(fault.New(fault.Conflict, "CLAIM_LOST", "claim %d is over: %s holds this task with claim %d until %s (UTC)",
			claim, t.Lease.Name, t.Claim, wire.Time(t.Lease.Until)))
	}
	return fault.New(fault.Conflict, "CLAIM_LOST", "claim %d is over: claim the task again first", claim).With("claim", strconv.Itoa(int(t.Claim)))
}

func (t *task) leaseOf(f *fault.Error) error {
	return f.With("claimed_by", t.Lease.Name).With("claimed_until", wire.Time(t.Lease.Until)).With("claim", strconv.Itoa(int(t.Claim)))
}
