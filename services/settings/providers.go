package settings

import (
	"slices"

	"anthill/services/internal/fault"
)

// account is a provider that the user has set up. There is at most one a kind.
type account struct {
	kind, name string
	key, base  string // base is empty where the kind's own address holds
	stored     bool   // the key is the stored one
	isDefault  bool
	extras     []assignment // to make: what MindsHub alone has
}

// address is where the account's API is; empty if nobody has said.
func (a account) address() string {
	if a.base != "" {
		return a.base
	}
	return map[string]string{openai: openaiAPI, gemini: geminiAPI, minds: mindsAPI, anthropic: anthropicAPI}[a.kind]
}

// registration is what the store remembers of an account. Its key and address
// stand in the settings file.
type registration struct {
	Kind    string `json:"kind"`
	Name    string `json:"name,omitempty"`
	Default bool   `json:"default,omitempty"`
}

// override is a model chosen for a role in mode custom.
type override struct {
	Kind  string `json:"kind"`
	Model string `json:"model"`
}

// ANTON_OPENAI_* holds one account at a time: that of its owner. What the other
// kinds of the family have waits under names of their own, so that changing to
// and fro needs no key to be typed again, and none reaches another provider.
var (
	parkedKey = map[string]string{
		openai:     "ANTON_PROVIDER_OPENAI_API_KEY",
		compatible: "ANTON_PROVIDER_COMPATIBLE_API_KEY",
		gemini:     "ANTON_PROVIDER_GEMINI_API_KEY",
	}
	parkedBase = map[string]string{
		openai:     "ANTON_PROVIDER_OPENAI_BASE_URL",
		compatible: "ANTON_PROVIDER_COMPATIBLE_BASE_URL",
	}
)

// owner is the kind whose account ANTON_OPENAI_* holds; empty if nobody's.
func (e env) owner() string {
	base, key := e.get(envOpenAIBaseURL), e.get(envOpenAIKey)
	for _, of := range roles {
		name := e.provider(of)
		switch {
		case of == coding && e.get(envCodingBaseURL) != "":
		case name == openai || name == compatible:
			if k := e.shared(name).kind; sharesSlot(k) {
				return k
			}
			return ""
		case name == gemini && e.get(parkedKey[gemini]) == "" && base == "":
			return gemini
		}
	}
	switch {
	case base == "" && key == "", within(base, e.getOr(envMindsURL, mindsAPI)):
		return ""
	case base == "":
		return openai
	}
	return e.kindAt(base, compatible)
}

// account returns what is configured for a kind; nothing for offline.
func (e env) account(kind string) account {
	a := account{kind: kind}
	switch {
	case kind == anthropic:
		a.key, a.base = e.get(envAnthropicKey), e.get(envAnthropicBaseURL)
	case kind == minds:
		a.key, a.base = e.get(envMindsKey), e.get(envMindsURL)
	case isLocal(kind):
		a.base = e.localRoot(kind)
	case sharesSlot(kind) && e.owner() == kind:
		a.key, a.base = e.get(envOpenAIKey), e.get(envOpenAIBaseURL)
	case sharesSlot(kind):
		a.key, a.base = e.get(parkedKey[kind]), e.get(parkedBase[kind])
	}
	if kind == gemini {
		a.base = ""
	}
	return a
}

// accounts lists those that were registered, then those that somebody put into
// the file or the environment, then the one in use if it has nothing yet.
func (e env) accounts(p preferences) []account {
	var list []account
	for _, r := range p.Providers {
		a := e.account(r.Kind)
		a.name = r.Name
		list = append(list, a)
	}
	has := func(kind string) bool {
		return slices.ContainsFunc(list, func(a account) bool { return a.kind == kind })
	}
	main := e.endpoint(planning).kind
	for _, k := range kinds {
		a := e.account(k.name)
		found := a.key != "" || a.base != "" && sharesSlot(k.name)
		if (found || k.name == main && main != offline) && !has(k.name) {
			list = append(list, a)
		}
	}
	if p.ModelMode == modeCustom { // planning may then be done by another than the default
		for _, r := range p.Providers {
			if r.Default {
				main = r.Kind
			}
		}
	}
	for i := range list {
		list[i].isDefault = list[i].kind == main
	}
	return list
}

// mindsExtras belong to the MindsHub account and go with it.
var mindsExtras = []string{envMindsMindName, envMindsDatasource, envMindsDatasourceEngine, envMindsSSLVerify}

// changes collects assignments to the settings file.
type changes struct {
	now  map[string]string // the file
	list []assignment
}

// set makes name hold value, or nothing.
func (c *changes) set(name, value string) {
	if value == "" {
		c.remove(name)
	} else if c.now[name] != value {
		c.list = append(c.list, assignment{name, value})
	}
}

// remove deletes name, and its legacy spelling: else that would come into
// force again.
func (c *changes) remove(name string) {
	for _, n := range []string{name, legacyNames[name]} {
		if _, there := c.now[n]; there {
			c.list = append(c.list, assignment{n, ""})
		}
	}
}

// choice is who does the work of a role. An empty kind is the built-in default.
type choice struct{ kind, model string }

// choose picks who does a role's work: the override, else the default account
// with the model recommended for it.
func (e env) choose(of role, list []account, p preferences) choice {
	kindName, model := "", ""
	if i := slices.IndexFunc(list, func(a account) bool { return a.isDefault }); i >= 0 {
		kindName = list[i].kind
	}
	if o, ok := p.ModelOverrides[of.name]; ok && p.ModelMode == modeCustom {
		there := slices.ContainsFunc(list, func(a account) bool { return a.kind == o.Kind })
		if there || o.Kind == offline {
			kindName, model = o.Kind, o.Model
		}
	}
	if kindName == "" {
		return choice{}
	}
	if model != "" {
		return choice{kindName, model}
	}
	k, _ := kindOf(kindName)
	model = k.pair[of.index]
	// Where there is nothing to recommend, or the user chose by hand, the model
	// that was named stays, as long as it is asked for at the same place.
	if (model == "" || p.ModelMode == modeCustom) && e.endpoint(of).kind == kindName && e.get(of.model) != "" {
		model = e.get(of.model)
	}
	return choice{kindName, model}
}

// project turns accounts and choices into assignments, so that the file alone
// says what is in force. e is the file without the process environment.
func (e env) project(list []account, p preferences) ([]assignment, error) {
	plan, code := e.choose(planning, list, p), e.choose(coding, list, p)

	byKind := map[string]account{}
	for _, a := range list {
		byKind[a.kind] = a
	}
	owner := e.owner()
	switch _, there := byKind[owner]; {
	case sharesSlot(plan.kind):
		owner = plan.kind
	case plan.kind == minds: // reached by leaving the slot empty
		owner = ""
	case sharesSlot(code.kind):
		owner = code.kind
	case code.kind == minds, !there:
		owner = ""
	}
	c := &changes{now: e.file}
	slot := byKind[owner]
	if owner == gemini {
		slot.base = geminiAPI
	}
	c.set(envOpenAIKey, slot.key)
	c.set(envOpenAIBaseURL, slot.base)
	for _, kind := range []string{openai, compatible, gemini} {
		parked := byKind[kind]
		if kind == owner {
			parked = account{}
		}
		c.set(parkedKey[kind], parked.key)
		if name := parkedBase[kind]; name != "" {
			c.set(name, parked.base)
		}
	}
	if a, there := byKind[anthropic]; there || e.get(envAnthropicKey) != "" {
		c.set(envAnthropicKey, a.key)
		c.set(envAnthropicBaseURL, a.base)
	}
	if a, there := byKind[minds]; there || e.get(envMindsKey) != "" {
		c.set(envMindsKey, a.key)
		c.set(envMindsURL, a.base)
		if !there {
			for _, name := range mindsExtras {
				c.remove(name)
			}
		}
		for _, x := range a.extras {
			c.set(x.name, x.value)
		}
	}

	codeBase := ""
	reached := owner // what engine openai or openai-compatible leads to by itself
	if reached == "" {
		reached = minds
	}
	if (sharesSlot(code.kind) || code.kind == minds) && code.kind != reached {
		if codeBase = byKind[code.kind].address(); codeBase == "" {
			return nil, fault.BadField("value_error", "A base URL is needed to use "+code.kind+" for coding.", "providers")
		}
	}
	c.set(envPlanningProvider, chosen(plan.kind))
	c.set(envPlanningModel, plan.model)
	c.set(envCodingProvider, chosen(code.kind))
	c.set(envCodingModel, code.model)
	c.set(envCodingBaseURL, codeBase)
	return c.list, nil
}

// unpark brings the account of an engine back into ANTON_OPENAI_* when planning
// is switched to that engine without a word about key and address.
func (e env) unpark(engine string) []assignment {
	from, to := e.owner(), engine
	back := e.account(to)
	if engine == e.provider(planning) || from == to || (back.key == "" && back.base == "") {
		return nil
	}
	c := &changes{now: e.file}
	if from != "" {
		left := e.account(from)
		c.set(parkedKey[from], left.key)
		if name := parkedBase[from]; name != "" {
			c.set(name, left.base)
		}
	}
	c.set(envOpenAIKey, back.key)
	c.set(envOpenAIBaseURL, back.base)
	c.set(parkedKey[to], "")
	c.set(parkedBase[to], "")
	return c.list
}
