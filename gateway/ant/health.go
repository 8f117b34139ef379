package ant

import antv1 "anthill/gen/ant/v1"

var health = resource{
	services: []generated{service(antv1.NewHealthServiceClient, antv1.RegisterHealthServiceHandlerClient)},
}
