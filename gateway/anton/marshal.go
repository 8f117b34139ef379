package anton

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var (
	snake = protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}
	// compat: the settings speak camelCase (anton.md 6).
	camel   = protojson.MarshalOptions{EmitUnpopulated: true}
	lenient = protojson.UnmarshalOptions{DiscardUnknown: true}
)

// marshaler is the JSON of the generated routes.
type marshaler struct{}

// ContentType implements runtime.Marshaler.
func (marshaler) ContentType(any) string { return "application/json" }

// Marshal implements runtime.Marshaler.
func (marshaler) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return json.Marshal(v)
	}
	opts := snake
	if strings.HasPrefix(m.ProtoReflect().Descriptor().ParentFile().Path(), "anton/v1/settings") {
		opts = camel
	}
	b, err := opts.Marshal(m)
	return dropBlanks(b), err
}

// dropBlanks takes out the blanks that protojson puts between values in some
// builds and not in others. b is changed; it must be valid JSON.
func dropBlanks(b []byte) []byte {
	out, inString := b[:0], false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			inString = !inString
		case c == '\\' && inString:
			out = append(out, c)
			i++
		case c == ' ' && !inString:
			continue
		}
		out = append(out, b[i])
	}
	return out
}

// Unmarshal implements runtime.Marshaler.
func (marshaler) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return json.Unmarshal(data, v)
	}
	return decodeBody(data, m)
}

// NewDecoder implements runtime.Marshaler.
func (ms marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		data, err := io.ReadAll(r)
		switch {
		case err != nil:
			code, detail := unreadable(err)
			return markBody(code, detail)
		case len(bytes.TrimSpace(data)) == 0:
			return io.EOF // no body: what is required is missed by name
		}
		return ms.Unmarshal(data, v)
	})
}

// NewEncoder implements runtime.Marshaler.
func (ms marshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		b, err := ms.Marshal(v)
		if err == nil {
			_, err = w.Write(b)
		}
		return err
	})
}

// bodyErrorMark begins the text of a decoding error. The generated code passes
// errors of the decoder on as text, so the list travels inside it.
const bodyErrorMark = "\x00body:"

type bodyError struct {
	Status int             `json:"status"`
	Detail json.RawMessage `json:"detail"`
}

func markBody(code int, detail any) error {
	d, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	b, err := json.Marshal(bodyError{Status: code, Detail: d})
	if err != nil {
		return err
	}
	return errors.New(bodyErrorMark + string(b))
}

func bodyProblem(text string) problem {
	var e bodyError
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return problem{status: http.StatusBadRequest, detail: "Invalid request body"}
	}
	var list []fieldError
	if json.Unmarshal(e.Detail, &list) == nil {
		return invalid(list...)
	}
	var sentence string
	if json.Unmarshal(e.Detail, &sentence) != nil {
		sentence = "Invalid request body"
	}
	return problem{status: e.Status, detail: sentence}
}

// decodeBody reads a JSON object into a message; its error lists what is wrong
// in FastAPI's way.
func decodeBody(data []byte, m proto.Message) error {
	if f := checkText(data); f != nil {
		return markBody(http.StatusUnprocessableEntity, []fieldError{*f})
	}
	err := lenient.Unmarshal(data, m)
	if err == nil {
		return nil
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return markBody(http.StatusUnprocessableEntity, []fieldError{notJSON(0, "JSON decode error")})
	}
	list := shapeErrors(m.ProtoReflect().Descriptor(), v, []any{"body"})
	if len(list) == 0 {
		list = []fieldError{notJSON(0, "JSON decode error")}
	}
	return markBody(http.StatusUnprocessableEntity, list)
}

func notJSON(offset int, msg string) fieldError {
	return fieldError{Type: "json_invalid", Loc: []any{"body", offset}, Msg: msg, Input: map[string]any{}}
}

// shapeErrors compares a JSON value with the message it should be.
func shapeErrors(md protoreflect.MessageDescriptor, v any, loc []any) []fieldError {
	if strings.HasPrefix(string(md.FullName()), "google.protobuf.") {
		return wellKnownErrors(md, v, loc)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return []fieldError{{Type: "model_attributes_type", Loc: loc, Input: v,
			Msg: "Input should be a valid dictionary or object to extract fields from"}}
	}
	var list []fieldError
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		value, name := object[fd.JSONName()], fd.JSONName()
		if value == nil {
			value, name = object[string(fd.Name())], string(fd.Name())
		}
		if value == nil {
			continue
		}
		at := append(append([]any(nil), loc...), name)
		switch {
		case fd.IsMap():
			if _, ok := value.(map[string]any); !ok {
				list = append(list, fieldError{Type: "dict_type", Loc: at, Input: value, Msg: "Input should be a valid dictionary"})
			}
		case fd.IsList():
			items, ok := value.([]any)
			if !ok {
				list = append(list, fieldError{Type: "list_type", Loc: at, Input: value, Msg: "Input should be a valid list"})
				continue
			}
			for n, item := range items {
				list = append(list, scalarErrors(fd, item, append(append([]any(nil), at...), n))...)
			}
		default:
			list = append(list, scalarErrors(fd, value, at)...)
		}
	}
	return list
}

func wellKnownErrors(md protoreflect.MessageDescriptor, v any, loc []any) []fieldError {
	switch md.Name() {
	case "ListValue":
		if _, ok := v.([]any); !ok {
			return []fieldError{{Type: "list_type", Loc: loc, Input: v, Msg: "Input should be a valid list"}}
		}
	case "Struct":
		if _, ok := v.(map[string]any); !ok {
			return []fieldError{{Type: "dict_type", Loc: loc, Input: v, Msg: "Input should be a valid dictionary"}}
		}
	}
	return nil
}

func scalarErrors(fd protoreflect.FieldDescriptor, v any, loc []any) []fieldError {
	one := func(typ, msg string) []fieldError {
		return []fieldError{{Type: typ, Loc: loc, Msg: msg, Input: v}}
	}
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return shapeErrors(fd.Message(), v, loc)
	case protoreflect.StringKind:
		if _, ok := v.(string); !ok {
			return one("string_type", "Input should be a valid string")
		}
	case protoreflect.BoolKind:
		if _, ok := v.(bool); !ok {
			return one("bool_type", "Input should be a valid boolean")
		}
	case protoreflect.Int32Kind, protoreflect.Uint32Kind:
		n, ok := v.(json.Number)
		if !ok {
			return one("int_type", "Input should be a valid integer")
		}
		if i, err := n.Int64(); err != nil || i != int64(int32(i)) {
			return one("int_parsing", "Input should be a valid integer of 32 bits")
		}
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		if _, ok := v.(json.Number); !ok {
			return one("float_type", "Input should be a valid number")
		}
	}
	return nil
}
