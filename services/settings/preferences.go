package settings

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
)

// preferences are the settings that matter to the desktop app alone, and which
// accounts and overrides stand behind the models in the settings file.
type preferences struct {
	Greeting       string              `json:"greeting"`
	Tone           string              `json:"tone"`
	AutoPin        bool                `json:"autoPin"`
	ShowDots       bool                `json:"showDots"`
	ShowCounters   bool                `json:"showCounters"`
	AccentVariant  string              `json:"accentVariant"`
	ModelMode      string              `json:"modelMode"`
	ModelOverrides map[string]override `json:"modelOverrides"`
	Providers      []registration      `json:"providers"`
	ProviderStatus map[string]tested   `json:"providerStatus"` // by kind
}

const (
	modeDefault = "default"
	modeCustom  = "custom"
)

func defaultPreferences() preferences {
	return preferences{
		Greeting:      "What shall we work on?",
		Tone:          "balanced",
		AutoPin:       true,
		ShowDots:      true,
		ShowCounters:  true,
		AccentVariant: "aqua",
		ModelMode:     modeDefault,
	}
}

// preference is one of them as stored. Each has a record of its own, so that
// two writers of different ones never undo each other.
type preference struct {
	Name  string          `json:"name"` // the JSON name above
	Value json.RawMessage `json:"value"`
}

var preferenceTable = store.NewTable(store.TableOptions[preference]{
	Name: "settings.preference",
	Key:  func(p *preference) key.Key { return key.Key(nil).Str(p.Name) },
})

func (r *Room) preferences(ctx context.Context) (preferences, error) {
	var p preferences
	err := r.db.View(ctx, func(tx store.Reader) error {
		stored := map[string]json.RawMessage{}
		for row, err := range preferenceTable.Scan(tx, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			stored[row.Name] = row.Value
		}
		var err error
		p, err = defaultPreferences().with(stored)
		return err
	})
	return p, err
}

// with returns p with some of its fields replaced, by JSON name.
func (p preferences) with(fields map[string]json.RawMessage) (preferences, error) {
	// Decoding would merge the maps.
	if _, ok := fields["modelOverrides"]; ok {
		p.ModelOverrides = nil
	}
	if _, ok := fields["providerStatus"]; ok {
		p.ProviderStatus = nil
	}
	all, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(all, &p)
	}
	if err != nil {
		return p, fmt.Errorf("settings: preferences do not decode: %w", err)
	}
	return p, nil
}

func (r *Room) savePreferences(ctx context.Context, fields map[string]json.RawMessage) error {
	if len(fields) == 0 {
		return nil
	}
	return r.db.Update(ctx, func(tx store.Tx) error {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if err := preferenceTable.Put(tx, &preference{name, fields[name]}); err != nil {
				return err
			}
		}
		return nil
	})
}
