package services

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"anthill/services/conversations"
	"anthill/services/internal/agent"
	"anthill/services/internal/agent/anthropic"
	"anthill/services/internal/agent/chat"
	"anthill/services/internal/agent/offline"
	"anthill/services/internal/agent/probe"
	"anthill/services/internal/agent/responses"
	"anthill/services/internal/agent/wire"
	"anthill/services/internal/dial"
	"anthill/services/internal/fault"
	"anthill/services/internal/mcp"
	"anthill/services/internal/store"
	"anthill/services/memory"
	"anthill/services/projects"
	"anthill/services/scratchpads"
	"anthill/services/settings"
)

// projectsFor shows projects to the conversations.
type projectsFor struct {
	room    *projects.Room
	pads    *scratchpads.Room
	memory  *memory.Room
	servers *mcp.Engine
	web     []agent.Tool
	log     *slog.Logger
}

// ByName implements conversations.Projects.
func (p projectsFor) ByName(r store.Reader, name string) (*conversations.Project, error) {
	found, err := p.room.Lookup(r, name)
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &conversations.Project{ID: found.ID, Name: found.Name, Path: found.Path}, nil
}

// ByID implements conversations.Projects.
func (p projectsFor) ByID(r store.Reader, id string) (*conversations.Project, error) {
	found, ok, err := p.room.LookupID(r, id)
	if err != nil || !ok {
		return nil, err
	}
	return &conversations.Project{ID: found.ID, Name: found.Name, Path: found.Path}, nil
}

// models chooses who answers a turn, at the time of the turn.
type models struct {
	settings *settings.Room
	local    *probe.Finder
	// One pool of connections for all providers, and one for those whose
	// certificate is not to be verified.
	verifying, trusting *http.Client

	mu   sync.Mutex
	kept map[place]agent.Provider // with what they learnt of their servers
}

// place is all that a provider is made from.
type place struct {
	engine, base, key string
	insecure          bool
	firstByte, idle   time.Duration
}

// placesMax bounds the providers that are kept; settings seldom change.
const placesMax = 64

func newModels(s *settings.Room, local *probe.Finder, p dial.Policy) *models {
	return &models{settings: s, local: local, kept: map[place]agent.Provider{},
		verifying: dial.Client(dial.Options{Policy: p}), trusting: dial.Client(dial.Options{Policy: p, Insecure: true})}
}

// Close lets go of connections that wait for a next call.
func (m *models) Close(context.Context) error {
	m.verifying.CloseIdleConnections()
	m.trusting.CloseIdleConnections()
	return nil
}

// choose returns the configured model, or requested instead of it. A model of
// this machine that is offered is had by its name alone, whatever is configured;
// any other name is for the configured provider to know, and the offline one
// answers to all of them.
func (m *models) choose(ctx context.Context, requested string) (conversations.Model, error) {
	limits, err := m.settings.Limits()
	if err != nil {
		return conversations.Model{}, err
	}
	behaviour, err := m.settings.Behaviour()
	if err != nil {
		return conversations.Model{}, err
	}
	chosen, err := m.chosen(ctx, requested)
	_, isOffline := chosen.Provider.(*offline.Provider)
	aux := behaviour.Aux && !isOffline // the offline provider reads no prompts
	chosen.Compaction = agent.Compaction{Window: behaviour.Window, Threshold: behaviour.Threshold, Summarize: aux}
	if isOffline && behaviour.Window == 0 {
		chosen.Compaction.Window = math.MaxInt32 // it has no window
	}
	chosen.Verify, chosen.Learn = behaviour.Verify && aux, behaviour.Learn && aux
	chosen.MaxTokens = limits.MaxTokens
	chosen.Limits = agent.Limits{Rounds: limits.Rounds, Continuations: limits.Continuations, Tokens: limits.Tokens,
		NudgeAt: limits.NudgeAt, ErrorsOfOneTool: limits.Errors}
	return chosen, err
}

func (m *models) chosen(ctx context.Context, requested string) (conversations.Model, error) {
	set, err := m.settings.Model(ctx)
	if err != nil {
		return conversations.Model{}, err
	}
	if s, model, ok := m.local.Offered(ctx, requested); ok {
		p, err := m.provider(place{base: s.Root, firstByte: set.FirstByte, idle: set.Idle})
		return conversations.Model{Provider: renamed{p, model}, Name: s.Kind + "/" + model, Secrets: m.settings.Secrets()}, err
	}
	if !set.Ready {
		return conversations.Model{}, fault.New(fault.Invalid, "CONFIG_REQUIRED", "%s", set.Problem)
	}
	if set.Provider == "offline" {
		return conversations.Model{Provider: offline.New(), Name: set.Model, Secrets: m.settings.Secrets()}, nil
	}
	name := set.Model
	switch requested {
	case "", settings.Agent, "default":
	default:
		name = requested
	}
	p, err := m.provider(place{engine: set.Provider, base: set.BaseURL, key: set.APIKey, insecure: set.Insecure,
		firstByte: set.FirstByte, idle: set.Idle})
	return conversations.Model{Provider: p, Name: name, Secrets: m.settings.Secrets()}, err
}

// provider returns the one for a place, as long as it is asked for.
func (m *models) provider(at place) (agent.Provider, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p, ok := m.kept[at]; ok {
		return p, nil
	}
	p, err := m.make(at)
	if err != nil {
		return nil, fault.New(fault.Invalid, "CONFIG_REQUIRED",
			"The base URL of the model provider is not valid: set it to an http or https address.").Because(err)
	}
	if len(m.kept) >= placesMax {
		clear(m.kept)
	}
	m.kept[at] = p
	return p, nil
}

func (m *models) make(at place) (agent.Provider, error) {
	client := m.verifying
	if at.insecure {
		client = m.trusting
	}
	o := wire.Options{BaseURL: at.base, APIKey: at.key, HTTPClient: client, FirstByte: at.firstByte, Idle: at.idle}
	switch at.engine {
	case "anthropic":
		return anthropic.New(o)
	case "openai":
		first, err := responses.New(o)
		if err != nil {
			return nil, err
		}
		second, err := chat.New(o)
		return &eitherAPI{responses: first, chat: second}, err
	}
	return chat.New(o)
}

// eitherAPI asks OpenAI's Responses API, and chat completions once a server has
// shown that it has none.
type eitherAPI struct {
	responses, chat agent.Provider
	lacking         atomic.Bool
}

// Stream implements agent.Provider.
func (p *eitherAPI) Stream(ctx context.Context, req agent.Request, emit func(agent.Delta) error) (agent.Completion, error) {
	if !p.lacking.Load() {
		c, err := p.responses.Stream(ctx, req, emit)
		if !responses.Unknown(err) {
			return c, err
		}
		p.lacking.Store(true)
	}
	return p.chat.Stream(ctx, req, emit)
}

// renamed asks for a model by the name that its server knows.
type renamed struct {
	agent.Provider
	model string
}

// Stream implements agent.Provider.
func (p renamed) Stream(ctx context.Context, req agent.Request, emit func(agent.Delta) error) (agent.Completion, error) {
	req.Model = p.model
	return p.Provider.Stream(ctx, req, emit)
}

// ownAddresses are those that this server listens on, once it does.
type ownAddresses struct {
	list  atomic.Pointer[[]netip.AddrPort]
	first atomic.Pointer[string] // a URL that leads to the first of them
}

// set takes them from URLs.
func (o *ownAddresses) set(urls []string) {
	var list []netip.AddrPort
	for _, s := range urls {
		if u, err := url.Parse(s); err == nil {
			if a, err := netip.ParseAddrPort(u.Host); err == nil {
				list = append(list, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
			}
		}
	}
	o.list.Store(&list)
	if len(urls) > 0 && len(list) > 0 {
		scheme, _, _ := strings.Cut(urls[0], "://")
		at := list[0]
		if at.Addr().IsUnspecified() {
			at = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())
		}
		url := scheme + "://" + at.String()
		o.first.Store(&url)
	}
}

// reachable is a URL that leads to this server, without a path; empty before it
// listens.
func (o *ownAddresses) reachable() string {
	if url := o.first.Load(); url != nil {
		return *url
	}
	return ""
}

// has says whether a connection to an address would end here.
func (o *ownAddresses) has(a netip.AddrPort) bool {
	list := o.list.Load()
	return list != nil && slices.ContainsFunc(*list, func(own netip.AddrPort) bool {
		return own.Port() == a.Port() && (own.Addr() == a.Addr() || own.Addr().IsUnspecified() && onThisMachine(a.Addr()))
	})
}

func onThisMachine(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	list, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(list, func(n net.Addr) bool {
		p, err := netip.ParsePrefix(n.String())
		return err == nil && p.Addr() == a
	})
}
