package ant

import (
	"net/http"

	antv1 "anthill/gen/ant/v1"
)

var attention = resource{
	services: []generated{service(antv1.NewAttentionServiceClient, antv1.RegisterAttentionServiceHandlerClient)},
	reasons:  map[string]int{"PROMPT_GONE": http.StatusGone},
	beside: map[string]func(map[string]string) object{
		"PROMPT_ANSWERED": func(meta map[string]string) object {
			return object{"answered_by": orNil(meta["answered_by"]), "answered_at": orNil(meta["answered_at"])}
		},
	},
}
