package blackbox

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	antv1 "anthill/gen/ant/v1"
)

func antTaskRoutes(e *everyRoute, conn grpc.ClientConnInterface) {
	c := antv1.NewTasksServiceClient(conn)
	room := str(e.s.newSession("tasks of both", "chat"), "id")
	const path = "/api/sessions/{session_id}/tasks"
	const one = path + "/{task_id}"
	made, err := c.CreateTask(e.s.call(), &antv1.CreateTaskRequest{SessionId: room, Title: "by grpc"})
	row := e.call("POST "+path, object{"title": "by rest"}, room)
	alike(e, row, made, err)
	id, other := made.GetTask().GetId(), str(row.created(), "task", "id")
	got, err := c.GetTask(e.s.call(), &antv1.GetTaskRequest{SessionId: room, TaskId: id})
	same(e, e.call("GET "+one, nil, room, id), got, err)
	upd, err := c.UpdateTask(e.s.call(), &antv1.UpdateTaskRequest{SessionId: room, TaskId: id, Status: proto.String("review"), Description: structpb.NewStringValue("d")})
	alike(e, e.call("PATCH "+one, object{"status": "review", "description": "d"}, room, other), upd, err)
	cl, err := c.ClaimTask(e.s.call(), &antv1.ClaimTaskRequest{SessionId: room, TaskId: id, By: "@ann", LeaseSeconds: proto.Int32(60)})
	alike(e, e.call("POST "+one+"/claim", object{"by": "@ann", "lease_seconds": 60}, room, other), cl, err)
	rel, err := c.ReleaseTask(e.s.call(), &antv1.ReleaseTaskRequest{SessionId: room, TaskId: id, By: "@ann"})
	alike(e, e.call("POST "+one+"/release", object{"by": "@ann"}, room, other), rel, err)
	gone, err := c.DeleteTask(e.s.call(), &antv1.DeleteTaskRequest{SessionId: room, TaskId: id})
	same(e, e.call("DELETE "+one, nil, room, other), gone, err)
	list, err := c.ListTasks(e.s.call(), &antv1.ListTasksRequest{SessionId: room})
	same(e, e.call("GET "+path, nil, room), list, err)
}

// task makes a task and returns its row.
func (s *server) task(room, title string) object {
	s.t.Helper()
	return s.post(room+"/tasks", object{"title": title}).created()["task"].(object)
}

// titles are those of a list of tasks, in its order.
func (s *server) titles(path string) (list []string) {
	s.t.Helper()
	for _, row := range s.get(path).ok()["tasks"].([]any) {
		list = append(list, str(row.(object), "title"))
	}
	return list
}

// taskKeys are the keys of a row: those of the reference, and of the lease.
var taskKeys = strings.Fields("id session_id created_by created_source assigned_to title description status file_refs " +
	"plan_id milestone_id acceptance_id created_at updated_at claimed_by claimed_until claim")

func sortedKeys(o object) []string { return slices.Sorted(maps.Keys(o)) }

func TestAntTaskRow(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("plan")
	codex := s.newSession("codex", "terminal")
	row := s.post(room+"/tasks", object{"title": " Book the ferry ", "description": "d", "created_by": codex["id"], "created_source": "hook",
		"plan_id": "p", "milestone_id": "m", "acceptance_id": "a", "status": "complete", "assigned_to": "@x"}).created()["task"].(object)
	want := slices.Sorted(slices.Values(taskKeys))
	if got := sortedKeys(row); !slices.Equal(got, want) {
		t.Errorf("keys %v, want %v", got, want)
	}
	for k, v := range map[string]any{"title": "Book the ferry", "description": "d", "created_by": "@codex", "created_source": "hook", "plan_id": "p",
		"milestone_id": "m", "acceptance_id": "a", "status": "proposed", "assigned_to": nil, "file_refs": "[]", "session_id": strings.TrimPrefix(room, "/api/sessions/"),
		"claimed_by": nil, "claimed_until": nil, "claim": 0.0} {
		if row[k] != v {
			t.Errorf("%s is %v, want %v", k, row[k], v)
		}
	}
	if !rowID.MatchString(str(row, "id")) || !rowTime.MatchString(str(row, "created_at")) || !rowTime.MatchString(str(row, "updated_at")) {
		t.Errorf("%v", row)
	}
	if plain := s.task(room, "x"); plain["created_by"] != nil || plain["created_source"] != "api" || plain["description"] != nil {
		t.Errorf("%v", plain)
	}
	path := room + "/tasks/" + str(row, "id")
	changed := s.patch(path, object{"status": "assigned", "assigned_to": "@codex", "title": "Fly", "description": "", "file_refs": []any{"a<b.md", object{"path": "c"}}}).ok()["task"].(object)
	for k, v := range map[string]any{"title": "Fly", "description": nil, "assigned_to": "@codex", "status": "assigned", "file_refs": `["a<b.md",{"path":"c"}]`, "plan_id": "p"} {
		if changed[k] != v {
			t.Errorf("changed: %s is %v, want %v", k, changed[k], v)
		}
	}
	if left := s.patch(path, object{}).ok()["task"].(object); !reflect.DeepEqual(left, changed) {
		t.Errorf("nothing was to be changed: %v", left)
	}
	cleared := s.patch(path, object{"assigned_to": nil, "file_refs": nil}).ok()["task"].(object)
	if cleared["assigned_to"] != nil || cleared["file_refs"] != "[]" || cleared["title"] != "Fly" || cleared["status"] != "assigned" {
		t.Errorf("cleared: %v", cleared)
	}
	if text := s.patch(path, object{"file_refs": `["x"]`}).ok(); str(text, "task", "file_refs") != `["x"]` {
		t.Errorf("%v", text)
	}
	for _, status := range strings.Fields("open complete proposed review deleted accepted to-be-assigned assigned") {
		if got := s.patch(path, object{"status": status}).ok(); str(got, "task", "status") != status {
			t.Errorf("%v, want %s", got, status)
		}
	}
}

func TestAntTaskListAndDelete(t *testing.T) {
	t.Parallel()
	s := start(t)
	room, other := s.chat("plan"), s.chat("other")
	var ids []string
	for i := range 7 {
		ids = append(ids, str(s.task(room, fmt.Sprint("t", i)), "id"))
	}
	if o := s.delete(room + "/tasks/" + ids[2]).ok(); !reflect.DeepEqual(o, object{"ok": true}) {
		t.Errorf("%v", o)
	}
	s.delete(room + "/tasks/" + ids[2]).ok() // again
	s.patch(room+"/tasks/"+ids[4], object{"status": "review"}).ok()
	s.patch(room+"/tasks/"+ids[6], object{"status": "review"}).ok()
	for query, want := range map[string]string{
		"": "t0 t1 t2 t3 t4 t5 t6", "?deleted=false": "t0 t1 t3 t4 t5 t6", "?deleted=true": "t0 t1 t2 t3 t4 t5 t6", "?status=review": "t4 t6",
		"?status=deleted": "t2", "?status=deleted&deleted=false": "", "?status=open": "", "?limit=2": "t0 t1",
	} {
		if got := s.titles(room + "/tasks" + query); strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", query, got, want)
		}
	}
	for _, filter := range []string{"", "&deleted=false", "&status=proposed"} {
		var paged []string
		query := "?limit=2" + filter
		for {
			o := s.get(room + "/tasks" + query).ok()
			for _, row := range o["tasks"].([]any) {
				paged = append(paged, str(row.(object), "title"))
			}
			if o["has_more"] != (o["newer"] != "") {
				t.Fatalf("%v", o)
			}
			if o["has_more"] != true {
				break
			}
			query = "?limit=2&cursor=" + str(o, "newer") + filter
		}
		if whole := s.titles(room + "/tasks?limit=1000" + filter); !slices.Equal(paged, whole) {
			t.Errorf("%q in pages %v, at once %v", filter, paged, whole)
		}
	}
	if got := s.titles(other + "/tasks"); len(got) != 0 {
		t.Errorf("of another room: %v", got)
	}
	back := s.patch(room+"/tasks/"+ids[2], object{"status": "accepted"}).ok()
	if str(back, "task", "status") != "accepted" || !slices.Contains(s.titles(room+"/tasks?deleted=false"), "t2") {
		t.Errorf("brought back: %v", back)
	}
	// They outlive a crash, and go with their room for good.
	before := string(s.get(room + "/tasks").body)
	s.kill()
	s.restart()
	if after := string(s.get(room + "/tasks").body); after != before {
		t.Errorf("after a crash:\n%s\nbefore:\n%s", after, before)
	}
	s.patch(room, object{"archived": true}).ok()
	s.post(room+"/tasks", object{"title": "x"}).refused(http.StatusConflict, "")
	s.patch(room+"/tasks/"+ids[0], object{"status": "open"}).refused(http.StatusConflict, "")
	s.post(room+"/tasks/"+ids[0]+"/claim", object{"by": "@a"}).refused(http.StatusConflict, "")
	s.delete(room+"/tasks/"+ids[0]).refused(http.StatusConflict, "")
	if after := string(s.get(room + "/tasks").body); after != before {
		t.Errorf("of an archived room:\n%s\nbefore:\n%s", after, before)
	}
	s.discard(room + "?hard=true")
	s.get(room+"/tasks").refused(http.StatusNotFound, "Session not found")
}

// Done when: a task is named by an unambiguous beginning of its id, in its own room alone.
func TestAntTaskPrefixes(t *testing.T) {
	t.Parallel()
	s := start(t)
	room, other := s.chat("plan"), s.chat("other")
	tasks := map[string]object{}
	byFirst := map[byte][]string{}
	for i := range 130 { // with 64 characters, two of them begin alike
		row := s.task(room, fmt.Sprint("t", i))
		tasks[str(row, "id")] = row
		byFirst[str(row, "id")[0]] = append(byFirst[str(row, "id")[0]], str(row, "id"))
	}
	stranger := str(s.task(other, "x"), "id")
	for first, ids := range byFirst {
		if len(ids) < 2 {
			continue
		}
		o := s.patch(room+"/tasks/"+string(first), object{"status": "open"}).refused(http.StatusConflict, "ambiguous task id prefix")
		matches := o["matches"].([]any)
		if len(matches) != min(len(ids), 10) {
			t.Errorf("%d matches of %d", len(matches), len(ids))
		}
		for _, m := range matches {
			m := m.(object)
			row := tasks[str(m, "id")]
			if !reflect.DeepEqual(m, object{"id": row["id"], "title": row["title"], "status": row["status"]}) {
				t.Errorf("%v, want %v", m, row)
			}
		}
		s.get(room+"/tasks/"+string(first)).refused(http.StatusConflict, "ambiguous task id prefix")
		s.post(room+"/tasks/"+string(first)+"/claim", object{"by": "@a"}).refused(http.StatusConflict, "ambiguous task id prefix")
		_, err := antv1.NewTasksServiceClient(s.dial()).DeleteTask(s.call(), &antv1.DeleteTaskRequest{SessionId: strings.TrimPrefix(room, "/api/sessions/"), TaskId: string(first)})
		if reason, meta := reasonOf(err); reason != "TASK_AMBIGUOUS" || !strings.Contains(meta["matches"], ids[0]) && len(ids) <= 10 {
			t.Errorf("%v %v", err, meta)
		}
		break
	}
	for id := range tasks {
		if o := s.patch(room+"/tasks/"+id[:8], object{"status": "review"}).ok(); str(o, "task", "id") != id {
			t.Errorf("%v, want %s", o, id)
		}
		break
	}
	before := string(s.get(other + "/tasks").body)
	for _, ref := range []string{stranger, stranger[:12], "no-such-task", strings.Repeat("x", 100), "%01"} {
		s.get(room+"/tasks/"+ref).refused(http.StatusNotFound, "not found")
		s.patch(room+"/tasks/"+ref, object{"status": "open"}).refused(http.StatusNotFound, "not found")
		s.delete(room+"/tasks/"+ref).refused(http.StatusNotFound, "not found")
		s.post(room+"/tasks/"+ref+"/claim", object{"by": "@a"}).refused(http.StatusNotFound, "not found")
		s.post(room+"/tasks/"+ref+"/release", object{"by": "@a"}).refused(http.StatusNotFound, "not found")
	}
	if after := string(s.get(other + "/tasks").body); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
}

func TestAntTasksBadInput(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("plan")
	id := str(s.task(room, "t"), "id")
	path := room + "/tasks/" + id
	before := string(s.get(room + "/tasks").body)
	long := strings.Repeat("x", 257)
	for _, tc := range []struct {
		method, path string
		body         any
		status       int
		words        string
	}{
		{"GET", "/api/sessions/nothing/tasks", nil, 404, "Session not found"},
		{"POST", "/api/sessions/nothing/tasks", object{"title": "x"}, 404, "Session not found"},
		{"PATCH", "/api/sessions/nothing/tasks/" + id, object{"status": "open"}, 404, "Session not found"},
		{"POST", room + "/tasks", object{}, 400, "title required"},
		{"POST", room + "/tasks", object{"title": "  "}, 400, "title required"},
		{"POST", room + "/tasks", object{"title": 7}, 400, ""},
		{"POST", room + "/tasks", object{"title": strings.Repeat("ü", 501)}, 400, "title is too long: 500 characters at most"},
		{"POST", room + "/tasks", object{"title": "x", "description": strings.Repeat("x", 16<<10+1)}, 400, "description is too long: 16 KiB at most"},
		{"POST", room + "/tasks", object{"title": "x", "created_by": long}, 400, "created_by is too long: 256 bytes at most"},
		{"POST", room + "/tasks", object{"title": "x", "plan_id": long}, 400, "plan_id is too long: 256 bytes at most"},
		{"PATCH", path, object{"status": "done"}, 400, "status is one of proposed, accepted, to-be-assigned, assigned, review, complete, deleted, open"},
		{"PATCH", path, object{"status": ""}, 400, ""},
		{"PATCH", path, object{"status": "Open"}, 400, ""},
		{"PATCH", path, object{"title": nil}, 400, "title required"},
		{"PATCH", path, object{"title": []int{1}}, 400, "title must be a text, or null"},
		{"PATCH", path, object{"assigned_to": 7}, 400, "assigned_to must be a text, or null"},
		{"PATCH", path, object{"assigned_to": long}, 400, ""},
		{"PATCH", path, object{"description": true}, 400, ""},
		{"PATCH", path, object{"file_refs": "x"}, 400, ""},
		{"PATCH", path, object{"file_refs": "null"}, 400, ""},
		{"PATCH", path, object{"file_refs": []any{7}}, 400, ""},
		{"PATCH", path, object{"file_refs": object{}}, 400, ""},
		{"PATCH", path, object{"file_refs": slices.Repeat([]string{"x"}, 101)}, 400, ""},
		{"PATCH", path, object{"file_refs": []string{strings.Repeat("x", 16<<10)}}, 400, ""},
		{"PATCH", path, object{"claim": 1, "status": "open"}, 409, "claim 1 is over: claim the task again first"},
		{"GET", room + "/tasks?limit=0", nil, 400, "limit is 1 to 1000"},
		{"GET", room + "/tasks?limit=1001", nil, 400, "limit is 1 to 1000"},
		{"GET", room + "/tasks?limit=x", nil, 400, ""},
		{"GET", room + "/tasks?cursor=x", nil, 400, "cursor is none of this list"},
		{"GET", room + "/tasks?status=done", nil, 400, ""},
		{"GET", room + "/tasks?deleted=perhaps", nil, 400, ""},
		{"POST", path + "/claim", object{}, 400, "by required"},
		{"POST", path + "/claim", object{"by": " "}, 400, "by required"},
		{"POST", path + "/claim", object{"by": long}, 400, "by is too long: 256 bytes at most"},
		{"POST", path + "/claim", object{"by": "@a", "lease_seconds": 0}, 400, "lease_seconds is 1 to 86400"},
		{"POST", path + "/claim", object{"by": "@a", "lease_seconds": -1}, 400, "lease_seconds is 1 to 86400"},
		{"POST", path + "/claim", object{"by": "@a", "lease_seconds": 86401}, 400, "lease_seconds is 1 to 86400"},
		{"POST", path + "/claim", object{"by": "@a", "lease_seconds": 1e12}, 400, ""},
		{"POST", path + "/claim", object{"by": "@a", "lease_seconds": "soon"}, 400, ""},
		{"POST", path + "/release", object{}, 400, "by required"},
		{"POST", path + "/release", object{"by": "@a", "claim": 7}, 409, ""},
	} {
		s.do(tc.method, tc.path, tc.body).refused(tc.status, tc.words)
	}
	if after := string(s.get(room + "/tasks").body); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
	c, room := antv1.NewTasksServiceClient(s.dial()), strings.TrimPrefix(room, "/api/sessions/")
	_, err := c.CreateTask(s.call(), &antv1.CreateTaskRequest{SessionId: room})
	wantCode(t, "no title", err, codes.InvalidArgument)
	_, err = c.GetTask(s.call(), &antv1.GetTaskRequest{SessionId: room, TaskId: "nothing"})
	wantCode(t, "no task", err, codes.NotFound)
	_, err = c.UpdateTask(s.call(), &antv1.UpdateTaskRequest{SessionId: room, TaskId: id, Status: proto.String("done")})
	wantCode(t, "status", err, codes.InvalidArgument)
	_, err = c.ClaimTask(s.call(), &antv1.ClaimTaskRequest{SessionId: room, TaskId: id})
	wantCode(t, "nobody", err, codes.InvalidArgument)
	_, err = c.ListTasks(s.call(), &antv1.ListTasksRequest{SessionId: "nothing"})
	wantCode(t, "no room", err, codes.NotFound)
}

// Done when: a change raises its event exactly once per socket, with the documented
// keys, to its own room alone.
func TestAntTaskEvents(t *testing.T) {
	t.Parallel()
	s := start(t)
	ids := []string{s.chatRoom("plan"), s.chatRoom("other")}
	one, two, both := s.socket(), s.socket(), s.socket()
	one.join(ids[0])
	two.join(ids[1])
	both.join(ids[0])
	both.join(ids[1])
	lines := s.events("?session=" + ids[0])
	want := map[string][]string{}
	for _, id := range ids {
		room := "/api/sessions/" + id
		expect := func(typ string, row object) {
			text := typ + " " + str(row, "status") + " " + fmt.Sprint(row["claim"], row["claimed_by"])
			if typ == "task_deleted" {
				text = typ + " " + str(row, "id")
			}
			want[id] = append(want[id], text)
		}
		row := s.task(room, "t")
		path := room + "/tasks/" + str(row, "id")
		expect("task_created", row)
		expect("task_updated", s.patch(path, object{"status": "accepted"}).ok()["task"].(object))
		s.patch(path, object{"status": "accepted"}).ok() // no change, no event
		expect("task_updated", s.post(path+"/claim", object{"by": "@a"}).ok()["task"].(object))
		s.post(path+"/claim", object{"by": "@b"}).refused(http.StatusConflict, "")
		expect("task_updated", s.post(path+"/release", object{"by": "@a"}).ok()["task"].(object))
		s.post(path+"/release", object{"by": "@a"}).ok()
		s.delete(path).ok()
		expect("task_deleted", row)
		s.delete(path).ok()
		expect("task_updated", s.patch(path, object{"status": "open"}).ok()["task"].(object))
		s.patch(path, object{"status": "deleted"}).ok()
		expect("task_deleted", row)
		s.speak(id, "end")
	}
	for name, tc := range map[string]struct {
		next func() object
		of   []string
	}{
		"the first room": {one.next, ids[:1]}, "the second room": {two.next, ids[1:]}, "both rooms": {both.next, ids},
		"server-sent events": {func() object {
			for {
				if e := lines.next(); e.data != "" {
					return decode[object](t, []byte(e.data))
				}
			}
		}, ids[:1]},
	} {
		got := map[string][]string{}
		for ends := 0; ends < len(tc.of); {
			m := tc.next()
			if m["type"] == "message_created" {
				ends++
			}
			if text := taskEventText(t, m); text != "" {
				got[str(m, "sessionId")] = append(got[str(m, "sessionId")], text)
			}
		}
		for _, id := range ids {
			if slices.Contains(tc.of, id) && !slices.Equal(got[id], want[id]) || !slices.Contains(tc.of, id) && len(got[id]) > 0 {
				t.Errorf("%s: got %v, want %v", name, got[id], want[id])
			}
		}
	}
}

// taskEventText is an event of a task in short, with its keys checked; empty: it is another.
func taskEventText(t *testing.T, m object) string {
	t.Helper()
	typ, keys := str(m, "type"), []string{"type", "room", "seq", "epoch", "sessionId"}
	switch typ {
	case "task_created", "task_updated":
		keys = append(keys, "task")
	case "task_deleted":
		keys = append(keys, "taskId")
	default:
		return ""
	}
	if got := sortedKeys(m); !slices.Equal(got, slices.Sorted(slices.Values(keys))) {
		t.Errorf("keys of %s: %v", typ, got)
	}
	if typ == "task_deleted" {
		return typ + " " + str(m, "taskId")
	}
	row := m["task"].(object)
	if got := sortedKeys(row); !slices.Equal(got, slices.Sorted(slices.Values(taskKeys))) {
		t.Errorf("keys of the task of %s: %v", typ, got)
	}
	return typ + " " + str(row, "status") + " " + fmt.Sprint(row["claim"], row["claimed_by"])
}

// Guests make tasks and work on them under their own names; they destroy nothing.
func TestAntTasksOfGuests(t *testing.T) {
	t.Parallel()
	s := start(t, withKey(apiKey))
	room := s.chat("plan")
	id := strings.TrimPrefix(room, "/api/sessions/")
	guest := func(handle, kind string) http.Header {
		token := str(s.exchange(str(s.invite(id, object{}), "id"), id, object{"kind": kind, "handle": handle}), "token")
		return headers("Authorization", "Bearer "+token)
	}
	gus, eve, reader := guest("gus", "cli"), guest("eve", "cli"), guest("web", "web")
	foreign := room + "/tasks/" + str(s.task(room, "theirs"), "id")
	made := s.do(http.MethodPost, room+"/tasks", object{"title": "mine", "created_by": "@ann"}, gus).created()["task"].(object)
	mine := room + "/tasks/" + str(made, "id")
	if made["created_by"] != "@gus" {
		t.Errorf("%v", made)
	}
	for _, tc := range []struct {
		who          http.Header
		method, path string
		body         any
		status       int
	}{
		{reader, "GET", foreign, nil, 200}, {reader, "POST", room + "/tasks", object{"title": "x"}, 403}, {reader, "POST", mine + "/claim", object{}, 403},
		{gus, "PATCH", foreign, object{"status": "accepted", "assigned_to": "@gus"}, 200}, {gus, "PATCH", foreign, object{"title": "x"}, 403},
		{gus, "PATCH", foreign, object{"description": nil}, 403}, {gus, "PATCH", foreign, object{"file_refs": nil}, 403}, {gus, "PATCH", foreign, object{"status": "deleted"}, 403},
		{gus, "PATCH", mine, object{"title": "still mine", "description": "d", "file_refs": []string{"x"}}, 200}, {eve, "PATCH", mine, object{"title": "eve's"}, 403},
		{gus, "DELETE", mine, nil, 403}, {gus, "PATCH", mine, object{"status": "deleted"}, 403},
		{gus, "POST", foreign + "/claim", object{"by": "@ann"}, 200}, {eve, "POST", foreign + "/claim", object{"by": "@gus"}, 409},
		{eve, "POST", foreign + "/claim", object{"by": "@gus", "force": true}, 403}, {eve, "POST", foreign + "/release", object{"by": "@gus"}, 409},
		{eve, "POST", foreign + "/release", object{"force": true}, 403}, {eve, "PATCH", foreign, object{"status": "complete"}, 409},
		{gus, "PATCH", foreign, object{"status": "complete"}, 200}, {eve, "GET", "/api/sessions/other/tasks", nil, 403},
	} {
		if a := s.do(tc.method, tc.path, tc.body, tc.who); a.status != tc.status {
			t.Errorf("%v of %v: want %d", a, tc.body, tc.status)
		}
	}
	s.delete(mine).ok()
	if a := s.do(http.MethodPatch, mine, object{"status": "open"}, gus); a.status != http.StatusForbidden {
		t.Errorf("%v", a)
	}
	o := s.get(room + "/tasks").ok()["tasks"].([]any)
	if title, status := str(o[1].(object), "title"), str(o[1].(object), "status"); len(o) != 2 || title != "still mine" || status != "deleted" {
		t.Errorf("%v", o)
	}
}

func TestAntTasksCommand(t *testing.T) {
	t.Parallel()
	s := start(t)
	room := s.chat("Plan")
	run := func(args ...string) (out, errs string, code int) {
		t.Helper()
		return command(t, s.environ(), "", append([]string{"tasks", "--server", s.addr}, args...)...)
	}
	good := func(args ...string) string {
		t.Helper()
		out, errs, code := run(args...)
		if code != 0 || errs != "" {
			t.Fatalf("tasks %v: %d %s", args, code, errs)
		}
		return strings.TrimSpace(out)
	}
	if out := good("plan"); out != "" {
		t.Errorf("no tasks: %q", out)
	}
	id := good("add", "plan", "Book", "the ferry\x1b[31m", "--as", "@ann", "--description", "for two")
	row := s.get(room + "/tasks/" + id).ok()["task"].(object)
	if row["created_by"] != "@ann" || row["title"] != "Book the ferry\x1b[31m" || row["description"] != "for two" || row["created_source"] != "cli" {
		t.Errorf("%v", row)
	}
	if out := good("claim", "plan", id[:8], "--as", "@codex", "--lease", "1h"); !strings.Contains(out, id[:8]+" is yours, @codex, until ") {
		t.Errorf("%q", out)
	}
	out, errs, code := run("claim", "plan", id, "--as", "@bob")
	if code == 0 || out != "" || !strings.Contains(errs, "@codex holds this task until") || !strings.Contains(errs, "--force") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	lines := strings.Split(good("plan"), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "ID ") || !strings.Contains(lines[1], "@codex") || !strings.HasPrefix(lines[1], id[:8]) || strings.Contains(lines[1], "\x1b") {
		t.Errorf("%q", lines)
	}
	if got := decode[object](t, []byte(good("claim", "plan", id, "--as", "@bob", "--force", "--json"))); got["claimed_by"] != "@bob" || got["claim"] != 2.0 {
		t.Errorf("%v", got)
	}
	if out := good("release", "plan", id, "--as", "@bob"); out != id[:8]+" is free" {
		t.Errorf("%q", out)
	}
	if out := good("assign", "plan", id, "@codex"); out != id[:8]+" is assigned @codex" {
		t.Errorf("%q", out)
	}
	if out := good("assign", "plan", id, ""); out != id[:8]+" is to-be-assigned" {
		t.Errorf("%q", out)
	}
	if out := good("done", "plan", id); out != id[:8]+" is complete" {
		t.Errorf("%q", out)
	}
	if out := good("delete", "plan", id); out != id[:8]+" is deleted" {
		t.Errorf("%q", out)
	}
	if out := good("plan"); out != "" {
		t.Errorf("deleted ones are not listed: %q", out)
	}
	for _, flag := range [][]string{{"--all"}, {"--status", "deleted"}} {
		if got := decode[object](t, []byte(good(append(flag, "plan", "--json")...))); got["id"] != id {
			t.Errorf("%v: %v", flag, got)
		}
	}
	for range 64 {
		s.task(room, "x")
	}
	for args, want := range map[string]string{
		"nowhere": "there is no room", "done plan nothing": "'anthill tasks --all plan' lists", "plan --status nothing": "status is one of proposed",
		"claim plan " + id + " --lease 0s": "--lease must be", "add plan": "requires at least 2 arg", "claim plan " + id: "give it another status", "": "accepts 1 arg",
	} {
		if out, errs, code := run(strings.Fields(args)...); code == 0 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("tasks %s: %d %q %q, want %q", args, code, out, errs, want)
		}
	}
	first := map[byte]bool{}
	for _, row := range s.get(room + "/tasks").ok()["tasks"].([]any) {
		id := str(row.(object), "id")
		if !first[id[0]] {
			first[id[0]] = true
			continue
		}
		if _, errs, code := run("done", "plan", id[:1]); code == 0 || !strings.Contains(errs, "give more of the id") || !strings.Contains(errs, "\n  "+id[:1]) {
			t.Errorf("%d %q", code, errs)
		}
		break
	}
}
