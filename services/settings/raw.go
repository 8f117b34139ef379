package settings

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
)

const (
	maxRaw   = 256 << 10 // bytes of one update
	maxNames = 1000      // assignments in it
)

// RevealKey returns a key in the clear.
func (r *Room) RevealKey(ctx context.Context, req *antonv1.RevealKeyRequest) (*antonv1.RevealKeyResponse, error) {
	if err := r.checkDirect(ctx); err != nil {
		return nil, err
	}
	e, err := r.env()
	if err != nil {
		return nil, unreadable(err)
	}
	name := strings.ToLower(req.Name)
	if name == "minds" {
		name = minds
	}
	k, ok := kindOf(name)
	if !ok || k.name == offline || isLocal(k.name) {
		return nil, fault.Missing("KEY_NOT_FOUND", "Unknown key name")
	}
	value := e.account(k.name).key
	if own := e.get(envOpenAIKey); k.name == openai && own != "" {
		value = own // compat: what openaiApiKey stands for, whoever it belongs to
	}
	return &antonv1.RevealKeyResponse{Value: value}, nil
}

// GetRawSettings returns the settings file in the clear.
func (r *Room) GetRawSettings(ctx context.Context, _ *antonv1.GetRawSettingsRequest) (*antonv1.RawSettings, error) {
	if err := r.checkDirect(ctx); err != nil {
		return nil, err
	}
	src, _, err := readEnv(r.file.path)
	if err != nil {
		return nil, unreadable(err)
	}
	values := parseDocument(src).values()
	if _, ok := values[envTermsConsent]; !ok {
		// compat: the desktop app does not begin without (anton.md 10). There is
		// nothing to consent to here, so nobody is asked; and nothing is stored.
		values[envTermsConsent] = "true"
	}
	return &antonv1.RawSettings{Values: values, Content: strings.ToValidUTF8(string(src), "\ufffd")}, nil
}

// UpdateRawSettings merges assignments into the settings file, all or none.
//
// better: the reference replaces the whole file (anton.md 6), so that a client
// that sends the one line it cares about, as its own does, deletes every other
// key; that was among the faults mended later (anton.md 12). Here a name that is
// mentioned is set where it stands or at the end, an empty value deletes it, the
// "***" of a masked key leaves it, and every other byte of the file stays.
func (r *Room) UpdateRawSettings(ctx context.Context, req *antonv1.UpdateRawSettingsRequest) (*antonv1.UpdateRawSettingsResponse, error) {
	if err := r.checkDirect(ctx); err != nil {
		return nil, err
	}
	edits, err := parseRaw(req.GetContent())
	if err != nil {
		return nil, err
	}
	change := func(map[string]string) ([]assignment, error) { return edits, ctx.Err() }
	if err := r.file.edit(change, func() error { return nil }); err != nil {
		return nil, r.logged(ctx, notSaved(err, settingsNotSaved))
	}
	return &antonv1.UpdateRawSettingsResponse{Ok: true}, nil
}

// parseRaw reads lines of NAME=value; of two for one name the later counts. A
// line that is none of these, a comment or blank is refused: it would be lost.
func parseRaw(content string) ([]assignment, error) {
	wrong := func(format string, args ...any) error {
		return fault.BadField("value_error", fmt.Sprintf(format, args...), "content")
	}
	if len(content) > maxRaw {
		return nil, wrong("Settings of up to %d KiB can be sent at once", maxRaw>>10)
	}
	values, order := map[string]string{}, []string{}
	for i, text := range strings.Split(content, "\n") {
		l := parseLine(text)
		bare := strings.TrimLeft(text, " \t")
		switch {
		case breaksLine(strings.ReplaceAll(text, "\t", " ")), breaksLine(l.value):
			return nil, wrong("Line %d contains a control character", i+1)
		case l.name == "" && bare != "" && bare[0] != '#':
			return nil, wrong("Line %d is not of the form NAME=value", i+1)
		case l.name == "", l.value == kept && slices.Contains(secretNames, l.name):
			continue
		case len(l.value) > maxValue || len(l.name) > 200:
			return nil, wrong("Line %d is longer than what can be kept", i+1)
		}
		if _, again := values[l.name]; !again {
			order = append(order, l.name)
		}
		values[l.name] = l.value
	}
	if len(order) > maxNames {
		return nil, wrong("Up to %d names can be sent at once", maxNames)
	}
	edits := make([]assignment, len(order))
	for i, name := range order {
		edits[i] = assignment{name, values[name]}
	}
	return edits, nil
}

// secretNames are those whose values are never shown but on request.
var secretNames = slices.Concat([]string{envAnthropicKey, envOpenAIKey, envMindsKey},
	slices.Sorted(maps.Values(parkedKey)), slices.Sorted(maps.Values(legacyNames)))
