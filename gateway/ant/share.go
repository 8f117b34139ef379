package ant

import antv1 "anthill/gen/ant/v1"

var share = resource{
	services: []generated{service(antv1.NewShareServiceClient, antv1.RegisterShareServiceHandlerClient)},
}
