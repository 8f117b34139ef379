package anton

import (
	"context"
	"net/http"

	"google.golang.org/protobuf/proto"

	"anthill/gateway/edge"
	antonv1 "anthill/gen/anton/v1"
)

// forward takes the cookie from a browser that signs out.
func forward(ctx context.Context, w http.ResponseWriter, m proto.Message) error {
	if _, ok := m.(*antonv1.SignOutResponse); ok {
		edge.ClearSession(ctx, w)
	}
	return nil
}
