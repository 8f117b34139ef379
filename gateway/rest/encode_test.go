package rest

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/structpb"

	antv1 "anthill/gen/ant/v1"
	_ "anthill/gen/anton/v1"
)

// Every message there is, filled by chance, is written as protojson writes it.
func TestEncodeIsProtoJSON(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	types := 0
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		if p := mt.Descriptor().ParentFile().Package(); p != "ant.v1" && p != "anton.v1" || mt.Descriptor().IsMapEntry() {
			return true
		}
		types++
		for range 30 {
			m := mt.New()
			fill(chance, m, 3)
			same(t, m.Interface())
		}
		return !t.Failed()
	})
	if types < 100 {
		t.Errorf("only %d types were tried", types)
	}
}

func same(t *testing.T, m proto.Message) {
	t.Helper()
	for _, n := range []Names{Snake, Camel} {
		want, err := protojson.MarshalOptions{UseProtoNames: n == Snake, EmitUnpopulated: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		want = DropBlanks(want)
		if got, err := Encode(m, n); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v\n got %s\nwant %s", m.ProtoReflect().Descriptor().FullName(), err, got, want)
		}
	}
}

func FuzzEncodeText(f *testing.F) {
	f.Add("plain", 1.5)
	f.Add("\x00\x1f\"\\\b\f\n\r\t/<>&\u2028\u007f\U0001F41C", 1e21)
	f.Add("\xff", math.NaN())
	f.Fuzz(func(t *testing.T, s string, n float64) {
		m := &antv1.Event{SessionId: s, AtMs: n}
		if _, err := protojson.Marshal(m); err != nil {
			if _, err := Encode(m, Snake); err == nil {
				t.Fatalf("%q was written", s)
			}
			return
		}
		same(t, m)
	})
}

func BenchmarkEncode(b *testing.B) {
	m := &antv1.PostMessageResponse{Id: "an-id-of-21-characters", SessionId: "another-id", Role: "user", Content: "It leaves at seven."}
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			if _, err := Encode(m, Snake); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("protojson", func(b *testing.B) {
		for b.Loop() {
			if _, err := (protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}).Marshal(m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// fill sets about two thirds of the fields, down to a depth.
func fill(r *rand.Rand, m protoreflect.Message, depth int) {
	if v, ok := m.Interface().(*structpb.Value); ok {
		made, _ := structpb.NewValue(map[string]any{"a b": []any{1.5, "x y", nil, true}})
		proto.Merge(v, made)
		return
	}
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		if r.IntN(3) == 0 || depth == 0 && (fd.Message() != nil) {
			continue
		}
		switch {
		case fd.IsMap():
			for range r.IntN(3) {
				k := protoreflect.ValueOfString([]string{"b", "a", "c d"}[r.IntN(3)]).MapKey()
				if fd.MapValue().Message() != nil {
					fill(r, m.Mutable(fd).Map().Mutable(k).Message(), depth-1)
				} else {
					m.Mutable(fd).Map().Set(k, scalar(r, fd.MapValue().Kind()))
				}
			}
		case fd.IsList():
			for range r.IntN(3) {
				if fd.Message() != nil {
					fill(r, m.Mutable(fd).List().AppendMutable().Message(), depth-1)
				} else {
					m.Mutable(fd).List().Append(scalar(r, fd.Kind()))
				}
			}
		case fd.Message() != nil:
			fill(r, m.Mutable(fd).Message(), depth-1)
		default:
			m.Set(fd, scalar(r, fd.Kind()))
		}
	}
}

func scalar(r *rand.Rand, k protoreflect.Kind) protoreflect.Value {
	numbers := []float64{0, math.Copysign(0, -1), 1, -1.5, 1e6, 1e20, 1e21, 1e-6, 1e-7, 1e-10, math.MaxFloat64, math.NaN(), math.Inf(1), math.Inf(-1), 1767225600123}
	texts := []string{"", "plain", "with \"quotes\" and \\", "\x00\x01\x1f\b\f\n\r\t", "<b>&amp;</b>", "\u2028\u2029\u007f", "żółw 🐜", "a  b : , c"}
	switch k {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(texts[r.IntN(len(texts))])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(texts[r.IntN(len(texts))]))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(r.Uint32()))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(r.Uint32())
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(r.Uint64()))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(r.Uint64())
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(numbers[r.IntN(len(numbers))])
	}
	panic("a kind without JSON: " + k.String())
}
