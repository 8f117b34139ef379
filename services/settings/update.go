package settings

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"syscall"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// UpdateSettings changes what the request names and nothing else; a request
// with anything wrong in it changes nothing. It is in force for the next turn
// when it returns. A name that the process environment sets stays as it is
// there: the answer tells what is in force.
func (r *Room) UpdateSettings(ctx context.Context, req *antonv1.UpdateSettingsRequest) (*antonv1.UpdateSettingsResponse, error) {
	p, err := parsePatch(req)
	if err != nil {
		return nil, err
	}
	updated, err := r.apply(ctx, p)
	if err != nil {
		return nil, r.logged(ctx, err)
	}
	m, err := r.Model(ctx)
	if err != nil {
		return nil, err
	}
	return &antonv1.UpdateSettingsResponse{
		Status:            "ok",
		Updated:           updated,
		ConfigReady:       m.Ready,
		ConfigError:       m.Problem,
		CompatConfigReady: m.Ready,
		CompatConfigError: m.Problem,
	}, nil
}

// logged notes the cause of a failure to save, which the caller is not told.
func (r *Room) logged(ctx context.Context, err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Kind != fault.Invalid {
		r.log.ErrorContext(ctx, "settings: not saved", "err", err)
	}
	return err
}

// apply carries a patch out and returns the names of what it changed.
func (r *Room) apply(ctx context.Context, p *patch) (updated []string, err error) {
	var fields map[string]json.RawMessage
	change := func(file map[string]string) ([]assignment, error) {
		// All writers of preferences hold the file's lock, so these stay true
		// until they are written.
		before, err := r.preferences(ctx)
		if err != nil {
			return nil, notSaved(err, preferencesNotSaved)
		}
		edits, registered, err := r.plan(p, r.over(file, nil), before)
		if err != nil {
			return nil, err
		}
		fields = maps.Clone(p.prefs)
		names := slices.Clone(p.names)
		if p.hasProviders {
			raw, err := json.Marshal(registered)
			if err != nil {
				return nil, err
			}
			fields["providers"] = raw
			names = append(names, "providers")
		}
		updated = describe(edits, names)
		return edits, nil
	}
	commit := func() error {
		if err := r.savePreferences(ctx, fields); err != nil {
			return notSaved(err, preferencesNotSaved)
		}
		return nil
	}
	if err := r.file.edit(change, commit); err != nil {
		return nil, notSaved(err, settingsNotSaved)
	}
	return updated, nil
}

// plan says what a patch changes in the file, and which accounts it registers.
func (r *Room) plan(p *patch, file env, before preferences) ([]assignment, []registration, error) {
	after, err := before.with(p.prefs)
	if err != nil {
		return nil, nil, err
	}
	if p.hasProviders {
		list := p.merged(file)
		edits, err := file.project(list, after)
		if err != nil {
			return nil, nil, err
		}
		registered := make([]registration, len(list))
		for i, a := range list {
			registered[i] = registration{Kind: a.kind, Name: a.name, Default: a.isDefault}
		}
		return append(edits, p.sets...), registered, nil
	}
	edits := p.explicit(file)
	modesChange := after.ModelMode != before.ModelMode || !maps.Equal(after.ModelOverrides, before.ModelOverrides)
	if modesChange && !p.roleSets {
		derived, err := r.rechoose(file, edits, after)
		if err != nil {
			return nil, nil, err
		}
		edits = append(edits, derived...)
	}
	return edits, nil, nil
}

// rechoose gives the roles their models after a change of mode or overrides.
func (r *Room) rechoose(file env, edits []assignment, after preferences) ([]assignment, error) {
	next := withEdits(file.file, edits)
	// Who is in use, and who can be chosen, is what is in force; what gets
	// written is what the file has, never a key of the process.
	file, whole := r.over(next, nil), r.over(next, r.process)
	main := whole.endpoint(planning).kind
	if _, known := kindOf(main); !known {
		return nil, nil // it is told as a problem; nobody else is put in its place
	}
	list := whole.accounts(after)
	for i, a := range list {
		own := file.account(a.kind)
		list[i].key, list[i].base = own.key, own.base
	}
	if !slices.ContainsFunc(list, func(a account) bool { return a.isDefault }) {
		list = append(list, account{kind: offline, isDefault: true})
	}
	return file.project(list, after)
}

// withEdits returns a copy of the file's assignments with these made.
func withEdits(file map[string]string, edits []assignment) map[string]string {
	next := make(map[string]string, len(file)+len(edits))
	maps.Copy(next, file)
	for _, a := range edits {
		if delete(next, a.name); a.value != "" {
			next[a.name] = a.value
		}
	}
	return next
}

// merged is the list of the request, with the keys and addresses it leaves
// alone. Exactly one is the default, unless there is none at all: the first that
// says so, else the one in use, else the first.
func (p *patch) merged(file env) []account {
	list := make([]account, len(p.providers))
	main := -1
	for i, x := range p.providers {
		a := file.account(x.kind)
		a.name, a.extras = x.name, x.minds
		if a.stored = x.key == nil; !a.stored {
			a.key = *x.key
		}
		if x.base != nil {
			a.base = *x.base
		}
		if x.isDefault && main < 0 {
			main = i
		}
		list[i] = a
	}
	if main < 0 {
		current := file.endpoint(planning).kind
		main = max(0, slices.IndexFunc(list, func(a account) bool { return a.kind == current }))
	}
	if len(list) > 0 {
		list[main].isDefault = true
	}
	return list
}

// explicit is what the single fields of the request say.
func (p *patch) explicit(file env) []assignment {
	edits := slices.Clone(p.sets)
	says := func(name string) bool {
		return slices.ContainsFunc(p.sets, func(a assignment) bool { return a.name == name })
	}
	for _, a := range p.sets {
		old, isLegacy := legacyNames[a.name]
		if _, there := file.file[old]; a.value == "" && isLegacy && there {
			edits = append(edits, assignment{old, ""}) // else the key would still be in force
		}
		engine := a.name == envPlanningProvider && (a.value == openai || a.value == compatible)
		if engine && !says(envOpenAIKey) && !says(envOpenAIBaseURL) {
			edits = append(edits, file.unpark(a.value)...)
		}
	}
	// The address for coding goes with the provider; nobody asked for it by name.
	return slices.DeleteFunc(edits, func(a assignment) bool {
		_, there := file.file[a.name]
		return a.name == envCodingBaseURL && a.value == "" && !there
	})
}

// describe names changes as the contract does.
func describe(edits []assignment, prefs []string) []string {
	updated := []string{}
	for _, a := range edits {
		if a.value != "" {
			updated = append(updated, a.name)
		}
	}
	for _, a := range edits {
		if a.value == "" {
			updated = append(updated, "deleted:"+a.name)
		}
	}
	for _, name := range prefs {
		updated = append(updated, "ui:"+name)
	}
	return updated
}

const (
	settingsNotSaved    = "Settings could not be saved."
	preferencesNotSaved = "Local preferences could not be saved."
)

// notSaved makes a failure of disk or store one that callers may see. Faults
// and the end of the call pass as they are.
func notSaved(err error, message string) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	kind, reason := fault.Unavailable, "SETTINGS_NOT_SAVED"
	if errors.Is(err, store.ErrFull) || errors.Is(err, syscall.ENOSPC) {
		kind, reason = fault.Exhausted, "DISK_FULL"
	}
	return fault.New(kind, reason, "%s", message).Because(err)
}
