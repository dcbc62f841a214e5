package mutate

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// raw are values that take the place of others in JSON; some are none.
var raw = []string{"null", "true", "0", "-1", "1", "NaN", "-Infinity", "1e400", "1e308", "1e-320", "0.5", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "100000000", "[]", "{}", `""`, `"x"`,
	`"../../x"`, `"\u001b[31m\u202e"`, "[[[[1]]]]", `{"a":{"b":{}}}`, "[0,0]", "[-1,1000000000]", `[null]`, `{"":0}`, `"` + strings.Repeat("x", 5000) + `"`, strings.Repeat("[", 20000), "\"\xff\xfe\"", "[" + strings.Repeat("0,", 20000) + "0]"}

// JSON puts other values in the place of a few, or removes, repeats or names them otherwise.
func JSON(r *rand.Rand, b []byte) []byte {
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return Bytes(r, b)
	}
	for range 1 + r.IntN(3) {
		v = within(r, v)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return Bytes(r, b)
	}
	for i, text := range raw { // what is no JSON could not be marshalled
		out = bytes.ReplaceAll(out, []byte(mark(i)), []byte(text))
	}
	return out
}

func mark(i int) string { return `"` + strings.Repeat("\u2603", 3) + string(rune('A'+i)) + `"` }

func within(r *rand.Rand, v any) any {
	if r.IntN(8) > 0 {
		switch x := v.(type) {
		case map[string]any:
			keys := make([]string, 0, len(x))
			for k := range x {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			if len(keys) > 0 {
				k := pick(r, keys)
				switch r.IntN(12) {
				case 0:
					delete(x, k)
				case 1:
					x[k+"\x1b\u202e"] = x[k]
				case 2:
					x[k] = x[pick(r, keys)]
				default:
					x[k] = within(r, x[k])
				}
				return x
			}
		case []any:
			if len(x) > 0 {
				at := r.IntN(len(x))
				switch r.IntN(12) {
				case 0:
					return append(x[:at:at], x[at+1:]...)
				case 1:
					return append(x, x[at])
				default:
					x[at] = within(r, x[at])
				}
				return x
			}
		}
	}
	var name string
	_ = json.Unmarshal([]byte(mark(r.IntN(len(raw)))), &name) // a string is one
	return name
}

// Text changes numbers of a text.
func Text(r *rand.Rand, b []byte) []byte {
	if r.IntN(2) == 0 {
		return Bytes(r, b)
	}
	for range 1 + r.IntN(3) {
		b = digits(r, b)
	}
	return b
}

// Safetensors damages the header's JSON and writes its length; or the values.
func Safetensors(r *rand.Rand, b []byte) []byte {
	if len(b) < 8 || binary.LittleEndian.Uint64(b) > uint64(len(b)-8) {
		return Bytes(r, b)
	}
	n := 8 + int(binary.LittleEndian.Uint64(b))
	if r.IntN(4) == 0 {
		values := bytes.Clone(b)
		for range 1 + r.IntN(20) {
			number(r, values[n+r.IntN(max(len(b)-n, 1)):])
		}
		return values
	}
	header := JSON(r, b[8:n])
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), b[n:]...)
}

// Message damages fields of a protocol buffer of the type of kind.
func Message(kind proto.Message) Func {
	return func(r *rand.Rand, b []byte) []byte {
		m := proto.Clone(kind)
		if proto.Unmarshal(b, m) != nil {
			return Bytes(r, b)
		}
		var all []place
		places(m.ProtoReflect(), &all)
		for range 1 + r.IntN(3) {
			if len(all) > 0 {
				change(r, pick(r, all))
			}
		}
		out, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
		if err != nil {
			return Bytes(r, b)
		}
		return out
	}
}

// A place is a field of a message that has a value.
type place struct {
	m protoreflect.Message
	f protoreflect.FieldDescriptor
}

func places(m protoreflect.Message, out *[]place) {
	var fields []protoreflect.FieldDescriptor
	m.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		fields = append(fields, f)
		return true
	})
	slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number() - b.Number()) }) // Range has no order
	for _, f := range fields {
		*out = append(*out, place{m, f})
		switch v := m.Get(f); {
		case f.IsMap():
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				places(v.List().Get(i).Message(), out)
			}
		case f.Message() != nil:
			places(v.Message(), out)
		}
	}
}

func change(r *rand.Rand, p place) {
	if !p.m.Has(p.f) || r.IntN(6) == 0 || p.f.IsMap() {
		p.m.Clear(p.f)
		return
	}
	if !p.f.IsList() {
		if p.f.Message() == nil {
			p.m.Set(p.f, other(r, p.f, p.m.Get(p.f)))
		}
		return
	}
	list := p.m.Mutable(p.f).List()
	at := r.IntN(list.Len())
	switch r.IntN(4) {
	case 0:
		list.Truncate(at)
	case 1:
		list.Append(list.Get(at))
	case 2:
		to := r.IntN(list.Len())
		a, b := list.Get(at), list.Get(to)
		list.Set(at, b)
		list.Set(to, a)
	default:
		if p.f.Message() == nil {
			list.Set(at, other(r, p.f, list.Get(at)))
		}
	}
}

func other(r *rand.Rand, f protoreflect.FieldDescriptor, v protoreflect.Value) protoreflect.Value {
	x := pick(r, edges)
	if r.IntN(2) == 0 {
		x = uint64(r.IntN(40)) - 4
	}
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(!v.Bool())
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(x))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(x))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(x))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(x)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(pick(r, []float32{0, -1, float32(math.NaN()), float32(math.Inf(1)), 1e-42, 1e38, 70000}))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(pick(r, []float64{0, -1, math.NaN(), math.Inf(1), 1e-320, 1e308}))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(pick(r, []string{"", "x", v.String() + "\x1b\u202e", "Constant", "Conv", "Add", "Resize", "Tile", "Expand", "Reshape", "MatMul", "Pad", strings.Repeat("n", 5000), "../../etc/passwd"}))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(Bytes(r, v.Bytes()))
	}
	return v
}
