package rooms

import (
	"context"
	"fmt"
	"time"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// Brakes that a room begins with. There is no cooldown at first: an agent that
// says two things at once is no loop, and hops end those that are.
const (
	hopsDefault = 12
	rateDefault = 60

	hopsMax     = 1000
	cooldownMax = int(time.Hour / time.Millisecond)
	rateMax     = 10_000
)

// brakes end talk among agents that no human takes part in. A setting that is
// nil is the default.
type brakes struct {
	MaxHops  *int `json:"max_hops,omitempty"`
	Cooldown *int `json:"cooldown,omitempty"` // ms
	Rate     *int `json:"rate,omitempty"`

	Hops  int              `json:"hops,omitempty"` // since a human spoke
	Held  int              `json:"held,omitempty"` // since a human spoke
	Since int64            `json:"since,omitempty"`
	Used  int              `json:"used,omitempty"` // within the minute since Since (ms)
	Last  map[string]int64 `json:"last,omitempty"` // ms, by agent
}

// held is why a message wakes nobody.
type held struct{ reason, words string }

func setting(v *int, otherwise int) int {
	if v == nil {
		return otherwise
	}
	return *v
}

// release forgets what agents have used up: a human has spoken.
func (b *brakes) release() {
	b.Hops, b.Held, b.Since, b.Used, b.Last = 0, 0, 0, 0, nil
}

// used is how much of the minute's rate is used up.
func (b *brakes) used(now int64) int {
	if now-b.Since >= time.Minute.Milliseconds() || now < b.Since {
		return 0
	}
	return b.Used
}

// pull asks whether an agent's message may wake others now, and counts it. It
// returns why not, or nil.
func (b *brakes) pull(agent string, now int64) *held {
	hops, cooldown, rate := setting(b.MaxHops, hopsDefault), setting(b.Cooldown, 0), setting(b.Rate, rateDefault)
	last, spoke := b.Last[agent]
	var h *held
	switch {
	case hops > 0 && b.Hops >= hops:
		h = &held{"BRAKE_HOPS", fmt.Sprintf("held back: agents have woken each other %d times since a human last spoke here; "+
			"a message of a human goes on", b.Hops)}
	case cooldown > 0 && spoke && now-last < int64(cooldown) && now >= last:
		h = &held{"BRAKE_COOLDOWN", fmt.Sprintf("held back: this agent may wake others again in %d ms, or when a human speaks",
			int64(cooldown)-(now-last))}
	case rate > 0 && b.used(now) >= rate:
		h = &held{"BRAKE_RATE", fmt.Sprintf("held back: agents have woken each other %d times within a minute here; "+
			"a message of a human goes on", b.Used)}
	}
	if h != nil {
		b.Held++
		return h
	}
	if b.used(now) == 0 {
		b.Since, b.Used = now, 0
	}
	b.Hops++
	b.Used++
	if cooldown > 0 {
		b.remember(agent, now, int64(cooldown))
	}
	return nil
}

// remember notes when an agent woke others, and forgets what no longer matters.
func (b *brakes) remember(agent string, now, cooldown int64) {
	last := map[string]int64{agent: now}
	for who, at := range b.Last {
		if who != agent && now-at < cooldown && len(last) < 256 {
			last[who] = at
		}
	}
	b.Last = last
}

func (st *roomState) settings(now int64) *antv1.RoomSettings {
	b := &st.Brakes
	return &antv1.RoomSettings{CoworkerForGuests: st.CoworkerForGuests,
		MaxHops: int32(setting(b.MaxHops, hopsDefault)), AgentCooldownMs: int32(setting(b.Cooldown, 0)),
		AgentRatePerMinute: int32(setting(b.Rate, rateDefault)),
		Hops:               int32(b.Hops), RateUsed: int32(b.used(now)), Held: int32(b.Held),
	}
}

// GetRoomSettings implements antv1.MessagesServiceServer.
func (r *Room) GetRoomSettings(ctx context.Context, q *antv1.GetRoomSettingsRequest) (*antv1.RoomSettings, error) {
	var v *antv1.RoomSettings
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		s, err := r.readable(rd, q.SessionId)
		if err != nil {
			return err
		}
		st, err := loadState(rd, s.ID)
		if err != nil {
			return err
		}
		v = st.settings(r.opt.Now().UnixMilli())
		return nil
	})
	return v, err
}

// UpdateRoomSettings implements antv1.MessagesServiceServer.
func (r *Room) UpdateRoomSettings(ctx context.Context, q *antv1.UpdateRoomSettingsRequest) (*antv1.RoomSettings, error) {
	fields := []struct {
		name  string
		value *int32
		most  int
		set   func(*brakes, *int)
	}{
		{"max_hops", q.MaxHops, hopsMax, func(b *brakes, n *int) { b.MaxHops = n }},
		{"agent_cooldown_ms", q.AgentCooldownMs, cooldownMax, func(b *brakes, n *int) { b.Cooldown = n }},
		{"agent_rate_per_minute", q.AgentRatePerMinute, rateMax, func(b *brakes, n *int) { b.Rate = n }},
	}
	given := 0
	for _, f := range fields {
		if f.value == nil {
			continue
		}
		given++
		if *f.value < 0 || int(*f.value) > f.most {
			return nil, fault.BadField("value_error", fmt.Sprintf("%s is from 0 to %d", f.name, f.most), f.name)
		}
	}
	if given == 0 && q.CoworkerForGuests == nil {
		return nil, fault.New(fault.Invalid, "NOTHING_TO_UPDATE",
			"one of max_hops, agent_cooldown_ms, agent_rate_per_minute and coworker_for_guests is required")
	}
	var v *antv1.RoomSettings
	err := r.opt.Main.Update(ctx, func(tx store.Tx) error {
		s, err := r.writable(tx, q.SessionId)
		if err != nil {
			return err
		}
		st, err := loadState(tx, s.ID)
		if err != nil {
			return err
		}
		for _, f := range fields {
			if f.value != nil {
				n := int(*f.value)
				f.set(&st.Brakes, &n)
			}
		}
		if q.CoworkerForGuests != nil {
			st.CoworkerForGuests = *q.CoworkerForGuests
		}
		v = st.settings(r.opt.Now().UnixMilli())
		return save(tx, stateKey(s.ID), st)
	})
	return v, err
}
