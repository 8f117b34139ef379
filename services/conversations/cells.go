package conversations

import (
	"encoding/json"
	"strings"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
)

// cellInput is what a call of the scratchpad asks for.
type cellInput struct {
	Action string `json:"action"`
	Name   string `json:"name"`
	Code   string `json:"code,omitempty"`
}

func readCell(call agent.ToolCall) (in cellInput) {
	if call.Name != scratchpadTool || json.Unmarshal([]byte(call.Input), &in) != nil {
		return cellInput{}
	}
	return in
}

// runs says that the call runs code, and so shows as a cell.
func (in cellInput) runs() bool { return in.Action == "exec" && in.Code != "" }

// codeInput is the call that a cell came from.
func codeInput(it *antonv1.CodeItem) string {
	b, err := json.Marshal(cellInput{Action: "exec", Name: it.Pad, Code: it.Code})
	if err != nil {
		return "{}" // strings always encode
	}
	return string(b)
}

// openCode begins the item of a cell. Callers hold mu.
func (c *recorder) openCode(call agent.ToolCall, in cellInput) error {
	if err := c.openItem(codeItem, in.Name, call.ID); err != nil {
		return err
	}
	i := int32(len(c.fold.items) - 1)
	if err := c.emit(&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_CodeInProgress{
		CodeInProgress: &antonv1.CodeInProgress{OutputIndex: i}}}); err != nil {
		return err
	}
	err := c.inPieces(in.Code, func(delta string) *antonv1.ResponseEvent {
		return &antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_CodeDelta{
			CodeDelta: &antonv1.CodeDelta{OutputIndex: i, Delta: delta}}}
	})
	if err != nil {
		return err
	}
	if err := c.emit(&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_CodeDone{
		CodeDone: &antonv1.CodeDone{OutputIndex: i}}}); err != nil {
		return err
	}
	return c.emit(&antonv1.ResponseEvent{Event: &antonv1.ResponseEvent_CodeInterpreting{
		CodeInterpreting: &antonv1.CodeInterpreting{OutputIndex: i}}})
}

// cellResult shows what came of a call that ran code or dumped a pad: the cell
// as the scratchpad gave it, or the text. Callers hold mu.
func (c *recorder) cellResult(call agent.ToolCall, r agent.ToolResult) error {
	in := readCell(call)
	if in.Action != "exec" && in.Action != "dump" {
		return nil
	}
	t := &antonv1.Thought{ThoughtRole: "thought.scratchpad.result", Content: r.View, ToolUseId: call.ID,
		ToolName: call.Name, ToolAction: in.Action}
	switch {
	case in.Action == "exec":
		t.Content, t.CellStatus = shownCell(in, r)
	case t.Content == "":
		t.Content = r.Content
	}
	return c.think(t)
}

// shownCell is a cell as JSON, with its status. One that never came to run has
// the reason as its error.
func shownCell(in cellInput, r agent.ToolResult) (shown, status string) {
	if status := cellStatus(r); status != "" {
		return r.View, status
	}
	cell := struct {
		Code          string  `json:"code"`
		Stdout        string  `json:"stdout"`
		Stderr        string  `json:"stderr"`
		Error         *string `json:"error"`
		Description   string  `json:"description"`
		EstimatedTime string  `json:"estimated_time"`
		Logs          string  `json:"logs"`
	}{Code: clip(in.Code, contentMax/8)} // a byte has up to six in JSON
	text := clip(strings.ToValidUTF8(r.Content, "\uFFFD"), 4<<10)
	if status = "ok"; r.IsError {
		status, cell.Error = "error", &text
	} else {
		cell.Stdout = text
	}
	b, err := json.Marshal(cell)
	if err != nil {
		return text, status // texts always encode
	}
	return string(b), status
}

// cellStatus is that of the cell which a tool shows; "" if it shows none.
func cellStatus(r agent.ToolResult) string {
	var cell struct {
		Status string `json:"status"`
	}
	if json.Unmarshal([]byte(r.View), &cell) != nil {
		return ""
	}
	return cell.Status
}
