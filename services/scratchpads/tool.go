package scratchpads

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
)

// ToolName is the name of the tool.
const ToolName = "scratchpad"

// Phases that the tool reports (anton.md 3).
const (
	phaseStart    = "scratchpad_start"
	phaseProgress = "scratchpad"
	phaseDone     = "scratchpad_done"
)

const (
	progressGap  = 250 * time.Millisecond
	viewShown    = 20_000          // characters that a model gets of a whole scratchpad
	showMost     = 60 << 10        // bytes of what people are shown
	cellPatience = 5 * time.Second // beyond the kernel's own, for a cell that is stopped to end
)

// ToolOptions say whose scratchpads a tool works with.
type ToolOptions struct {
	ProjectID      string
	ConversationID string
	// Pictures says that the model can see: what a cell draws is handed to it.
	Pictures bool
}

// Tool returns the tool with which an agent runs Python. A cell that it runs is
// shown to people (agent.Show) as JSON with the fields of antonv1.Cell.
func (r *Room) Tool(o ToolOptions) agent.Tool { return tool{r, o} }

type tool struct {
	room *Room
	opt  ToolOptions
}

// Narrates implements agent.Narrator.
func (tool) Narrates() {}

// Spec implements agent.Tool.
func (tool) Spec() agent.ToolSpec {
	return agent.ToolSpec{
		Name: ToolName,
		Description: "Run Python. A scratchpad is one long-lived process in the project's folder: variables, imports and open files stay from cell to cell. " +
			"Prefer a few cells in one scratchpad over one long program, and print what you need to know: you see what a cell prints and the value of its last line. " +
			"In a cell: display(x) shows tables, figures and images to the user; progress(message, percent) tells how far it is; sample(x) prints what a value looks like; " +
			"get_llm().complete(prompt) asks a model. A missing module is installed by itself. There is no input().",
		Schema: json.RawMessage(`{"type":"object","properties":{` +
			`"action":{"type":"string","enum":["exec","view","reset","remove","dump","install"],"description":"exec runs code; view shows all cells; dump shows them to the user as a notebook; ` +
			`reset forgets variables and cells; remove deletes the scratchpad; install adds packages"},` +
			`"name":{"type":"string","description":"Of the scratchpad; keep to one unless the work is really apart"},` +
			`"code":{"type":"string","description":"For exec"},` +
			`"packages":{"type":"array","items":{"type":"string"},"description":"For install, or installed before exec"},` +
			`"one_line_description":{"type":"string","description":"What the cell does, for the user"},` +
			`"estimated_execution_time_seconds":{"type":"number","minimum":0,"description":"Beyond twice this, and 30 s more at least, the cell is stopped; without it after 120 s"},` +
			`"confirm_new_scratchpad":{"type":"boolean","description":"Open another scratchpad beside those that there are"}},` +
			`"required":["action","name"],"additionalProperties":false}`),
	}
}

type toolInput struct {
	Action      string   `json:"action"`
	Name        string   `json:"name"`
	Code        string   `json:"code"`
	Packages    []string `json:"packages"`
	Description string   `json:"one_line_description"`
	Estimate    float64  `json:"estimated_execution_time_seconds"`
	Confirmed   bool     `json:"confirm_new_scratchpad"`
}

// Run implements agent.Tool.
func (t tool) Run(ctx context.Context, input json.RawMessage) (string, error) {
	var in toolInput
	if err := json.Unmarshal(input, &in); err != nil {
		return "", fmt.Errorf("the input is not as %s needs it: %w", ToolName, err)
	}
	in.Name = cmp.Or(strings.TrimSpace(in.Name), defaultName)
	at := agentAddress{name: in.Name, projectID: t.opt.ProjectID, conversation: t.opt.ConversationID}
	actions := map[string]struct {
		title string
		run   func(context.Context, agentAddress, toolInput) (string, error)
	}{
		"exec":    {cmp.Or(oneLine(in.Description), "Cell in "+in.Name), t.exec},
		"install": {"Installing " + strings.Join(in.Packages, ", "), t.install},
		"view":    {"Looking at " + in.Name, t.view},
		"dump":    {"Showing " + in.Name, t.dump},
		"reset":   {"Resetting " + in.Name, t.reset},
		"remove":  {"Removing " + in.Name, t.remove},
	}
	act, known := actions[in.Action]
	if !known {
		return "", fmt.Errorf("there is no action %q: use exec, view, reset, remove, dump or install", in.Action)
	}
	start := time.Now()
	agent.Report(ctx, agent.Progress{Phase: phaseStart, Message: act.title, ETA: seconds(in.Estimate)})
	text, err := act.run(ctx, at, in)
	agent.Report(ctx, agent.Progress{Phase: phaseDone, Message: act.title, ETA: time.Since(start)})
	var told *fault.Error
	if errors.As(err, &told) {
		err = errors.New(told.Message) // without the reason, which is for programs
	}
	return text, err
}

// seconds is an estimate; nonsense is none.
func seconds(s float64) time.Duration {
	if !(s > 0 && s < 1e6) {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

// ready opens the scratchpad if need be. One beside others has to be meant.
func (t tool) ready(ctx context.Context, at agentAddress, confirmed bool) error {
	if confirmed {
		_, _, err := t.room.start(ctx, at)
		return err
	}
	_, rec, err := t.room.find(ctx, at)
	if err != nil || rec != nil && rec.Open {
		return err
	}
	others, err := t.room.opened(ctx, t.opt.ProjectID, t.opt.ConversationID)
	if err != nil {
		return err
	}
	if len(others) > 0 {
		var names []string
		for _, rec := range others {
			names = append(names, fmt.Sprintf("%s (%d cells)", rec.Name, len(rec.Sizes)))
		}
		return fmt.Errorf("there is no scratchpad %q yet, and variables are not shared between scratchpads. There are: %s. "+
			"Use one of them, or repeat the call with confirm_new_scratchpad set to true", at.name, strings.Join(names, ", "))
	}
	_, _, err = t.room.start(ctx, at)
	return err
}

func (t tool) exec(ctx context.Context, at agentAddress, in toolInput) (string, error) {
	if strings.TrimSpace(in.Code) == "" {
		return "", errors.New("exec needs code")
	}
	if err := t.ready(ctx, at, in.Confirmed); err != nil {
		return "", err
	}
	x, err := t.room.execute(ctx, at, &antonv1.ExecuteCellRequest{Code: proto.String(in.Code), Description: middleOut(oneLine(in.Description), 500),
		EstimatedSeconds: seconds(in.Estimate).Seconds(), Packages: in.Packages})
	if err != nil {
		return "", err
	}
	c, err := t.await(ctx, x, in)
	if c != nil {
		agent.Show(ctx, show(at.name, c))
	}
	if err != nil {
		return "", err
	}
	if t.opt.Pictures {
		agent.Attach(ctx, drawn(c)...)
	}
	if c.Error != nil {
		return "", errors.New(cellText(c))
	}
	return cellText(c), nil
}

// await follows a cell to its end and passes on its signs of life. A turn that
// is stopped stops the cell: its error comes with what the cell left by then, or
// with nil if it did not end in time.
func (t tool) await(ctx context.Context, x *run, in toolInput) (*antonv1.Cell, error) {
	var last time.Time
	err := x.follow(ctx, func(e *antonv1.CellEvent) error {
		if p := e.GetProgress(); p != nil && time.Since(last) >= progressGap {
			last = time.Now()
			message := p.Message
			if p.Percent != nil {
				message = strings.TrimSpace(fmt.Sprintf("%s %.0f%%", message, *p.Percent))
			}
			agent.Report(ctx, agent.Progress{Phase: phaseProgress, Message: message, ETA: seconds(in.Estimate)})
		}
		return nil
	})
	if err == nil || ctx.Err() == nil {
		return x.last(), err
	}
	x.cancel(cancelled)
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), cellPatience)
	defer cancel()
	c, waited := x.cell(late)
	if waited != nil {
		t.room.opt.Log.WarnContext(ctx, "the cell of a stopped turn has not ended yet", "error", waited)
	}
	return c, err
}

func (t tool) install(ctx context.Context, at agentAddress, in toolInput) (string, error) {
	if len(in.Packages) == 0 {
		return "", errors.New("install needs packages")
	}
	if err := checkPackages(in.Packages); err != nil {
		return "", err
	}
	if err := t.ready(ctx, at, in.Confirmed); err != nil {
		return "", err
	}
	text, ok, err := t.room.install(ctx, at, in.Packages)
	if err == nil && !ok {
		err = errors.New(text)
	}
	return text, err
}

func (t tool) view(ctx context.Context, at agentAddress, _ toolInput) (string, error) {
	_, cells, err := t.room.allCells(ctx, at)
	if err != nil {
		return "", err
	}
	return middleOut(pageText(cells), viewShown), nil
}

func (t tool) dump(ctx context.Context, at agentAddress, _ toolInput) (string, error) {
	rec, cells, err := t.room.allCells(ctx, at)
	if err != nil {
		return "", err
	}
	book := markdown(rec.Name, cells)
	agent.Show(ctx, middleOut(book, showMost/4)) // characters of up to four bytes
	return middleOut(book, viewShown), nil
}

func (t tool) reset(ctx context.Context, at agentAddress, _ toolInput) (string, error) {
	_, rec, err := t.room.open(ctx, at)
	if err == nil {
		err = t.room.reset(ctx, rec)
	}
	return "Variables and cells are gone; packages are still there.", err
}

func (t tool) remove(ctx context.Context, at agentAddress, _ toolInput) (string, error) {
	proj, rec, err := t.room.known(ctx, at)
	if err == nil {
		err = t.room.cleanup(ctx, proj, rec)
	}
	return "The scratchpad is gone.", err
}

// shown is a cell as people see it in a conversation.
// compat: the first seven fields are those of anton.md 3.
type shown struct {
	Code          string       `json:"code"`
	Stdout        string       `json:"stdout"`
	Stderr        string       `json:"stderr"`
	Error         *string      `json:"error"`
	Description   string       `json:"description"`
	EstimatedTime string       `json:"estimated_time"`
	Logs          string       `json:"logs"`
	Outputs       []shownValue `json:"outputs"`
	Status        string       `json:"status"`
	Pad           string       `json:"pad"`
	Number        int32        `json:"number"`
	Started       string       `json:"started"`
	Duration      float64      `json:"duration"`
	Installed     []string     `json:"installed"`
	Notice        string       `json:"notice"`
}

type shownValue struct {
	Kind string            `json:"kind"`
	Data map[string]string `json:"data"`
	// Omitted are representations that are left out here: the cell has them.
	Omitted []string `json:"omitted,omitempty"`
}

// show is a cell as JSON of at most showMost bytes: displays are whole or named.
func show(pad string, c *antonv1.Cell) string {
	v := shown{Code: c.Code, Stdout: c.Stdout, Stderr: c.Stderr, Error: c.Error, Description: c.Description, EstimatedTime: c.EstimatedTime,
		Logs: c.Logs, Outputs: []shownValue{}, Status: c.Status, Pad: pad, Number: c.Number, Started: c.Started, Duration: c.Duration,
		Installed: c.Installed, Notice: c.Notice}
	if v.Installed == nil {
		v.Installed = []string{}
	}
	for most := stdoutShown; ; most /= 2 { // characters have up to six bytes in JSON
		v.Code, v.Stdout, v.Stderr, v.Logs = middleOut(c.Code, most), middleOut(c.Stdout, most), middleOut(c.Stderr, most), middleOut(c.Logs, most)
		if c.Error != nil {
			v.Error = proto.String(middleOut(*c.Error, most))
		}
		if size(v) <= showMost || most == 0 {
			break
		}
	}
	room := showMost - size(v)
	for _, o := range c.Outputs {
		value := shownValue{Kind: o.Kind, Data: map[string]string{}}
		for mime, data := range o.Data {
			if n := size(mime) + size(data) + 2; n < room-300 {
				value.Data[mime] = data
				room -= n
			} else {
				value.Omitted = append(value.Omitted, mime)
			}
		}
		slices.Sort(value.Omitted)
		if room -= 100; room < 0 {
			break
		}
		v.Outputs = append(v.Outputs, value)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "" // texts and numbers always encode
	}
	return string(b)
}

// size is that of a value as JSON, in bytes.
func size(v any) int {
	b, err := json.Marshal(v)
	if err != nil {
		return 0
	}
	return len(b)
}

// What a model that can see is shown of one cell.
const (
	picturesMost    = 3
	pictureBytesMax = 2 << 20
)

// drawn are the pictures of a cell.
func drawn(c *antonv1.Cell) (parts []agent.Part) {
	for _, o := range c.Outputs {
		for _, mime := range []string{"image/png", "image/jpeg", "image/gif", "image/webp"} {
			data, err := base64.StdEncoding.DecodeString(o.Data[mime])
			if err == nil && len(data) > 0 && len(data) <= pictureBytesMax && len(parts) < picturesMost {
				parts = append(parts, agent.Part{Image: &agent.Image{MIME: mime, Data: data}})
				break
			}
		}
	}
	return parts
}
