package ant

import (
	"context"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"anthill/gateway/edge"
	"anthill/gateway/rest"
	antv1 "anthill/gen/ant/v1"
)

var identity = resource{
	services: []generated{service(antv1.NewIdentityServiceClient, antv1.RegisterIdentityServiceHandlerClient)},
	byHand: func(h *Handler) {
		c := antv1.NewIdentityServiceClient(h.channel)
		h.routes.AddHand(http.MethodPost, "/api/identity/register", func(w http.ResponseWriter, r *http.Request, _ map[string]string) {
			aboutProcesses(h, w, r, &antv1.RegisterIdentityRequest{}, c.RegisterIdentity)
		})
		h.routes.AddHand(http.MethodPost, "/api/identity/resolve", func(w http.ResponseWriter, r *http.Request, _ map[string]string) {
			aboutProcesses(h, w, r, &antv1.ResolveIdentityRequest{}, c.ResolveIdentity)
		})
	},
}

// aboutProcesses makes a call that depends on where it comes from: what is decided
// by that is the service's.
func aboutProcesses[Q proto.Message](h *Handler, w http.ResponseWriter, r *http.Request, q Q,
	call func(context.Context, Q, ...grpc.CallOption) (*antv1.IdentityResponse, error)) {
	body, bad := rest.ReadBody(r)
	if bad == nil {
		bad = rest.DecodeBody(body, q)
	}
	if bad != nil {
		h.refuse(w, r, bodyProblem(bad))
		return
	}
	ctx := edge.Outgoing(r)
	if from := edge.ExternalOf(r.Context()).Client; from.IsValid() {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-client-address", from.String())
	}
	v, err := call(ctx, q)
	if err != nil {
		h.callFailed(w, r, err)
		return
	}
	h.writeMessage(w, http.StatusOK, v)
}
