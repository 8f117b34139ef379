package ant

import (
	"encoding/json"
	"net/http"

	antv1 "anthill/gen/ant/v1"
)

var sessions = resource{
	services: []generated{service(antv1.NewSessionsServiceClient, antv1.RegisterSessionsServiceHandlerClient)},
	status: map[string]int{
		antv1.SessionsService_CreateSession_FullMethodName: http.StatusCreated,
		antv1.SessionsService_DeleteSession_FullMethodName: http.StatusNoContent,
	},
	reasons: map[string]int{
		"SESSION_NOT_GONE": http.StatusBadRequest, // compat: ant.md 1.1
	},
	beside: map[string]func(map[string]string) object{
		"INVALID_ORDER": func(meta map[string]string) object {
			return object{"invalidIds": json.RawMessage(meta["invalid_ids"])}
		},
	},
}
