package anton

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"anthill/gateway/edge"
)

// checkText refuses bodies that JSON decoders would quietly repair: broken
// UTF-8, lone surrogates, NUL; and nesting that only hurts.
func checkText(body []byte) *fieldError {
	var bad *edge.JSONError
	if err := edge.CheckJSON(body); errors.As(err, &bad) {
		f := notJSON(bad.Offset, bad.Msg)
		return &f
	}
	return nil
}

var (
	errNotObject = errors.New("not an object")
	errDuplicate = errors.New("duplicate key")
	errTrailing  = errors.New("text after the value")
)

// splitObject reads a JSON object into its members, refusing what
// encoding/json lets pass: duplicate keys and trailing text.
func splitObject(body []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if t != json.Delim('{') {
		return nil, errNotObject
	}
	out := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		k, ok := t.(string)
		if !ok {
			return nil, errNotObject
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
