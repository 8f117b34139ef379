package blackbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	antv1 "anthill/gen/ant/v1"
)

// fakeAgent is the program that plays agent CLIs (see fakeagent), built once.
var fakeAgent = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "fakeagent")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "anthill/cmd/anthill/blackbox/fakeagent").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build fakeagent: %w\n%s", err, out)
	}
	return path, nil
})

// played is an agent CLI that the fake plays: its mode, its driver, and the keys
// that deny a permission.
type played struct {
	mode, driver string
	deny         []string
}

var playedCLIs = []played{
	{"claude", "claude-code", []string{"down", "down", "enter"}},
	{"codex", "codex-cli", []string{"down", "down", "enter"}},
	{"gemini", "gemini-cli", []string{"down", "down", "enter"}},
}

// cli is a terminal in which the fake plays an agent.
type cli struct {
	*server
	played
	id, chat string
	log      string
}

// noted is a line of the fake's log.
type noted struct {
	Event, Key, Text, What, About, Label string
	Index                                int
}

// play makes a terminal in which an agent runs, and waits until it was recognised.
func (s *server) play(p played, args ...string) *cli {
	s.t.Helper()
	program, err := fakeAgent()
	if err != nil {
		s.t.Fatal(err)
	}
	row := s.newSession(p.mode, "terminal")
	c := &cli{server: s, played: p, id: str(row, "id"), chat: str(row, "linked_chat_id"), log: filepath.Join(s.user, p.mode+".log")}
	command := append([]string{program, p.mode, c.log}, args...)
	if o := s.post("/api/sessions/"+c.id+"/terminal/start", object{"command": command}).ok(); o["live"] != true {
		s.t.Fatalf("it does not run: %v", o)
	}
	s.eventually(p.driver+" is recognised", func() bool {
		return s.get("/api/sessions/" + c.id).ok()["cli_flag"] == p.driver
	})
	return c
}

// in is the terminal as seen from a subtest.
func (c *cli) in(s *server) *cli {
	d := *c
	d.server = s
	return &d
}

// notes is what the fake has noted so far.
func (c *cli) notes() (all []noted) {
	c.t.Helper()
	b, err := os.ReadFile(c.log)
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		var n noted
		if err := json.Unmarshal(line, &n); err != nil {
			c.t.Fatalf("%s: %v", line, err)
		}
		all = append(all, n)
	}
	return all
}

// submit types a line for the agent, as a person would.
func (c *cli) submit(line string) {
	c.t.Helper()
	c.post("/api/sessions/"+c.id+"/terminal/input", object{"data": line + "\r"}).ok()
}

// asked has the agent ask something, and returns it as it stands in the attention list.
func (c *cli) asked(line string) object {
	c.t.Helper()
	c.submit(line)
	return c.waiting()
}

// waiting is what waits in the terminal, once something does.
func (c *cli) waiting() (item object) {
	c.t.Helper()
	c.eventually("the prompt is in the attention list", func() bool {
		items := c.get("/api/attention?session_id=" + c.id).ok()["items"].([]any)
		if len(items) > 1 {
			c.t.Fatalf("one prompt is listed as %d: %v", len(items), items)
		}
		if len(items) == 1 {
			item = items[0].(object)
		}
		return item != nil
	})
	return item
}

// decided waits for the n-th decision of the fake, and returns it with the keys and
// texts that it took since it asked.
func (c *cli) decided(n int) (d noted, keys []string) {
	c.t.Helper()
	defer func() {
		if c.t.Failed() {
			c.t.Logf("what %s noted: %v", c.mode, c.notes())
		}
	}()
	c.eventually("the agent takes an answer", func() bool {
		seen := 0
		keys = nil
		for _, one := range c.notes() {
			switch one.Event {
			case "shown":
				keys = nil
			case "key":
				keys = append(keys, one.Key)
			case "text":
				keys = append(keys, one.Text)
			case "decided":
				if seen++; seen == n {
					d = one
					return true
				}
			}
		}
		return false
	})
	return d, keys
}

// quiet checks that the fake took no key since its last decision.
func (c *cli) quiet() {
	c.t.Helper()
	all := c.notes()
	if n := len(all); n == 0 || all[n-1].Event != "decided" {
		c.t.Errorf("keys came that nobody meant: %v", all[max(0, len(all)-8):])
	}
}

// settled waits until nothing waits any more, and the agent is ready again.
func (c *cli) settled() {
	c.t.Helper()
	c.eventually("the agent is ready again", func() bool {
		o := c.get("/api/sessions/" + c.id + "/status").ok()
		st, _ := o["agent_status"].(object)
		return o["needs_input"] == false && st != nil && st["state"] == "ready"
	})
}

// verdict is what became of an answer.
type verdict struct {
	door   string
	status int // as over REST
	by, at string
	err    error // of the call itself
}

// door is a way to answer: with approve, deny, or an index.
type door struct {
	name   string
	answer func(c *cli, item object, choice, by string) verdict
}

var doors = []door{{"REST", byREST}, {"message", byMessage}, {"gRPC", byGRPC}}

func byREST(c *cli, item object, choice, by string) verdict {
	a, err := c.try(http.MethodPost, "/api/attention/"+str(item, "id")+"/answer", object{"choice": choice, "answered_by": by})
	return verdictOf("REST", a, err)
}

// byMessage answers as clients of rooms do, in the chat that shows the prompt.
func byMessage(c *cli, item object, choice, by string) verdict {
	content := object{"type": choice, "event_id": item["event_id"]}
	if choice != "approve" && choice != "deny" && choice != "abort" {
		content["type"], content["choice"] = "select", object{"index": json.Number(choice)}
	}
	text, err := json.Marshal(content)
	if err != nil {
		return verdict{door: "message", err: err}
	}
	a, err := c.try(http.MethodPost, "/api/sessions/"+str(item, "event_chat_id")+"/messages",
		object{"msg_type": "agent_response", "content": string(text), "sender_id": by})
	return verdictOf("message", a, err)
}

func verdictOf(door string, a answer, err error) verdict {
	v := verdict{door: door, status: a.status, err: err}
	var o struct {
		By string `json:"answered_by"`
		At string `json:"answered_at"`
	}
	if err == nil && json.Unmarshal(a.body, &o) == nil {
		v.by, v.at = o.By, o.At
	}
	return v
}

// restOf is what REST says where gRPC says so.
var restOf = map[codes.Code]int{codes.OK: http.StatusOK, codes.FailedPrecondition: http.StatusConflict, codes.InvalidArgument: http.StatusBadRequest,
	codes.NotFound: http.StatusNotFound}

func byGRPC(c *cli, item object, choice, by string) verdict {
	v, err := antv1.NewAttentionServiceClient(c.dial()).AnswerAttention(c.call(), &antv1.AnswerAttentionRequest{Id: str(item, "id"), Choice: choice, AnsweredBy: by})
	out := verdict{door: "gRPC", status: restOf[status.Code(err)], by: v.GetAnsweredBy(), at: v.GetAnsweredAt()}
	switch reason, meta := reasonOf(err); reason {
	case "PROMPT_ANSWERED":
		out.by, out.at = meta["answered_by"], meta["answered_at"]
	case "PROMPT_GONE":
		out.status = http.StatusGone
	}
	if out.status == 0 {
		out.err = err
	}
	return out
}
