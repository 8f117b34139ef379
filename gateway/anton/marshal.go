package anton

import (
	"net/http"
	"strings"

	"google.golang.org/protobuf/proto"

	"anthill/gateway/rest"
)

// marshaler is the JSON of the dialect.
var marshaler = rest.Marshaler{Names: namesOf}

// namesOf are those of a message. compat: the settings speak camelCase (anton.md 6).
func namesOf(m proto.Message) rest.Names {
	if strings.HasPrefix(m.ProtoReflect().Descriptor().ParentFile().Path(), "anton/v1/settings") {
		return rest.Camel
	}
	return rest.Snake
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
