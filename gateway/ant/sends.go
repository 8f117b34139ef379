package ant

import antv1 "anthill/gen/ant/v1"

// sends are messages into the screens of agents. One that failed is no error: its
// row says so.
var sends = resource{
	services: []generated{service(antv1.NewSendsServiceClient, antv1.RegisterSendsServiceHandlerClient)},
}
