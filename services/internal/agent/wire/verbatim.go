package wire

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strconv"
)

// Verbatim carries JSON through an encoder that would rewrite it: the encoder
// gets a mark for each value, and Fill puts the values in their places, byte for
// byte. Models read the properties of a schema in the order they are given.
type Verbatim struct {
	mark   string
	values []json.RawMessage
}

// Mark stands for the value, which must be valid JSON, until Fill.
func (v *Verbatim) Mark(raw json.RawMessage) string {
	if v.mark == "" {
		v.mark = rand.Text() + "-"
	}
	v.values = append(v.values, raw)
	return v.mark + strconv.Itoa(len(v.values)-1)
}

// Base64 stands for a string of a prefix and data in base64. No encoder has to
// go through megabytes several times.
func (v *Verbatim) Base64(prefix string, data []byte) string {
	raw, err := json.Marshal(prefix)
	if err != nil {
		panic(err) // a string can be encoded
	}
	raw = base64.StdEncoding.AppendEncode(raw[:len(raw)-1], data)
	return v.Mark(append(raw, '"'))
}

// Fill replaces the marks in encoded JSON.
func (v *Verbatim) Fill(body []byte) []byte {
	if v.mark == "" {
		return body
	}
	open := []byte(`"` + v.mark)
	size := len(body)
	for _, raw := range v.values {
		size += len(raw)
	}
	out := make([]byte, 0, size)
	for {
		before, after, found := bytes.Cut(body, open)
		out = append(out, before...)
		if !found {
			return out
		}
		number, rest, _ := bytes.Cut(after, []byte(`"`))
		n, err := strconv.Atoi(string(number))
		if err != nil || n >= len(v.values) {
			out, body = append(out, open...), after // no mark of ours
			continue
		}
		out, body = append(out, v.values[n]...), rest
	}
}
