package ant

import (
	antv1 "anthill/gen/ant/v1"
)

var search = resource{
	services: []generated{service(antv1.NewSearchServiceClient, antv1.RegisterSearchServiceHandlerClient)},
	beside: map[string]func(map[string]string) object{
		// compat: ant.md 1.2
		"SEARCHED_SESSION_NOT_FOUND": func(map[string]string) object { return object{"results": []any{}} },
	},
}
