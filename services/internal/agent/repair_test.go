package agent

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
)

func TestRepair(t *testing.T) {
	user := Message{Role: RoleUser, Text: "hi"}
	call := Message{Role: RoleAssistant, Calls: []ToolCall{{ID: "a", Name: "x", Input: "{}"}, {ID: "b", Name: "x", Input: "{}"}}}
	results := func(ids ...string) Message {
		m := Message{Role: RoleTool}
		for _, id := range ids {
			m.Results = append(m.Results, ToolResult{ID: id, Content: id})
		}
		return m
	}
	lost := func(id string) ToolResult { return ToolResult{ID: id, Content: interrupted, IsError: true} }
	for name, c := range map[string]struct{ in, want []Message }{
		"nothing":            {nil, []Message{}},
		"whole":              {[]Message{user, call, results("a", "b")}, []Message{user, call, results("a", "b")}},
		"wrong order":        {[]Message{call, results("b", "a")}, []Message{call, results("a", "b")}},
		"one missing":        {[]Message{call, results("b")}, []Message{call, {Role: RoleTool, Results: []ToolResult{lost("a"), results("b").Results[0]}}}},
		"all missing":        {[]Message{call, user}, []Message{call, {Role: RoleTool, Results: []ToolResult{lost("a"), lost("b")}}, user}},
		"answered late":      {[]Message{call, user, results("a", "b")}, []Message{call, results("a", "b"), user}},
		"answered before":    {[]Message{results("a", "b"), call, user}, []Message{call, {Role: RoleTool, Results: []ToolResult{lost("a"), lost("b")}}, user}},
		"the same ids again": {[]Message{call, user, call, results("a", "b")}, []Message{call, {Role: RoleTool, Results: []ToolResult{lost("a"), lost("b")}}, user, call, results("a", "b")}},
		"one by one": {[]Message{{Role: RoleAssistant, Text: "so"}, {Role: RoleAssistant, Calls: call.Calls[:1]}, {Role: RoleAssistant, Calls: call.Calls[1:]}, results("a"), results("b"), user},
			[]Message{{Role: RoleAssistant, Text: "so", Calls: call.Calls}, results("a", "b"), user}},
		"text after a call": {[]Message{{Role: RoleAssistant, Calls: call.Calls[:1]}, {Role: RoleAssistant, Text: "so"}, results("a")},
			[]Message{{Role: RoleAssistant, Calls: call.Calls[:1]}, results("a"), {Role: RoleAssistant, Text: "so"}}},
		"stray":              {[]Message{results("a"), user, results("b")}, []Message{user}},
		"one too many":       {[]Message{call, results("a", "c", "b", "a")}, []Message{call, results("a", "b")}},
		"in two parts":       {[]Message{call, results("a"), results("b")}, []Message{call, results("a", "b")}},
		"empty in between":   {[]Message{call, {Role: RoleUser, Text: " "}, results("a", "b")}, []Message{call, results("a", "b")}},
		"empty":              {[]Message{{Role: RoleUser}, {Role: RoleAssistant, Text: "\n"}, {Role: RoleTool}, {Role: "system", Text: "x"}}, []Message{}},
		"same id twice":      {[]Message{{Role: RoleAssistant, Calls: []ToolCall{{ID: "a", Name: "x"}, {ID: "a", Name: "y"}}}, results("a")}, []Message{{Role: RoleAssistant, Calls: []ToolCall{{ID: "a", Name: "x"}}}, results("a")}},
		"two users in a row": {[]Message{user, user}, []Message{user, user}},
	} {
		if got := Repair(c.in); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

// Any history, with anything cut out of it, comes out with calls and results in
// pairs; a second repair finds nothing to do, and the input is left alone.
func TestRepairProperty(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		h := randomHistory(r)
		for range r.IntN(4) {
			if len(h) > 0 { // delete a stretch, as a deleted turn or a crash does
				from := r.IntN(len(h))
				h = slices.Delete(slices.Clone(h), from, from+r.IntN(len(h)-from+1))
			}
		}
		before := deepCopy(h)
		fixed := Repair(h)
		if !reflect.DeepEqual(h, before) {
			t.Fatalf("seed %d: the input was changed", seed)
		}
		if !reflect.DeepEqual(Repair(fixed), fixed) {
			t.Fatalf("seed %d: a second repair changes the history", seed)
		}
		if i := unpaired(fixed); i >= 0 {
			t.Fatalf("seed %d: message %d is not paired in %+v", seed, i, fixed)
		}
	}
}

func unpaired(h []Message) int {
	for i, m := range h {
		var called, answered []string
		for _, c := range m.Calls {
			called = append(called, c.ID)
		}
		if i+1 < len(h) {
			for _, r := range h[i+1].Results {
				answered = append(answered, r.ID)
			}
		}
		if !slices.Equal(called, answered) || empty(m) ||
			m.Role == RoleTool && (i == 0 || len(h[i-1].Calls) == 0) || len(m.Results) > 0 && m.Role != RoleTool {
			return i
		}
	}
	return -1
}

func randomHistory(r *rand.Rand) []Message {
	var h []Message
	for range r.IntN(12) {
		switch r.IntN(4) {
		case 0:
			h = append(h, Message{Role: RoleUser, Text: []string{"q", "", " "}[r.IntN(3)]})
		case 1:
			h = append(h, Message{Role: RoleAssistant, Text: []string{"a", ""}[r.IntN(2)]})
		default:
			m, res := Message{Role: RoleAssistant}, Message{Role: RoleTool}
			for range r.IntN(4) {
				id := strconv.Itoa(r.IntN(5))
				m.Calls = append(m.Calls, ToolCall{ID: id, Name: "t", Input: "{}"})
				if r.IntN(5) > 0 {
					res.Results = append(res.Results, ToolResult{ID: id, Content: "r"})
				}
			}
			h = append(h, m, res)
		}
	}
	return h
}

func deepCopy(h []Message) []Message {
	out := slices.Clone(h)
	for i := range out {
		out[i].Calls, out[i].Results = slices.Clone(out[i].Calls), slices.Clone(out[i].Results)
	}
	return out
}
