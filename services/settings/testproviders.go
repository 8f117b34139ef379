package settings

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent/probe"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// What is known of a provider.
const (
	statusOK   = "ok"
	statusFail = "fail"
	untested   = "untested"
)

// probeFor bounds a question to a provider.
const probeFor = 12 * time.Second

// tested is the outcome of a test. It holds as long as what is configured is
// what was tried, or what was configured then.
type tested struct {
	Status string `json:"status"`
	Tried  string `json:"tried,omitempty"` // mark of the account; empty: a client said so, and it holds for any
	Saved  string `json:"saved,omitempty"`
}

// of is the status of an account.
func (t tested) of(a account) string {
	if t.Status == "" || t.Tried != "" && t.Tried != a.mark() && t.Saved != a.mark() {
		return untested
	}
	return t.Status
}

// mark tells accounts apart without holding the key.
func (a account) mark() string {
	sum := sha256.Sum256([]byte(a.kind + "\x00" + a.address() + "\x00" + a.key))
	return hex.EncodeToString(sum[:8])
}

// outcome of one question to a provider.
type outcome struct {
	ok      bool
	lacking bool   // it was not asked: something is missing or malformed
	brief   string // "HTTP 200"
	detail  string // a sentence
	models  []string
}

// TestProviders asks all providers of the request, or all that are set up, and
// remembers what came of it. The store's trouble does not keep the answer back.
func (r *Room) TestProviders(ctx context.Context, req *antonv1.TestProvidersRequest) (*antonv1.TestProvidersResponse, error) {
	e, err := r.env()
	if err != nil {
		return nil, unreadable(err)
	}
	list, err := r.toTest(ctx, e, req)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, probeFor)
	defer cancel()
	outcomes := make([]outcome, len(list))
	var wg sync.WaitGroup
	for i, a := range list {
		wg.Go(func() { outcomes[i] = r.try(bounded, e, a) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	resp := &antonv1.TestProvidersResponse{ProviderStatus: map[string]string{}, ProviderStatusDetails: map[string]string{}}
	results := map[string]tested{}
	for i, a := range list {
		status := statusFail
		if outcomes[i].ok {
			status = statusOK
		}
		results[a.kind] = tested{Status: status, Tried: a.mark(), Saved: e.account(a.kind).mark()}
		resp.ProviderStatus[a.kind], resp.ProviderStatusDetails[a.kind] = status, outcomes[i].brief
	}
	if err := r.remember(ctx, results); err != nil {
		r.log.ErrorContext(ctx, "settings: the outcome of a test of providers is not saved", "err", err)
	}
	return resp, nil
}

// toTest lists the accounts of a request with their stored keys filled in.
func (r *Room) toTest(ctx context.Context, e env, req *antonv1.TestProvidersRequest) ([]account, error) {
	if req.Providers == nil {
		p, err := r.preferences(ctx)
		return e.accounts(p), err
	}
	p, err := parsePatch(&antonv1.UpdateSettingsRequest{Providers: req.Providers})
	if err != nil {
		return nil, err
	}
	return p.merged(e), nil
}

// remember merges outcomes into what is known.
func (r *Room) remember(ctx context.Context, results map[string]tested) error {
	return r.db.Update(ctx, func(tx store.Tx) error {
		all := map[string]tested{}
		row, err := preferenceTable.Get(tx, key.Key(nil).Str("providerStatus"))
		if err == nil && row != nil {
			err = json.Unmarshal(row.Value, &all)
		}
		if err != nil {
			return err
		}
		for kind, t := range results {
			all[kind] = t
		}
		raw, err := json.Marshal(all)
		if err != nil {
			return err
		}
		return preferenceTable.Put(tx, &preference{"providerStatus", raw})
	})
}

// try asks one account's server. What it lacks to be asked is an outcome too.
func (r *Room) try(ctx context.Context, e env, a account) outcome {
	k, _ := kindOf(a.kind)
	stored := e.account(a.kind)
	switch {
	case a.kind == offline:
		return outcome{ok: true, brief: "built in", detail: "The built-in offline provider answers. It needs no key and no network."}
	case a.key == "" && !keyless(a.kind):
		return outcome{lacking: true, brief: "missing API key", detail: "An API key is needed for " + k.label + "."}
	case a.address() == "":
		return outcome{lacking: true, brief: "missing base URL", detail: "A base URL is needed for " + k.label + "."}
	case a.key != "" && a.stored && !sameServer(a.address(), stored.address()):
		// A key goes to no other server than the one it was stored for.
		return outcome{lacking: true, brief: "key of another address", detail: "The stored key belongs to another address. Enter it again to use it here."}
	case strings.ContainsFunc(a.key, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return outcome{lacking: true, brief: "malformed API key", detail: "The API key contains characters that no key has. Paste it again."}
	}
	return r.ask(ctx, k, probe.Target{Root: apiRoot(a.kind, a.address()), Key: a.key, Insecure: e.insecure(a.kind)})
}

// ask puts the question. A call that was broken off has no outcome worth telling.
func (r *Room) ask(ctx context.Context, k kind, t probe.Target) outcome {
	switch k.name {
	case anthropic:
		t.API = probe.Anthropic
	case minds:
		t.API = probe.Minds
	}
	models, err := r.prober.Ask(ctx, t)
	if f, ok := errors.AsType[*probe.Failure](err); ok {
		r.log.InfoContext(ctx, "settings: a provider does not answer as it should", "provider", k.name, "outcome", f.Brief)
		return outcome{brief: f.Brief, detail: f.Detail}
	}
	if err != nil {
		return outcome{brief: "broken off", detail: "The question was broken off."}
	}
	o := outcome{ok: true, brief: "HTTP 200", detail: k.label + " answers.", models: models}
	if t.Key != "" {
		o.detail = k.label + " answers and takes the key."
	}
	return o
}

// sameServer says whether two addresses are of one server.
func sameServer(a, b string) bool {
	u, errA := url.Parse(a)
	v, errB := url.Parse(b)
	return errA == nil && errB == nil && u.Scheme == v.Scheme && strings.EqualFold(u.Host, v.Host)
}

// unreadable is told when the settings file cannot be read.
func unreadable(err error) error {
	return fault.New(fault.Unavailable, "SETTINGS_UNREADABLE", "The settings file cannot be read. Check its permissions.").Because(err)
}
