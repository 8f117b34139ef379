package sessions

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/store"
)

func TestTerminalComesWithItsChat(t *testing.T) {
	w := newWorld(t)
	s := got(w.CreateSession(t.Context(), &antv1.CreateSessionRequest{Name: "  Build & Test!  ", Type: Terminal, RootDir: "/src",
		Meta: structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"project": text("ant")}})}))(t)
	if s.Name != "Build & Test!" || s.GetHandle() != "@build-test" || s.GetAlias() != "build-test" || s.GetDisplayName() != "build-test" ||
		s.Ttl != "15m" || s.Status != "idle" || s.Meta != `{"project":"ant"}` || !strings.HasPrefix(s.CreatedAt, "2026-03-04 05:06:") || s.AutoForwardChat != 1 || s.SortIndex != nil {
		t.Errorf("%v", s)
	}
	chat := w.get(s.GetLinkedChatId())
	if chat.Name != "Build & Test!-Chat" || chat.Type != Chat || chat.GetRootDir() != "/src" || chat.GetHandle() != "@build-test-chat" ||
		chat.Meta != fmt.Sprintf(`{"auto_linked_terminal_id":%q,"auto_named":true}`, s.Id) {
		t.Errorf("%v", chat)
	}
	if w.get("@build-test").Id != s.Id {
		t.Error("not found by its handle")
	}
	if c := w.create("room", Chat); c.Handle != nil || c.LinkedChatId != nil || c.Meta != "{}" {
		t.Errorf("%v", c)
	}
	long := strings.Repeat("x", 40)
	a, b := w.create(long, Terminal), w.create("Привет", Terminal)
	if a.GetHandle() != "@"+long[:32] || w.get(a.GetLinkedChatId()).GetHandle() != "@"+long[:32]+"-2" || b.GetHandle() != "@session" {
		t.Errorf("%v %v", a.GetHandle(), b.GetHandle())
	}
	got, _ := w.events(0)
	if !slices.Equal(got, slices.Repeat([]string{"sessions_changed  []"}, 4)) {
		t.Errorf("%q", got)
	}
}

func TestNamesOfLiveSessionsAreUnique(t *testing.T) {
	w := newWorld(t)
	w.create("Room-Chat", Chat)
	_, err := w.CreateSession(t.Context(), &antv1.CreateSessionRequest{Name: "room", Type: Terminal})
	wantReason(t, "a terminal whose chat's name is taken", err, "NAME_TAKEN")
	w.wantNames("[Room-Chat]", "[]")
	if _, last := w.events(0); last != 1 {
		t.Error("a refused session was told of")
	}
	_, err = w.CreateSession(t.Context(), &antv1.CreateSessionRequest{Name: "ROOM-chat", Type: Agent})
	wantReason(t, "same name in another case", err, "NAME_TAKEN")
}

func TestOneOfManyGetsAName(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made, refused := 0, 0
	for i := range 64 {
		wg.Go(func() {
			name := "same"
			if i%2 == 1 {
				name = "SAME"
			}
			_, err := w.CreateSession(t.Context(), &antv1.CreateSessionRequest{Name: name, Type: Terminal})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else {
				wantReason(t, "create", err, "NAME_TAKEN")
				refused++
			}
		})
	}
	wg.Wait()
	if live, _ := w.names(); made != 1 || refused != 63 || len(live) != 2 {
		t.Errorf("%d made, %d refused, %v", made, refused, live)
	}
}

func TestRenameTakesTheChatAlong(t *testing.T) {
	w := newWorld(t)
	s := w.create("one", Terminal)
	chat := s.GetLinkedChatId()
	rename := func(id, name string) *antv1.Session {
		t.Helper()
		return w.update(&antv1.UpdateSessionRequest{Id: id, Name: proto.String(name)})
	}
	if s = rename(s.Id, "two"); s.Name != "two" || s.GetHandle() != "@one" || w.get(chat).Name != "two-Chat" {
		t.Errorf("%v %v", s, w.get(chat))
	}
	for _, name := range []string{"two-Chat", "two", "TWO"} { // each takes what the other lets go of
		if rename(s.Id, name); w.get(chat).Name != name+"-Chat" {
			t.Errorf("%v", w.get(chat))
		}
	}
	w.create("three-chat", Chat)
	_, err := w.UpdateSession(t.Context(), &antv1.UpdateSessionRequest{Id: s.Id, Name: proto.String("three")})
	wantReason(t, "the chat's new name is taken", err, "NAME_TAKEN")
	if w.get(s.Id).Name != "TWO" {
		t.Error("half a rename")
	}
	rename(chat, "my own")
	if rename(s.Id, "four"); w.get(chat).Name != "my own" {
		t.Error("a name that somebody gave was taken away")
	}
}

func TestRelinkArchivesTheOldChat(t *testing.T) {
	w := newWorld(t)
	s, room := w.create("term", Terminal), w.create("room", Chat)
	old := s.GetLinkedChatId()
	_, seq := w.events(0)
	s = w.update(&antv1.UpdateSessionRequest{Id: s.Id, LinkedChatId: text(room.Id)})
	if s.GetLinkedChatId() != room.Id || w.get(old).Archived != 1 {
		t.Errorf("%v, old chat %v", s, w.get(old))
	}
	if e, _ := w.events(seq); fmt.Sprint(e) != fmt.Sprintf("[sessions_changed  [%s]]", old) {
		t.Errorf("%v", e)
	}
	linked := func(chat string) int {
		var list []*Session
		if err := w.db.View(t.Context(), func(rd store.Reader) (err error) {
			list, err = w.LinkedTerminals(rd, chat)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if linked(room.Id) != 1 || linked(old) != 0 {
		t.Error("the index of linked chats is wrong")
	}
	w.archive(s.Id)
	if w.get(room.Id).Archived != 0 || linked(room.Id) != 0 {
		t.Error("a shared room was archived with a terminal, or the terminal still counts")
	}
	w.restore(s.Id)
	w.delete(room.Id, true)
	w.forgotten(room.Id)
	if linked(room.Id) != 0 || w.get(s.Id).LinkedChatId != nil {
		t.Error("linked with a chat that is no more")
	}
	for what, ref := range map[string]string{"unknown": "nope", "archived": old, "itself": s.Id} {
		_, err := w.UpdateSession(t.Context(), &antv1.UpdateSessionRequest{Id: s.Id, LinkedChatId: text(ref)})
		wantReason(t, what, err, "NO_SUCH_CHAT")
	}
	_, err := w.UpdateSession(t.Context(), &antv1.UpdateSessionRequest{Id: w.create("c", Chat).Id, LinkedChatId: null})
	wantReason(t, "not a terminal", err, "NOT_A_TERMINAL")
}

func TestArchiveAndRestoreGoTogether(t *testing.T) {
	w := newWorld(t)
	s := w.create("term", Terminal)
	chat := s.GetLinkedChatId()
	for _, first := range []string{s.Id, chat} {
		w.archive(first)
		if live, gone := w.names(); len(live) != 0 || len(gone) != 2 {
			t.Errorf("live %v, recoverable %v", live, gone)
		}
		if w.restore(first); w.get(s.Id).Archived != 0 || w.get(chat).Archived != 0 {
			t.Errorf("restoring %s brought back one", first)
		}
	}
	w.update(&antv1.UpdateSessionRequest{Id: s.Id, Archived: structpb.NewNumberValue(1)})
	if s = w.update(&antv1.UpdateSessionRequest{Id: s.Id, Archived: text("off")}); s.Archived != 0 || w.get(chat).Archived != 0 {
		t.Errorf("%v", s)
	}
	_, err := w.RestoreSession(t.Context(), &antv1.RestoreSessionRequest{Id: s.Id})
	wantReason(t, "restore of a live one", err, "SESSION_NOT_GONE")
}

func TestSoftDeleteFreesTheNameAndStaysRestorable(t *testing.T) {
	w := newWorld(t)
	first := w.create("term", Terminal)
	_, seq := w.events(0)
	w.delete(first.Id, false)
	if e, _ := w.events(seq); len(e) != 3 || !strings.HasPrefix(e[0], "session_deleted "+first.Id) ||
		e[2] != fmt.Sprintf("sessions_changed  [%s %s]", first.Id, first.GetLinkedChatId()) {
		t.Errorf("%q", e)
	}
	if g := w.get(first.Id); g.DeletedAt == nil {
		t.Errorf("%v", g)
	}
	second := w.create("term", Terminal)
	if second.GetHandle() != first.GetHandle() {
		t.Errorf("handle %s", second.GetHandle())
	}
	if got := w.get("@term"); got.Id != second.Id {
		t.Error("the handle leads to the deleted one")
	}
	for what, q := range map[string]func() error{
		"update": func() error {
			_, err := w.UpdateSession(t.Context(), &antv1.UpdateSessionRequest{Id: first.Id, Status: proto.String("x")})
			return err
		},
		"handle": func() error {
			_, err := w.SetHandle(t.Context(), &antv1.SetHandleRequest{Id: first.Id, Handle: text("y")})
			return err
		},
		"flag": func() error {
			_, err := w.SetCliFlag(t.Context(), &antv1.SetCliFlagRequest{Id: first.Id, CliFlag: text("pi")})
			return err
		},
		"writable": func() error {
			return w.db.View(t.Context(), func(rd store.Reader) error { return w.Writable(rd, first.Id) })
		},
	} {
		wantReason(t, what, q(), "SESSION_DELETED")
	}
	back := w.restore(first.Id)
	chat := w.get(back.GetLinkedChatId())
	if back.Name != "term (2)" || back.GetHandle() != "@term-2" || back.DeletedAt != nil || chat.DeletedAt != nil || chat.Name != "term (2)-Chat" {
		t.Errorf("%v\n%v", back, chat)
	}
}

func TestHardDeleteReadsAsGoneAtOnceAndGoesOn(t *testing.T) {
	w := newWorld(t)
	w.rest.fails = 3
	s := w.create("term", Terminal)
	chat := s.GetLinkedChatId()
	w.delete(chat, true) // takes the terminal along
	for _, id := range []string{s.Id, chat, "@term"} {
		_, err := w.GetSession(t.Context(), &antv1.GetSessionRequest{Id: id})
		wantReason(t, id, err, "SESSION_NOT_FOUND")
		_, err = w.DeleteSession(t.Context(), &antv1.DeleteSessionRequest{Id: id})
		wantReason(t, id, err, "SESSION_NOT_FOUND")
		_, err = w.RestoreSession(t.Context(), &antv1.RestoreSessionRequest{Id: id})
		wantReason(t, id, err, "SESSION_NOT_FOUND")
	}
	w.wantNames("[]", "[]")
	w.forgotten(s.Id, chat)
	w.create("term", Terminal)
}

func TestClearingAwayGoesOnAfterARestart(t *testing.T) {
	w := newWorld(t)
	w.rest.fails = 1 << 30
	s := w.create("room", Chat)
	w.delete(s.Id, true)
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.rest = &rest{changed: make(chan struct{}, 1)}
	w.open()
	w.forgotten(s.Id)
}

func TestNothingIsPurgedUnlessRetentionIsConfigured(t *testing.T) {
	w := newWorld(t)
	s := w.create("term", Terminal)
	w.delete(s.Id, false)
	kept := w.create("kept", Chat)
	w.archive(kept.Id)
	chatBack := w.restore(s.GetLinkedChatId())
	w.clock = w.clock.Add(1000 * time.Hour)
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.open()
	if _, gone := w.names(); len(gone) != 2 {
		t.Errorf("recoverable %v", gone)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.open(func(o *Options) { o.Retention = time.Hour })
	w.forgotten(s.Id)
	w.wantNames("["+chatBack.Name+"]", "[kept]")
}

func TestOrder(t *testing.T) {
	w := newWorld(t)
	a, b, c, d := w.create("a", Chat), w.create("b", Chat), w.create("c", Chat), w.create("d", Chat)
	w.wantNames("[d c b a]", "[]")
	put := func(ids ...string) {
		t.Helper()
		got(w.OrderSessions(t.Context(), &antv1.OrderSessionsRequest{Ids: ids}))(t)
	}
	put(b.Id, d.Id)
	w.wantNames("[b d c a]", "[]")
	put(a.Id)
	w.wantNames("[a b d c]", "[]")
	if g := w.get(d.Id); g.GetSortIndex() != 2 || w.get(c.Id).SortIndex != nil {
		t.Errorf("%v", g)
	}
	w.archive(b.Id)
	put(c.Id)
	w.wantNames("[c a d]", "[b]")
	w.restore(b.Id)
	w.wantNames("[c a d b]", "[]")
	for what, ids := range map[string][]string{"unknown": {"nope"}, "twice": {a.Id, a.Id}} {
		_, err := w.OrderSessions(t.Context(), &antv1.OrderSessionsRequest{Ids: ids})
		wantReason(t, what, err, "INVALID_ORDER")
	}
	got(w.OrderSessions(t.Context(), &antv1.OrderSessionsRequest{Reset_: true}))(t)
	w.wantNames("[b d c a]", "[]")
	if err := w.db.Update(t.Context(), func(tx store.Tx) error { return w.Touch(tx, a.Id, w.clock.Add(time.Hour)) }); err != nil {
		t.Fatal(err)
	}
	w.wantNames("[a b d c]", "[]")
}

func TestHandlesAndFlags(t *testing.T) {
	w := newWorld(t)
	a, b := w.create("a", Chat), w.create("b", Chat)
	handle := func(id string, v *structpb.Value, display string) (*antv1.SetHandleResponse, error) {
		return w.SetHandle(t.Context(), &antv1.SetHandleRequest{Id: id, Handle: v, DisplayName: display})
	}
	if h := got(handle(a.Id, text("james"), "James"))(t); h.GetHandle() != "@james" || h.GetDisplayName() != "James" {
		t.Errorf("%v", h)
	}
	_, err := handle(b.Id, text("@james"), "")
	wantReason(t, "taken", err, "HANDLE_TAKEN")
	got(handle(b.Id, text("@James"), ""))(t) // another one: handles are compared as they are
	if h := got(handle(a.Id, nil, ""))(t); h.GetHandle() != "@james" || h.DisplayName != nil {
		t.Errorf("%v", h)
	}
	if h := got(handle(a.Id, null, ""))(t); h.Handle != nil {
		t.Errorf("%v", h)
	}
	got(handle(b.Id, text("james"), ""))(t)
	for _, bad := range []*structpb.Value{text("@"), text("two words"), text("@everyone"), text(strings.Repeat("x", 65)), text("a@b"), yes} {
		_, err := handle(a.Id, bad, "")
		wantReason(t, bad.String(), err, "INVALID_FIELD")
	}
	cli := func(v *structpb.Value) (*antv1.SetCliFlagResponse, error) {
		return w.SetCliFlag(t.Context(), &antv1.SetCliFlagRequest{Id: a.Id, CliFlag: v})
	}
	w.update(&antv1.UpdateSessionRequest{Id: a.Id, Meta: text(`{"b":1}`)})
	if f := got(cli(text("qwen")))(t); f.GetCliFlag() != "qwen-cli" || w.get(a.Id).Meta != `{"agent_driver":"qwen-cli","b":1}` {
		t.Errorf("%v %v", f, w.get(a.Id))
	}
	if f := got(cli(null))(t); f.CliFlag != nil || w.get(a.Id).Meta != `{"b":1}` {
		t.Errorf("%v %v", f, w.get(a.Id))
	}
	_, err = cli(text("vim"))
	wantReason(t, "unknown program", err, "INVALID_CLI_FLAG")
}

func TestBadInputChangesNothing(t *testing.T) {
	w := newWorld(t)
	s := w.create("s", Chat)
	_, seq := w.events(0)
	deep := structpb.NewListValue(&structpb.ListValue{})
	for what, q := range map[string]*antv1.CreateSessionRequest{
		"no type": {Name: "x"}, "odd type": {Name: "x", Type: "Terminal"}, "long name": {Name: strings.Repeat("é", 201), Type: Chat},
		"control": {Name: "a\nb", Type: Chat}, "ttl": {Name: "x", Type: Chat, Ttl: "soon"}, "root": {Name: "x", Type: Chat, RootDir: strings.Repeat("/", 4097)},
		"meta": {Name: "x", Type: Chat, Meta: deep}, "meta text": {Name: "x", Type: Chat, Meta: text("[]")}, "large meta": {Name: "x", Type: Chat, Meta: text(`{"a":"` + strings.Repeat("x", metaMax) + `"}`)},
		"workspace": {Name: "x", Type: Chat, WorkspaceId: strings.Repeat("w", 201)},
	} {
		_, err := w.CreateSession(t.Context(), q)
		wantReason(t, what, err, "INVALID_FIELD")
	}
	_, err := w.CreateSession(t.Context(), &antv1.CreateSessionRequest{Name: " \t", Type: Chat})
	wantReason(t, "blank name", err, "NAME_REQUIRED")
	for what, q := range map[string]*antv1.UpdateSessionRequest{
		"ttl": {Ttl: proto.String("")}, "status": {Status: proto.String("")}, "archived": {Archived: text("maybe")}, "long memory": {LongMemory: structpb.NewNumberValue(2)},
		"root": {RootDir: yes}, "chat": {LinkedChatId: yes}, "meta": {Meta: no},
	} {
		q.Id = s.Id
		_, err := w.UpdateSession(t.Context(), q)
		wantReason(t, what, err, "INVALID_FIELD")
	}
	if e, _ := w.events(seq); len(e) != 0 || !proto.Equal(w.get(s.Id), s) {
		t.Errorf("told %v, now %v", e, w.get(s.Id))
	}
}
