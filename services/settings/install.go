package settings

import (
	"context"

	antonv1 "anthill/gen/anton/v1"
)

// GetInstallStatus says that everything is there: it is one program.
func (r *Room) GetInstallStatus(context.Context, *antonv1.GetInstallStatusRequest) (*antonv1.InstallStatus, error) {
	return &antonv1.InstallStatus{AntonInstalled: true, ServerDepsReady: true}, nil
}

// GetConfigured says whether turns can be answered, as far as that can be known
// without asking anybody. On a fresh home they can: by the offline provider.
func (r *Room) GetConfigured(ctx context.Context, _ *antonv1.GetConfiguredRequest) (*antonv1.Configured, error) {
	m, err := r.Model(ctx)
	if err != nil {
		return nil, err
	}
	c := &antonv1.Configured{Configured: m.Ready}
	switch {
	case !m.Ready || m.Provider == offline:
	case m.Provider == anthropic:
		c.Provider = anthropic
	default:
		c.Provider = "minds" // compat: the name for all that speaks OpenAI's API (anton.md 6)
	}
	return c, nil
}
