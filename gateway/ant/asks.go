package ant

import (
	"net/http"

	antv1 "anthill/gen/ant/v1"
)

var asks = resource{
	services: []generated{service(antv1.NewAsksServiceClient, antv1.RegisterAsksServiceHandlerClient)},
	status:   map[string]int{antv1.AsksService_CreateAsk_FullMethodName: http.StatusCreated},
	beside: map[string]func(map[string]string) object{
		"ASK_DECIDED": func(meta map[string]string) object {
			return object{"status": meta["status"], "answered_by": orNil(meta["answered_by"]), "answered_at": meta["answered_at"]}
		},
	},
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}
