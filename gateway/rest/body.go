package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"anthill/gateway/edge"
)

// Marshaler is the JSON of generated routes. Unknown members of a body are ignored.
type Marshaler struct {
	// Names are those of a message that is answered; nil: Snake, all of them.
	Names func(proto.Message) Names
}

// Nothing is an answer without a body, for a status that allows none.
type Nothing struct{}

// ContentType implements runtime.Marshaler.
func (Marshaler) ContentType(any) string { return "application/json" }

// Marshal implements runtime.Marshaler.
func (ms Marshaler) Marshal(v any) ([]byte, error) {
	if v == (Nothing{}) {
		return nil, nil
	}
	m, ok := v.(proto.Message)
	if !ok {
		return json.Marshal(v)
	}
	names := Snake
	if ms.Names != nil {
		names = ms.Names(m)
	}
	return Encode(m, names)
}

// Unmarshal implements runtime.Marshaler.
func (Marshaler) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return json.Unmarshal(data, v)
	}
	if bad := DecodeBody(data, m); bad != nil {
		return bad
	}
	return nil
}

// NewDecoder implements runtime.Marshaler.
func (ms Marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		data, err := io.ReadAll(r)
		switch {
		case err != nil:
			return Unreadable(err)
		case len(bytes.TrimSpace(data)) == 0:
			return io.EOF // no body: what is required is missed by name
		}
		return ms.Unmarshal(data, v)
	})
}

// NewEncoder implements runtime.Marshaler.
func (ms Marshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		b, err := ms.Marshal(v)
		if err == nil {
			_, err = w.Write(b)
		}
		return err
	})
}

// DropBlanks takes out the blanks that protojson puts between values in some
// builds and not in others. b is changed; it must be valid JSON.
func DropBlanks(b []byte) []byte {
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

// FieldError is what is wrong with one field, as FastAPI lists it.
type FieldError struct {
	Type  string `json:"type"`
	Loc   []any  `json:"loc"` // "body" or "query", then names and indices
	Msg   string `json:"msg"`
	Input any    `json:"input"`
}

// BodyError says why a body was not read: with fields it is not what the route
// takes, else the status says more.
type BodyError struct {
	Status int          `json:"status"`
	Detail string       `json:"detail"` // a sentence; empty with fields
	Fields []FieldError `json:"fields"`
}

// errNotText is a string that JSON cannot hold.
var errNotText = errors.New("a string is not UTF-8")

// bodyErrorMark begins the text of a BodyError. Generated code passes errors of
// the decoder on as text, so all of it travels inside.
const bodyErrorMark = "\x00body:"

func (e *BodyError) Error() string {
	b, err := json.Marshal(e)
	if err != nil { // cannot happen: the fields came from JSON
		return bodyErrorMark + "{}"
	}
	return bodyErrorMark + string(b)
}

// BodyErrorIn finds the BodyError in the message of a status that generated code made.
func BodyErrorIn(message string) (*BodyError, bool) {
	text, found := strings.CutPrefix(message, bodyErrorMark)
	if !found {
		return nil, false
	}
	e := &BodyError{}
	if json.Unmarshal([]byte(text), e) != nil || e.Status == 0 {
		return &BodyError{Status: http.StatusBadRequest, Detail: "Invalid request body"}, true
	}
	return e, true
}

// ReadBody reads a whole JSON body within the edge's limit.
func ReadBody(r *http.Request) ([]byte, *BodyError) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, Unreadable(err)
	}
	return b, nil
}

// Unreadable says why reading a body failed.
func Unreadable(err error) *BodyError {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &BodyError{Status: http.StatusRequestEntityTooLarge, Detail: "Request body too large"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &BodyError{Status: http.StatusRequestTimeout, Detail: "The request body took too long to arrive"}
	}
	return &BodyError{Status: http.StatusBadRequest, Detail: "The request body could not be read"}
}

var lenient = protojson.UnmarshalOptions{DiscardUnknown: true}

// DecodeBody reads a JSON object into a message, or says what is wrong with which field.
func DecodeBody(data []byte, m proto.Message) *BodyError {
	if f := CheckText(data); f != nil {
		return invalid(*f)
	}
	if lenient.Unmarshal(data, m) == nil {
		return nil
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return invalid(NotJSON(0, "JSON decode error"))
	}
	list := shapeErrors(m.ProtoReflect().Descriptor(), v, []any{"body"})
	if len(list) == 0 {
		list = []FieldError{NotJSON(0, "JSON decode error")}
	}
	return invalid(list...)
}

func invalid(list ...FieldError) *BodyError {
	return &BodyError{Status: http.StatusUnprocessableEntity, Fields: list}
}

// NotJSON says that a body is no JSON, as far as offset.
func NotJSON(offset int, msg string) FieldError {
	return FieldError{Type: "json_invalid", Loc: []any{"body", offset}, Msg: msg, Input: map[string]any{}}
}

// CheckText refuses bodies that JSON decoders would quietly repair: broken
// UTF-8, lone surrogates, NUL; and nesting that only hurts.
func CheckText(body []byte) *FieldError {
	var bad *edge.JSONError
	if err := edge.CheckJSON(body); errors.As(err, &bad) {
		f := NotJSON(bad.Offset, bad.Msg)
		return &f
	}
	return nil
}

// ErrNotObject says that a body is JSON, but no object.
var ErrNotObject = errors.New("not an object")

var (
	errDuplicate = errors.New("duplicate key")
	errTrailing  = errors.New("text after the value")
)

// SplitObject reads a JSON object into its members, refusing what
// encoding/json lets pass: duplicate keys and trailing text.
func SplitObject(body []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if t != json.Delim('{') {
		return nil, ErrNotObject
	}
	out := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		k, ok := t.(string)
		if !ok {
			return nil, ErrNotObject
		}
		if _, dup := out[k]; dup {
			return nil, errDuplicate
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		out[k] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errTrailing
	}
	return out, nil
}

// shapeErrors compares a JSON value with the message it should be.
func shapeErrors(md protoreflect.MessageDescriptor, v any, loc []any) []FieldError {
	if strings.HasPrefix(string(md.FullName()), "google.protobuf.") {
		return wellKnownErrors(md, v, loc)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return []FieldError{{Type: "model_attributes_type", Loc: loc, Input: v,
			Msg: "Input should be a valid dictionary or object to extract fields from"}}
	}
	var list []FieldError
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
				list = append(list, FieldError{Type: "dict_type", Loc: at, Input: value, Msg: "Input should be a valid dictionary"})
			}
		case fd.IsList():
			items, ok := value.([]any)
			if !ok {
				list = append(list, FieldError{Type: "list_type", Loc: at, Input: value, Msg: "Input should be a valid list"})
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

func wellKnownErrors(md protoreflect.MessageDescriptor, v any, loc []any) []FieldError {
	switch md.Name() {
	case "ListValue":
		if _, ok := v.([]any); !ok {
			return []FieldError{{Type: "list_type", Loc: loc, Input: v, Msg: "Input should be a valid list"}}
		}
	case "Struct":
		if _, ok := v.(map[string]any); !ok {
			return []FieldError{{Type: "dict_type", Loc: loc, Input: v, Msg: "Input should be a valid dictionary"}}
		}
	}
	return nil
}

func scalarErrors(fd protoreflect.FieldDescriptor, v any, loc []any) []FieldError {
	one := func(typ, msg string) []FieldError {
		return []FieldError{{Type: typ, Loc: loc, Msg: msg, Input: v}}
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
