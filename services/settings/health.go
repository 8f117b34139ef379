package settings

import (
	"context"
	"errors"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
)

// GetHealth tells that the server answers and who would answer a turn. It fails
// once the store has given up writing for good; a full disk passes by itself,
// and reading goes on meanwhile.
func (r *Room) GetHealth(ctx context.Context, _ *antonv1.GetHealthRequest) (*antonv1.Health, error) {
	if err := r.db.Err(); err != nil && !errors.Is(err, store.ErrFull) {
		return nil, fault.New(fault.Unavailable, "STORE_READ_ONLY",
			"The store takes no more writes. Check the disk, then restart the server.").Because(err)
	}
	m, err := r.Model(ctx)
	if err != nil {
		return nil, err
	}
	return &antonv1.Health{
		Status:            "ok",
		AntonAvailable:    true,
		Mode:              "anton",
		ConfigReady:       m.Ready,
		ConfigError:       m.Problem,
		Provider:          m.Provider,
		Model:             m.Model,
		ProviderLabel:     m.Label,
		LiveConversations: r.running(),
		LivePads:          r.livePads(),
		Version:           r.version,
	}, nil
}

// GetBanner names the server.
func (r *Room) GetBanner(context.Context, *antonv1.GetBannerRequest) (*antonv1.Banner, error) {
	return &antonv1.Banner{Message: "Anton CoWork API", AntonAvailable: true}, nil
}

// GetBrowseStatus says what the agent can do with web pages.
func (r *Room) GetBrowseStatus(context.Context, *antonv1.GetBrowseStatusRequest) (*antonv1.BrowseStatus, error) {
	return &antonv1.BrowseStatus{
		Supported: false,
		Mode:      "url_context_only",
		Reason:    "This version has no browser and no web search. The agent reads a page whose address it is given.",
		Evidence:  []string{"tool browse: not there", "tool web_search: not there", "tool web_fetch: there"},
	}, nil
}
