package key

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"testing"
)

// element is one part of a tuple as the fuzz targets see it: its type's place
// in the order and its value.
type element struct {
	rank int
	s    string
	i    int64
	u    uint64
}

func (e element) addTo(k Key) Key {
	switch e.rank {
	case 0:
		return k.Str(e.s)
	case 1:
		return k.Int(e.i)
	default:
		return k.Uint(e.u)
	}
}

func compareElements(a, b element) int {
	return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.s, b.s), cmp.Compare(a.i, b.i), cmp.Compare(a.u, b.u))
}

func encode(tuple []element) Key {
	var k Key
	for _, e := range tuple {
		k = e.addTo(k)
	}
	return k
}

// tupleFrom reads elements from fuzz input: a byte for the type, a byte for the
// length, then the content.
func tupleFrom(in []byte) []element {
	var tuple []element
	for len(in) >= 2 {
		rank, n := int(in[0]%3), min(int(in[1]%10), len(in)-2)
		body := in[2 : 2+n]
		in = in[2+n:]
		e := element{rank: rank}
		var b [8]byte
		copy(b[:], body)
		switch rank {
		case 0:
			e.s = string(body)
		case 1:
			e.i = int64(binary.LittleEndian.Uint64(b[:]))
			if n < 8 { // let short input mean small numbers of both signs
				e.i = e.i>>1 ^ -(e.i & 1)
			}
		default:
			e.u = binary.LittleEndian.Uint64(b[:])
		}
		tuple = append(tuple, e)
	}
	return tuple
}

func FuzzOrder(f *testing.F) {
	f.Add([]byte("\x00\x01a"), []byte("\x00\x02a\x00"))
	f.Add([]byte("\x01\x01\x01"), []byte("\x01\x01\x02"))
	f.Add([]byte("\x02\x08\xff\xff\xff\xff\xff\xff\xff\xff"), []byte("\x02\x00"))
	f.Fuzz(func(t *testing.T, x, y []byte) {
		a, b := tupleFrom(x), tupleFrom(y)
		ka, kb := encode(a), encode(b)
		if got, want := bytes.Compare(ka, kb), slices.CompareFunc(a, b, compareElements); got != want {
			t.Fatalf("%v and %v compare as %d, their keys %x and %x as %d", a, b, want, ka, kb, got)
		}
		isPrefix := len(a) <= len(b) && slices.EqualFunc(a, b[:len(a)], func(p, q element) bool { return p == q })
		if bytes.HasPrefix(kb, ka) != isPrefix {
			t.Fatalf("%v is a prefix of %v: %v, but not so for %x and %x", a, b, isPrefix, ka, kb)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(Of("t").Str("a\x00\x01").Uint(300).Int(-300)))
	f.Add([]byte{tagStr, escape, 0x09, terminator})
	f.Add([]byte{tagInt - 8, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := Parse(in)
		var again Key
		for r.Err() == nil && !r.Done() {
			var e element
			switch tag := r.rest[0]; {
			case tag == tagStr:
				e = element{rank: 0, s: r.Str()}
			case tag < tagUint:
				e = element{rank: 1, i: r.Int()}
			default:
				e = element{rank: 2, u: r.Uint()}
			}
			if r.Err() == nil {
				again = e.addTo(again)
			}
		}
		if !bytes.HasPrefix(in, again) || r.Done() && len(again) != len(in) {
			t.Fatalf("%x parses, but encodes again as %x", in, again)
		}
	})
}
