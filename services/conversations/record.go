package conversations

import (
	"anthill/services/internal/agent"
	"anthill/services/internal/mcp"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// topic is the log of everything that happens to conversations.
const (
	topic     = "conversations"
	topicKeep = 10_000 // events a late watcher can still resume from
)

// firstReserve are the seqs that a turn may show before its log has written a
// first chunk; sealing a turn without one goes on after them.
const firstReserve = 1024

// conversation is the stored state of one.
type conversation struct {
	ID        string   `json:"id"`
	Key       string   `json:"key"` // owns the turns; never used again, unlike an id
	ProjectID string   `json:"project_id"`
	Title     string   `json:"title"`
	Preview   string   `json:"preview"`
	Created   int64    `json:"created"` // ms
	Updated   int64    `json:"updated"` // ms
	Activity  uint64   `json:"activity"`
	Turns     int      `json:"turns"`
	NextTurn  uint64   `json:"next_turn"`
	Running   string   `json:"running,omitempty"` // id of the turn that runs
	Muted     []muting `json:"muted,omitempty"`

	Metadata map[string]string `json:"metadata,omitempty"`
	Copied   bool              `json:"copied,omitempty"` // a copy under way: not there for anyone yet
	Forked   *forkOrigin       `json:"forked,omitempty"` // of a copy
	Queued   int               `json:"queued,omitempty"` // requests that wait
	MCP      mcp.Rule          `json:"mcp,omitzero"`
}

// forkOrigin is where a copy leaves its original.
type forkOrigin struct {
	ConvID string `json:"conv_id"`
	Turn   int    `json:"turn"` // 0-based place at that time
	TurnID string `json:"turn_id"`
}

// name gives a conversation a title and a preview, unless it has them.
func (c *conversation) name(question string) {
	if c.Preview == "" {
		c.Preview = headline(question, previewLen, "")
	}
	if c.Title == "" {
		c.Title = headline(question, titleLen, "...")
	}
}

type muting struct {
	Engine string `json:"engine"`
	Name   string `json:"name"`
}

// Statuses of a stored turn.
const (
	statusRunning    = "in_progress"
	statusCompleted  = "completed"
	statusIncomplete = "incomplete"
	statusFailed     = "failed"
	statusCancelled  = "cancelled"
)

// turnRecord is the stored state of one turn; its messages are rows, its events
// a log in the bulk store.
type turnRecord struct {
	ID           string            `json:"id"`
	ResponseID   string            `json:"response_id"`
	ConvKey      string            `json:"conv_key"`
	ConvID       string            `json:"conv_id"`
	Ordinal      uint64            `json:"ordinal"` // grows within the conversation, never reused
	Status       string            `json:"status"`
	Reason       string            `json:"reason,omitempty"`
	Model        string            `json:"model"`
	Instructions string            `json:"instructions,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
	MaxTokens    *int32            `json:"max_tokens,omitempty"`
	Temperature  *float64          `json:"temperature,omitempty"`
	TopP         *float64          `json:"top_p,omitempty"`
	Created      int64             `json:"created"` // ms
	Ended        int64             `json:"ended,omitempty"`
	Messages     int               `json:"messages"` // rows of history it has once ended
	LastSeq      int32             `json:"last_seq"`
	Options      []byte            `json:"options,omitempty"` // RequestOptions, unless they are large
	Given        bool              `json:"given,omitempty"`   // not asked and answered: items that a client added
	Cut          []cut             `json:"cut,omitempty"`
	Used         int               `json:"used,omitempty"` // tokens of its last call of the model
}

// cut is an item of a turn that was deleted by itself.
type cut struct {
	ID     string `json:"id"`
	Input  *int   `json:"input,omitempty"`   // index among the messages that were given
	Steer  *int   `json:"steer,omitempty"`   // index among those that the user said while it ran
	CallID string `json:"call_id,omitempty"` // a call and its result
	From   int    `json:"from,omitempty"`    // bytes of what the turn said
	To     int    `json:"to,omitempty"`
}

// A turn and its response share the rest of their ids, so that one leads to the other.
const (
	turnPrefix     = "turn_"
	responsePrefix = "resp_"
)

// row is a part of the history a model sees: N 0 holds what the request
// brought, each further one a message of the turn.
type row struct {
	ConvKey  string          `json:"-"`
	Ordinal  uint64          `json:"-"`
	N        uint64          `json:"-"`
	Messages []agent.Message `json:"messages,omitempty"`
	Body     bool            `json:"body,omitempty"` // the messages are a body in the bulk store
	TurnID   string          `json:"turn_id,omitempty"`
	cuts     []cut           // of its turn
}

// deletion is a cascade under way: what it names reads as gone already.
type deletion struct {
	ID      string `json:"id"`
	ConvKey string `json:"conv_key"`
	ConvID  string `json:"conv_id,omitempty"` // of a whole conversation
	TurnID  string `json:"turn_id,omitempty"` // only this turn
	Ordinal uint64 `json:"ordinal,omitempty"`
}

var conversations = store.NewTable(store.TableOptions[conversation]{
	Name: "conversation",
	Key:  func(c *conversation) key.Key { return key.Key(nil).Str(c.ID) },
	Indexes: []store.Index[conversation]{
		{Name: "activity", Keys: func(c *conversation) []key.Key {
			return []key.Key{key.Key(nil).Uint(c.Activity)}
		}},
		{Name: "project", Keys: func(c *conversation) []key.Key {
			return []key.Key{key.Key(nil).Str(c.ProjectID).Uint(c.Activity)}
		}},
		{Name: "copied", Keys: func(c *conversation) []key.Key {
			if !c.Copied {
				return nil
			}
			return []key.Key{key.Key(nil)}
		}},
	},
})

var turns = store.NewTable(store.TableOptions[turnRecord]{
	Name: "turn",
	Key:  func(t *turnRecord) key.Key { return turnKey(t.ConvKey, t.Ordinal) },
	Indexes: []store.Index[turnRecord]{
		{Name: "id", Unique: true, Keys: func(t *turnRecord) []key.Key {
			return []key.Key{key.Key(nil).Str(t.ID)}
		}},
		{Name: "running", Keys: func(t *turnRecord) []key.Key {
			if t.Status != statusRunning {
				return nil
			}
			return []key.Key{key.Key(nil).Str(t.ID)}
		}},
	},
})

var deletions = store.NewTable(store.TableOptions[deletion]{
	Name: "conversation_deletion",
	Key:  func(d *deletion) key.Key { return key.Key(nil).Str(d.ID) },
})

func turnKey(convKey string, ordinal uint64) key.Key {
	return key.Key(nil).Str(convKey).Uint(ordinal)
}

// rowPrefix covers all rows of a conversation; with turnKey's parts, of a turn.
func rowPrefix(convKey string) key.Key { return key.Of("turn_row").Str(convKey) }

func rowKey(convKey string, ordinal, n uint64) key.Key {
	return rowPrefix(convKey).Uint(ordinal).Uint(n)
}

// logPrefix covers the events of a turn in the bulk store.
func logPrefix(turnID string) key.Key { return key.Of("turn_log").Str(turnID) }

// bodiesOf covers a turn's large bodies there, bodyPrefix one of them.
func bodiesOf(turnID string) key.Key { return key.Of("turn_body").Str(turnID) }

func bodyPrefix(turnID string, n uint64) key.Key { return bodiesOf(turnID).Uint(n) }

func parseRowKey(k []byte) (ordinal, n uint64, err error) {
	p := key.Parse(k)
	p.Str() // table
	p.Str() // conversation
	ordinal, n = p.Uint(), p.Uint()
	return ordinal, n, p.Err()
}
