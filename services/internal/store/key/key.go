// Package key encodes tuples of strings and integers into bytes that sort as
// the tuples do, so that an ordered store can hold tables and indexes.
//
// Every element starts with a tag for its type and ends at a place that its own
// bytes decide. Therefore comparing two encodings compares the tuples element
// by element (a shorter tuple before its extensions; strings before signed
// before unsigned integers), and one encoding is a prefix of another exactly
// when its tuple is. Encodings are on disk: the tags must never change.
package key

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
)

// Element tags. A number's tag carries its length in bytes: of the magnitude,
// added for positive numbers and subtracted for negative ones.
const (
	tagStr  = 0x02
	tagInt  = 0x10 // 0x08 to 0x18
	tagUint = 0x20 // 0x20 to 0x28
)

// Inside a string 0x00 and 0x01 are written as an escape and a second byte, so
// that the terminator is smaller than anything a string can go on with.
const (
	terminator = 0x00
	escape     = 0x01
	escaped0   = 0x01
	escaped1   = 0x02
)

// ErrMalformed is the error of a Reader whose bytes are not the next element.
var ErrMalformed = errors.New("key: not the element asked for")

// Key is an encoded tuple; nil is the empty one. Methods return a new key and
// leave the receiver alone, so that keys may be built from a shared prefix.
type Key []byte

// Of returns the key (table).
func Of(table string) Key { return Key(nil).Str(table) }

// Str returns k with the string s (any bytes) added.
func (k Key) Str(s string) Key {
	n := len(s) + 2
	for i := range len(s) {
		if s[i] <= escape {
			n++
		}
	}
	out := k.grow(n)
	out = append(out, tagStr)
	for i := range len(s) {
		switch s[i] {
		case 0x00:
			out = append(out, escape, escaped0)
		case 0x01:
			out = append(out, escape, escaped1)
		default:
			out = append(out, s[i])
		}
	}
	return append(out, terminator)
}

// Uint returns k with u added.
func (k Key) Uint(u uint64) Key {
	n := size(u)
	return appendUint(append(k.grow(1+n), byte(tagUint+n)), u, n)
}

// Int returns k with i added.
func (k Key) Int(i int64) Key {
	if i >= 0 {
		n := size(uint64(i))
		return appendUint(append(k.grow(1+n), byte(tagInt+n)), uint64(i), n)
	}
	// The complement of the magnitude makes larger magnitudes sort first.
	m := -uint64(i)
	n := size(m)
	return appendUint(append(k.grow(1+n), byte(tagInt-n)), ^m, n)
}

// Join returns k followed by the elements of tail.
func (k Key) Join(tail Key) Key { return append(k.grow(len(tail)), tail...) }

// grow copies k into a slice with room for exactly n more bytes.
func (k Key) grow(n int) Key {
	return append(make(Key, 0, len(k)+n), k...)
}

// size is the number of bytes that u needs.
func size(u uint64) int { return (bits.Len64(u) + 7) / 8 }

func appendUint(k Key, u uint64, n int) Key {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], u)
	return append(k, b[8-n:]...)
}

// Reader takes a tuple apart from the left. The first element that is not of
// the type asked for, or not as this package would write it, sets Err; from
// then on every method returns a zero value.
type Reader struct {
	rest []byte
	err  error
}

// Parse returns a Reader over k, which must not change while it is used.
func Parse(k []byte) *Reader { return &Reader{rest: k} }

// Err returns the first error, or nil.
func (r *Reader) Err() error { return r.err }

// Done says that every element was read, without an error.
func (r *Reader) Done() bool { return r.err == nil && len(r.rest) == 0 }

// Str reads a string.
func (r *Reader) Str() string {
	if r.err != nil || len(r.rest) == 0 || r.rest[0] != tagStr {
		return fail[string](r)
	}
	body := r.rest[1:]
	end := bytes.IndexByte(body, terminator)
	if end < 0 {
		return fail[string](r)
	}
	s, ok := unescape(body[:end])
	if !ok {
		return fail[string](r)
	}
	r.rest = body[end+1:]
	return s
}

// Uint reads an unsigned integer.
func (r *Reader) Uint() uint64 {
	n, ok := r.tag(tagUint)
	if !ok || n < 0 {
		return fail[uint64](r)
	}
	u, ok := r.number(n, 0)
	if !ok {
		return fail[uint64](r)
	}
	return u
}

// Int reads a signed integer.
func (r *Reader) Int() int64 {
	n, ok := r.tag(tagInt)
	if !ok {
		return fail[int64](r)
	}
	if n >= 0 {
		u, ok := r.number(n, 0)
		if !ok || u > 1<<63-1 {
			return fail[int64](r)
		}
		return int64(u)
	}
	m, ok := r.number(-n, 0xff)
	if !ok || m > 1<<63 {
		return fail[int64](r)
	}
	return int64(-m)
}

// tag returns how far the next tag is from base, if that is a length.
func (r *Reader) tag(base int) (n int, ok bool) {
	if r.err != nil || len(r.rest) == 0 {
		return 0, false
	}
	n = int(r.rest[0]) - base
	return n, n >= -8 && n <= 8
}

// number reads the n bytes after a tag, each xored with mask. A leading zero
// is refused: there is one encoding of each number.
func (r *Reader) number(n int, mask byte) (uint64, bool) {
	if len(r.rest) < 1+n {
		return 0, false
	}
	var u uint64
	for _, b := range r.rest[1 : 1+n] {
		u = u<<8 | uint64(b^mask)
	}
	if size(u) != n {
		return 0, false
	}
	r.rest = r.rest[1+n:]
	return u, true
}

func unescape(b []byte) (string, bool) {
	if bytes.IndexByte(b, escape) < 0 {
		return string(b), true
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != escape {
			out = append(out, b[i])
			continue
		}
		if i++; i == len(b) || b[i] != escaped0 && b[i] != escaped1 {
			return "", false
		}
		out = append(out, b[i]-escaped0)
	}
	return string(out), true
}

func fail[T any](r *Reader) (zero T) {
	if r.err == nil {
		r.err = ErrMalformed
	}
	return zero
}
