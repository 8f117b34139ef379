package anton

import (
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"anthill/gateway/rest"
)

var (
	snake = protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}
	// compat: the settings speak camelCase (anton.md 6).
	camel = protojson.MarshalOptions{EmitUnpopulated: true}
)

// marshaler is the JSON of the dialect.
var marshaler = rest.Marshaler{Options: optionsOf}

// optionsOf are how a message is written.
func optionsOf(m proto.Message) protojson.MarshalOptions {
	if strings.HasPrefix(m.ProtoReflect().Descriptor().ParentFile().Path(), "anton/v1/settings") {
		return camel
	}
	return snake
}

// bodyProblem is the answer to a body that was not read.
func bodyProblem(bad *rest.BodyError) problem {
	if len(bad.Fields) > 0 {
		return invalid(bad.Fields...)
	}
	return problem{status: bad.Status, detail: bad.Detail}
}

// readBody reads a whole JSON body within the edge's limit.
func readBody(r *http.Request) ([]byte, *problem) {
	b, bad := rest.ReadBody(r)
	if bad != nil {
		p := bodyProblem(bad)
		return nil, &p
	}
	return b, nil
}
