package conversations

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

const (
	itemsDefault = 20
	itemsMax     = 100
	itemsGiven   = 20 // in one request that adds them
	cutsMax      = 1000
)

// itemPrefixes begin the ids of items, by kind.
var itemPrefixes = map[itemKind]string{messageItem: "msg", reasoningItem: "rs", toolItem: "mcp", callItem: "fc", codeItem: "ci"}

// itemID says which output of which turn it is, so that a replay gives the same
// and an item is found by its id.
func itemID(kind itemKind, t *turnRecord, i int) string {
	return fmt.Sprintf("%s_%s_o%d", itemPrefixes[kind], strings.TrimPrefix(t.ID, turnPrefix), i)
}

// givenID is the same for what a turn was given.
func givenID(m agent.Message, t *turnRecord, i int) string {
	prefix := "msg"
	switch {
	case len(m.Calls) > 0:
		prefix = "fc"
	case len(m.Results) > 0:
		prefix = "fco"
	}
	return fmt.Sprintf("%s_%s_i%d", prefix, strings.TrimPrefix(t.ID, turnPrefix), i)
}

// turnOfItem is the id of the turn that an item belongs to, empty for what is
// no id of an item.
func turnOfItem(id string) string {
	_, rest, _ := strings.Cut(id, "_")
	i := strings.LastIndexByte(rest, '_')
	if i < 1 {
		return ""
	}
	return turnPrefix + rest[:i]
}

// itemsOf are the items of a turn, oldest first: what it was given, then what
// it has answered so far. Deleted ones are left out.
func (r *Room) itemsOf(ctx context.Context, t *turnRecord) ([]*antonv1.Item, error) {
	list, err := r.givenItems(ctx, t)
	if err != nil || t.Given {
		return list, err
	}
	f, err := r.folded(ctx, t)
	if err != nil {
		return nil, err
	}
	steers, err := r.steerItems(ctx, t)
	if err != nil {
		return nil, err
	}
	add := func(items ...*antonv1.Item) {
		for _, it := range items {
			if !t.isCut(it.Id) {
				list = append(list, it)
			}
		}
	}
	places := f.steers
	for i, it := range f.snapshot().Output {
		for len(steers) > 0 && len(places) > 0 && places[0] <= i {
			add(steers[0])
			steers, places = steers[1:], places[1:]
		}
		add(&antonv1.Item{Id: it.Id, Item: &antonv1.Item_Output{Output: it}})
	}
	add(steers...)
	return list, nil
}

// steerItems are what the user said while a turn ran, oldest first.
func (r *Room) steerItems(ctx context.Context, t *turnRecord) ([]*antonv1.Item, error) {
	rows, err := r.rowsOf(ctx, t.ConvKey, &t.Ordinal)
	if err != nil {
		return nil, err
	}
	var list []*antonv1.Item
	for _, w := range rows {
		for _, m := range w.Messages {
			if w.N > 0 && m.Role == agent.RoleUser {
				id := fmt.Sprintf("msg_%s_s%d", strings.TrimPrefix(t.ID, turnPrefix), len(list))
				list = append(list, &antonv1.Item{Id: id, Item: &antonv1.Item_Input{Input: showMessage(m)}})
			}
		}
	}
	return list, nil
}

func (r *Room) givenItems(ctx context.Context, t *turnRecord) ([]*antonv1.Item, error) {
	rows, err := r.rowsOf(ctx, t.ConvKey, &t.Ordinal)
	if err != nil {
		return nil, err
	}
	var list []*antonv1.Item
	for _, w := range rows {
		if w.N > 0 {
			break
		}
		for i, m := range w.Messages {
			if id := givenID(m, t, i); !t.isCut(id) {
				list = append(list, &antonv1.Item{Id: id, Item: &antonv1.Item_Input{Input: showMessage(m)}})
			}
		}
	}
	return list, nil
}

func (t *turnRecord) isCut(id string) bool {
	return slices.ContainsFunc(t.Cut, func(c cut) bool { return c.ID == id })
}

// referred is what an item that is named in a request says: an item that was
// given or answered before, in any conversation.
func (r *Room) referred(ctx context.Context, id string, at []string) ([]agent.Message, error) {
	missing := fault.BadField("value_error", fmt.Sprintf("Item with id '%s' not found.", id), append(at, "id")...)
	t, err := r.turnByID(ctx, turnOfItem(id))
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, missing
	}
	items, err := r.itemsOf(ctx, t)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(items, func(it *antonv1.Item) bool { return it.Id == id })
	if i < 0 {
		return nil, missing
	}
	switch it := items[i].Item.(type) {
	case *antonv1.Item_Input:
		if it.Input.ItemReference == "" {
			g, err := r.readItems(ctx, []*antonv1.InputItem{it.Input}, "input")
			if err != nil {
				return nil, err
			}
			return g.messages, nil
		}
	case *antonv1.Item_Output:
		return said(it.Output), nil
	}
	return nil, nil
}

// said is an output as a model sees it in its history.
func said(it *antonv1.OutputItem) []agent.Message {
	switch k := it.Item.(type) {
	case *antonv1.OutputItem_Message:
		return []agent.Message{{Role: agent.RoleAssistant, Text: k.Message.Text}}
	case *antonv1.OutputItem_FunctionCall:
		return []agent.Message{{Role: agent.RoleAssistant, Calls: []agent.ToolCall{
			{ID: k.FunctionCall.CallId, Name: k.FunctionCall.Name, Input: k.FunctionCall.Arguments}}}}
	case *antonv1.OutputItem_Code:
		return call(k.Code.CallId, scratchpadTool, codeInput(k.Code), agent.ToolResult{Content: k.Code.Logs})
	case *antonv1.OutputItem_Tool:
		result := agent.ToolResult{Content: k.Tool.Output}
		if k.Tool.Error != "" {
			result.Content, result.IsError = k.Tool.Error, true
		}
		return call(k.Tool.CallId, k.Tool.Name, k.Tool.Arguments, result)
	}
	return nil // reasoning: a model does not need to see its summary again
}

// call is a call of a tool with its result, as a model sees them.
func call(id, name, input string, r agent.ToolResult) []agent.Message {
	r.ID = id
	return []agent.Message{
		{Role: agent.RoleAssistant, Calls: []agent.ToolCall{{ID: id, Name: name, Input: input}}},
		{Role: agent.RoleTool, Results: []agent.ToolResult{r}}}
}

// page is what a list of items was asked for.
type page struct {
	after string
	limit int
	desc  bool
}

func readPage(after string, limit *int32, order string) (page, error) {
	p := page{after: after, limit: itemsDefault, desc: order != "asc"}
	if limit != nil {
		p.limit = int(*limit)
	}
	switch {
	case p.limit < 1 || p.limit > itemsMax:
		return p, fault.BadField("value_error", fmt.Sprintf("Input should be between 1 and %d", itemsMax), "limit")
	case order != "" && order != "asc" && order != "desc":
		return p, fault.BadField("literal_error", "Input should be 'asc' or 'desc'", "order")
	}
	return p, nil
}

// cut takes one page out of items that are in the order of the page. found says
// that the item to start behind was among them.
func (p page) cut(items []*antonv1.Item) (out *antonv1.ListItemsResponse, found bool) {
	if p.after != "" {
		i := slices.IndexFunc(items, func(it *antonv1.Item) bool { return it.Id == p.after })
		if i < 0 {
			return &antonv1.ListItemsResponse{}, false
		}
		items = items[i+1:]
	}
	out = &antonv1.ListItemsResponse{Data: items[:min(p.limit, len(items))], HasMore: len(items) > p.limit}
	if n := len(out.Data); n > 0 {
		out.FirstId, out.LastId = out.Data[0].Id, out.Data[n-1].Id
	}
	return out, true
}

func (p page) noSuchItem() error {
	return fault.BadField("value_error", fmt.Sprintf("Item with id '%s' not found.", p.after), "after")
}

// ListItems implements antonv1.ConversationsServiceServer. It reads only the
// turns that the page needs.
func (r *Room) ListItems(ctx context.Context, q *antonv1.ListItemsRequest) (*antonv1.ListItemsResponse, error) {
	p, err := readPage(q.After, q.Limit, q.Order)
	if err != nil {
		return nil, err
	}
	var recs []*turnRecord
	err = r.opt.Main.View(ctx, func(rd store.Reader) error {
		c, err := conversationByID(rd, q.Id)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoConversation
		}
		recs, err = turnsOf(rd, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	if p.desc {
		slices.Reverse(recs)
	}
	if p.after != "" {
		id := turnOfItem(p.after)
		i := slices.IndexFunc(recs, func(t *turnRecord) bool { return t.ID == id })
		if i < 0 {
			return nil, p.noSuchItem()
		}
		recs = recs[i:]
	}
	var items []*antonv1.Item
	for _, t := range recs {
		more, err := r.itemsOf(ctx, t)
		if errors.Is(err, errNoResponse) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		if p.desc {
			slices.Reverse(more)
		}
		items = append(items, more...)
		if out, found := p.cut(items); found && out.HasMore {
			return out, nil
		}
	}
	out, found := p.cut(items)
	if !found {
		return nil, p.noSuchItem()
	}
	return out, nil
}

// CreateItems implements antonv1.ConversationsServiceServer.
func (r *Room) CreateItems(ctx context.Context, q *antonv1.CreateItemsRequest) (*antonv1.ListItemsResponse, error) {
	if len(q.Items) == 0 {
		return nil, fault.BadField("too_short", "At least one item is needed", "items")
	}
	g, err := r.readGiven(ctx, q.Items)
	if err != nil {
		return nil, err
	}
	recs, err := r.addGiven(ctx, q.Id, g)
	if err != nil {
		return nil, err
	}
	out := &antonv1.ListItemsResponse{}
	for _, t := range recs {
		items, err := r.givenItems(ctx, t)
		if err != nil {
			return nil, err
		}
		out.Data = append(out.Data, items...)
	}
	if n := len(out.Data); n > 0 {
		out.FirstId, out.LastId = out.Data[0].Id, out.Data[n-1].Id
	}
	return out, nil
}

// readGiven reads the items that a client adds to a conversation, one turn for
// each thing the user said, so that positions of turns stay those of questions.
func (r *Room) readGiven(ctx context.Context, items []*antonv1.InputItem) ([]*given, error) {
	if len(items) > itemsGiven {
		return nil, fault.BadField("too_long", fmt.Sprintf("At most %d items can be added at once", itemsGiven), "items")
	}
	all, err := r.readItems(ctx, items, "items")
	if err != nil {
		return nil, err
	}
	var out []*given
	asked := false
	for _, m := range all.messages {
		user := m.Role == agent.RoleUser
		if len(out) == 0 || user && asked {
			out = append(out, &given{})
			asked = false
		}
		g := out[len(out)-1]
		g.messages = append(g.messages, m)
		if user {
			asked, g.question = true, headlineOf(m)
		}
	}
	return out, nil
}

// addGiven adds what a client says was said to an idle conversation. Each part
// is one transaction: a crash leaves the first ones.
func (r *Room) addGiven(ctx context.Context, convID string, parts []*given) ([]*turnRecord, error) {
	var recs []*turnRecord
	for _, g := range parts {
		id := r.opt.NewID("")
		rec := &turnRecord{ID: turnPrefix + id, ResponseID: responsePrefix + id, Status: statusCompleted, Given: true,
			ConvID: convID, Created: r.now(), Ended: r.now(), Messages: len(g.messages)}
		release := r.hold(rec.ID)
		defer release()
		input, err := r.stage(ctx, rec, 0, g.messages)
		if err != nil {
			return nil, err
		}
		err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
			c, err := conversationByID(tx, convID)
			switch {
			case err != nil:
				return err
			case c == nil:
				return errNoConversation
			case c.Running != "":
				return fault.New(fault.Precondition, "CONVERSATION_BUSY",
					"A turn is running in this conversation: wait for its end, or stop it with POST /v1/responses/cancel.")
			}
			rec.ConvKey, rec.Ordinal = c.Key, c.NextTurn
			c.NextTurn++
			c.Turns++
			c.Updated = rec.Created
			c.name(g.question)
			c.Activity = changed(tx, c.ID)
			w := input
			w.ConvKey, w.Ordinal = c.Key, rec.Ordinal
			if err := putRow(tx, w); err != nil {
				return err
			}
			if err := turns.Put(tx, rec); err != nil {
				return err
			}
			return conversations.Put(tx, c)
		})
		if err != nil {
			if input.Body {
				err = errors.Join(err, r.dropBulk(context.WithoutCancel(ctx), rec.ID))
			}
			return nil, err
		}
		recs = append(recs, rec)
	}
	return recs, nil
}

// GetItem implements antonv1.ConversationsServiceServer.
func (r *Room) GetItem(ctx context.Context, q *antonv1.GetItemRequest) (*antonv1.Item, error) {
	_, it, err := r.findItem(ctx, q.Id, q.ItemId)
	return it, err
}

func (r *Room) findItem(ctx context.Context, convID, id string) (*turnRecord, *antonv1.Item, error) {
	var rec *turnRecord
	err := r.opt.Main.View(ctx, func(rd store.Reader) error {
		c, err := conversationByID(rd, convID)
		if err != nil {
			return err
		}
		if c == nil {
			return errNoConversation
		}
		rec, err = turns.Lookup(rd, "id", key.Key(nil).Str(turnOfItem(id)))
		if rec != nil && rec.ConvKey != c.Key {
			rec = nil
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if rec != nil {
		items, err := r.itemsOf(ctx, rec)
		if err != nil {
			return nil, nil, err
		}
		for _, it := range items {
			if it.Id == id {
				return rec, it, nil
			}
		}
	}
	return nil, nil, fault.Missing("ITEM_NOT_FOUND", "Item with id '%s' not found.", id)
}

// DeleteItem implements antonv1.ConversationsServiceServer.
func (r *Room) DeleteItem(ctx context.Context, q *antonv1.DeleteItemRequest) (*antonv1.Conversation, error) {
	rec, it, err := r.findItem(ctx, q.Id, q.ItemId)
	if err != nil {
		return nil, err
	}
	if rec.Status == statusRunning {
		return nil, fault.New(fault.Precondition, "CONVERSATION_BUSY", "The turn of this item is running: wait for its end.")
	}
	gone, err := r.cutOf(ctx, rec, it)
	if err != nil {
		return nil, err
	}
	var v *antonv1.Conversation
	err = r.opt.Main.Update(ctx, func(tx store.Tx) error {
		v = nil
		t, err := turns.Get(tx, turnKey(rec.ConvKey, rec.Ordinal))
		if err != nil || t == nil {
			return err
		}
		if !t.isCut(gone.ID) {
			if len(t.Cut) >= cutsMax {
				return fault.New(fault.Precondition, "TOO_MANY_DELETED",
					"%d items of this turn were deleted one by one: delete the turn or the conversation instead.", cutsMax)
			}
			t.Cut = append(t.Cut, gone)
		}
		if err := turns.Put(tx, t); err != nil {
			return err
		}
		if err := forgetCompaction(tx, t.ConvKey); err != nil {
			return err
		}
		c, err := conversationByID(tx, q.Id)
		if err != nil || c == nil {
			return err
		}
		c.Activity = changed(tx, c.ID)
		c.Updated = r.now()
		if err := conversations.Put(tx, c); err != nil {
			return err
		}
		v, err = r.view(tx, c)
		return err
	})
	if err == nil && v == nil {
		err = errNoConversation
	}
	return v, err
}

// cutOf says what an item is in the history of its turn.
func (r *Room) cutOf(ctx context.Context, t *turnRecord, it *antonv1.Item) (cut, error) {
	c := cut{ID: it.Id}
	if it.GetInput() != nil {
		place := it.Id[strings.LastIndexByte(it.Id, '_')+1:]
		n, err := strconv.Atoi(place[1:])
		if c.Input = &n; place[0] == 's' {
			c.Input, c.Steer = nil, &n
		}
		return c, err
	}
	resp, err := r.response(ctx, t)
	if err != nil {
		return c, err
	}
	for _, out := range resp.Output {
		text := out.GetMessage().GetText()
		if out.Id == it.Id {
			c.CallID = out.GetTool().GetCallId() + out.GetFunctionCall().GetCallId() + out.GetCode().GetCallId()
			c.To = c.From + len(text)
			break
		}
		c.From += len(text)
	}
	return c, nil
}

// applyCuts takes the items that were deleted out of a turn's history. What is
// left of a pair of call and result goes with it.
func applyCuts(t *turnMessages) {
	doomed, unsaid := map[int]bool{}, map[int]bool{}
	var spans []cut // of what the turn said, in order
	for _, c := range t.cuts {
		switch {
		case c.Input != nil:
			doomed[*c.Input] = true
		case c.Steer != nil:
			unsaid[*c.Steer] = true
		case c.CallID != "":
			dropCall(t.messages, c.CallID)
		case c.From < c.To:
			spans = append(spans, c)
		}
	}
	slices.SortFunc(spans, func(a, b cut) int { return cmp.Compare(a.From, b.From) })
	input := t.input
	t.input = nil
	for i, m := range input {
		if !doomed[i] {
			t.input = append(t.input, m)
		}
	}
	at := 0
	for i := range t.messages {
		if m := &t.messages[i]; m.Role == agent.RoleAssistant {
			size := len(m.Text)
			m.Text = without(m.Text, at, spans)
			at += size
		}
	}
	n := -1
	t.messages = slices.DeleteFunc(t.messages, func(m agent.Message) bool {
		if m.Role != agent.RoleUser {
			return false
		}
		n++
		return unsaid[n]
	})
}

// without is a text that begins at a place of what was said, without the spans.
func without(text string, at int, spans []cut) string {
	var left strings.Builder
	done := 0 // of text
	for _, c := range spans {
		from, to := max(c.From-at, done), min(c.To-at, len(text))
		if from < to {
			left.WriteString(text[done:from])
			done = to
		}
	}
	left.WriteString(text[done:])
	return left.String()
}

// dropCall takes a call and its result out of messages.
func dropCall(ms []agent.Message, id string) {
	for i := range ms {
		ms[i].Calls = slices.DeleteFunc(ms[i].Calls, func(c agent.ToolCall) bool { return c.ID == id })
		ms[i].Results = slices.DeleteFunc(ms[i].Results, func(r agent.ToolResult) bool { return r.ID == id })
		if ms[i].Trace != nil && ms[i].Role == agent.RoleAssistant {
			ms[i].Trace = nil // it may speak of the call
		}
	}
}
