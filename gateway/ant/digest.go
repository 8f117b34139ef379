package ant

import antv1 "anthill/gen/ant/v1"

var digest = resource{
	services: []generated{service(antv1.NewDigestServiceClient, antv1.RegisterDigestServiceHandlerClient)},
}
