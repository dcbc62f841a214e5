// Package quant is the quantization plan: which values and convolutions become INT8, with which ranges and why. Data only.
package quant

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"syncsam-convert/ir"
)

// A Range is how a value is quantized per tensor, symmetrically: amplitudes above Max are clipped. A value that is never
// negative may use all 256 steps of UINT8 where the target has them.
type Range struct {
	Max         float32
	NonNegative bool
	Mean        []float32 // per channel, of what convolutions read; for bias correction
	Channels    []float32 // per channel: largest amplitude; equalizes values that only one side takes in INT8
	Reason      string
}

// Peak is the largest amplitude of any channel; Max where channels are not known.
func (r Range) Peak() float32 {
	if len(r.Channels) == 0 {
		return r.Max
	}
	return slices.Max(r.Channels)
}

// A Scope says which modules of a graph a plan is for, by source path.
type Scope struct {
	Convolutions []string // the CNN branch
	Linears      []string // modules whose linear layers take part: the ViT's blocks
}

// A Plan says everything that insert-qdq does; it can be reviewed, changed and replayed without data.
type Plan struct {
	Method string
	Images int64
	Values map[string]Range   // by value key
	Float  map[string]string  // convolutions that stay in float: key -> reason
	Peaks  map[string]float32 // largest amplitude by value key: what float16 must hold; nil where it was not recorded
}

// Clone is a plan of its own: what is changed in one is not in the other.
func (p *Plan) Clone() *Plan {
	c := *p
	c.Values, c.Float, c.Peaks = maps.Clone(p.Values), maps.Clone(p.Float), maps.Clone(p.Peaks)
	if c.Float == nil {
		c.Float = map[string]string{}
	}
	return &c
}

// The text form: a header line, then one line per value, per convolution that stays in float and per recorded peak, in key order:
//
//	plan method=mse images=32
//	value "resnet.stage0.2/Relu" max=3.25 nonnegative reason="mse" mean=[0.1,0.2] channels=[3.5,1.25]
//	float "resnet.stage0.0/Conv" reason="first convolution"
//	peak "image_encoder.blocks.0/Add" max=31.5

// Write prints the plan.
func (p *Plan) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "plan method=%s images=%d\n", p.Method, p.Images)
	for _, key := range slices.Sorted(maps.Keys(p.Values)) {
		r := p.Values[key]
		fmt.Fprintf(b, "value %q max=%s", key, short(r.Max))
		if r.NonNegative {
			b.WriteString(" nonnegative")
		}
		fmt.Fprintf(b, " reason=%q", r.Reason)
		writeList(b, "mean", r.Mean)
		writeList(b, "channels", r.Channels)
		b.WriteString("\n")
	}
	for _, key := range slices.Sorted(maps.Keys(p.Float)) {
		fmt.Fprintf(b, "float %q reason=%q\n", key, p.Float[key])
	}
	for _, key := range slices.Sorted(maps.Keys(p.Peaks)) {
		fmt.Fprintf(b, "peak %q max=%s\n", key, short(p.Peaks[key]))
	}
	return b.Flush()
}

func writeList(w io.Writer, name string, x []float32) {
	if x == nil {
		return
	}
	parts := make([]string, len(x))
	for i, v := range x {
		parts[i] = short(v)
	}
	fmt.Fprintf(w, " %s=[%s]", name, strings.Join(parts, ","))
}

func readList(text string) ([]float32, error) {
	text = strings.Trim(text, "[]")
	if text == "" {
		return nil, nil
	}
	var out []float32
	for _, part := range strings.Split(text, ",") {
		x, err := strconv.ParseFloat(part, 32)
		if err != nil {
			return nil, fmt.Errorf("have %q, want numbers", part)
		}
		out = append(out, float32(x))
	}
	return out, nil
}

func short(f float32) string { return strconv.FormatFloat(float64(f), 'g', -1, 32) }

// Read is the inverse of Write. Errors name the line.
func Read(r io.Reader) (*Plan, error) {
	p := &Plan{Values: map[string]Range{}, Float: map[string]string{}}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 16<<20)
	for n := 1; s.Scan(); n++ {
		if err := p.line(n, s.Text()); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if p.Method == "" {
		return nil, fmt.Errorf("line 1: have no plan, want plan method=NAME images=N")
	}
	return p, nil
}

func (p *Plan) line(n int, text string) error {
	if strings.TrimSpace(text) == "" || strings.HasPrefix(text, "#") {
		return nil
	}
	if n == 1 {
		_, err := fmt.Sscanf(text, "plan method=%s images=%d", &p.Method, &p.Images)
		return err
	}
	kind, rest, _ := strings.Cut(text, " ")
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return fmt.Errorf("have %q, want a quoted key", rest)
	}
	key, _ := strconv.Unquote(quoted) // QuotedPrefix gave it
	fields, err := splitFields(rest[len(quoted):])
	if err != nil {
		return err
	}
	switch kind {
	case "float":
		p.Float[key] = fields["reason"]
		return nil
	case "peak":
		x, err := strconv.ParseFloat(fields["max"], 32)
		if err != nil || !(x >= 0) {
			return fmt.Errorf("peak %q: max: have %q, want a number of 0 or more", key, fields["max"])
		}
		if p.Peaks == nil {
			p.Peaks = map[string]float32{}
		}
		p.Peaks[key] = float32(x)
		return nil
	case "value":
	default:
		return fmt.Errorf("have %q, want value, float or peak", kind)
	}
	m, err := strconv.ParseFloat(fields["max"], 32)
	if err != nil || !(m > 0) || m > 3e38 {
		return fmt.Errorf("value %q: max: have %q, want a positive number", key, fields["max"])
	}
	_, nonNegative := fields["nonnegative"]
	v := Range{Max: float32(m), NonNegative: nonNegative, Reason: fields["reason"]}
	if v.Mean, err = readList(fields["mean"]); err != nil {
		return fmt.Errorf("value %q: mean: %w", key, err)
	}
	if v.Channels, err = readList(fields["channels"]); err != nil {
		return fmt.Errorf("value %q: channels: %w", key, err)
	}
	p.Values[key] = v
	return nil
}

// splitFields reads name, name=value and name="quoted" fields.
func splitFields(s string) (map[string]string, error) {
	out := map[string]string{}
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		end := strings.IndexAny(s, " =")
		if end < 0 {
			out[s] = ""
			break
		}
		name := s[:end]
		if s[end] == ' ' {
			out[name], s = "", s[end:]
			continue
		}
		s = s[end+1:]
		if q, err := strconv.QuotedPrefix(s); err == nil {
			out[name], _ = strconv.Unquote(q)
			s = s[len(q):]
			continue
		}
		value, rest, _ := strings.Cut(s, " ")
		if strings.HasPrefix(value, `"`) {
			return nil, fmt.Errorf("field %s: the quote does not end", name)
		}
		out[name], s = value, rest
	}
	return out, nil
}

// Keys names every computed value of a graph: source path and operator, numbered where that is not unique. The same
// checkpoint and passes give the same keys.
func Keys(g *ir.Graph) map[*ir.Value]string {
	keys, count := map[*ir.Value]string{}, map[string]int{}
	for _, v := range g.Values {
		if v.IsConst() {
			continue
		}
		base := v.Name + "/" + v.Op.Name
		count[base]++
		if n := count[base]; n > 1 {
			base = fmt.Sprintf("%s#%d", base, n)
		}
		keys[v] = base
	}
	return keys
}

// NameOf is the source path in a key of Keys.
func NameOf(key string) string { return key[:max(strings.LastIndex(key, "/"), 0)] }
