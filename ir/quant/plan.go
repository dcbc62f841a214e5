// Package quant is the quantization plan: which values and layers become INT8, with which ranges and why. Data only.
package quant

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Range is how a value is quantized per tensor, symmetrically: amplitudes above Max are clipped. A value that is never
// negative may use all 256 steps of UINT8 where the target has them.
type Range struct {
	Max         float32
	NonNegative bool
	Mean        []float32 // per channel, of what layers read; for bias correction
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

// Dead reports whether the value was 0 wherever it was seen.
func (r Range) Dead() bool { return len(r.Channels) > 0 && r.Peak() == 0 }

// Check refuses numbers that no value can have: a Max that is not positive, amplitudes below 0, anything that is not finite.
func (r Range) Check() error {
	finite := func(x float32) bool { return x-x == 0 }
	if !(r.Max > 0) || !finite(r.Max) {
		return fmt.Errorf("max: have %v, want a positive number", r.Max)
	}
	for i, x := range r.Mean {
		if !finite(x) {
			return fmt.Errorf("mean: channel %d is %v", i, x)
		}
	}
	for i, x := range r.Channels {
		if !(x >= 0) || !finite(x) {
			return fmt.Errorf("channels: channel %d is %v, want an amplitude", i, x)
		}
	}
	return nil
}

// A Scope says which modules of a graph a plan is for, by source path.
type Scope struct {
	Convolutions []string // the CNN branch
	Linears      []string // modules whose linear layers take part: the ViT's blocks
}

// Name is the scope's word in a plan: cnn, linear, all; none where nothing is quantized (float16 alone).
func (s Scope) Name() string {
	switch {
	case len(s.Convolutions) > 0 && len(s.Linears) > 0:
		return "all"
	case len(s.Convolutions) > 0:
		return "cnn"
	case len(s.Linears) > 0:
		return "linear"
	}
	return "none"
}

// A Plan says everything that quantizes a model; it can be reviewed, changed and replayed without data.
type Plan struct {
	Source string // sha256 of the checkpoint
	Scope  string // Scope.Name of what it is for
	Method string
	Images int64
	Values map[string]Range   // by value key
	Layers []string           // keys of all convolutions and linear layers of the scope
	Float  map[string]string  // those of Layers that stay in float: key -> reason
	Peaks  map[string]float32 // largest amplitude by value key: what float16 must hold; nil where it was not recorded
}

// Clone is a plan of its own: what is changed in one is not in the other.
func (p *Plan) Clone() *Plan {
	c := *p
	c.Values, c.Float, c.Peaks, c.Layers = maps.Clone(p.Values), maps.Clone(p.Float), maps.Clone(p.Peaks), slices.Clone(p.Layers)
	if c.Float == nil {
		c.Float = map[string]string{}
	}
	return &c
}

// The text form: a header line, then one line per value, per layer and per recorded peak, in key order. A line that starts with # is a
// comment: layers that are quantized stand as such, so that taking the # away keeps one in float.
//
//	plan version=2 source=5f2c… scope=cnn method=mse images=32
//	value "resnet.stage0.2/Relu" max=3.25 nonnegative reason="mse" mean=[0.1,0.2] channels=[3.5,1.25]
//	float "resnet.stage0.0/Conv" reason="first convolution"
//	# float "resnet.stage0.3/Conv"
//	peak "image_encoder.blocks.0/Add" max=31.5

const planVersion = "2"

// Write prints the plan.
func (p *Plan) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "plan version=%s source=%s scope=%s method=%s images=%d\n", planVersion, p.Source, p.Scope, p.Method, p.Images)
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
	layers := slices.AppendSeq(slices.Clone(p.Layers), maps.Keys(p.Float))
	slices.Sort(layers)
	for _, key := range slices.Compact(layers) {
		if reason, float := p.Float[key]; float {
			fmt.Fprintf(b, "float %q reason=%q\n", key, reason)
		} else {
			fmt.Fprintf(b, "# float %q\n", key)
		}
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
	inner, open := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !open || !closed {
		return nil, fmt.Errorf("have %q, want [numbers]", text)
	}
	var out []float32
	for part := range strings.FieldsFuncSeq(inner, func(r rune) bool { return r == ',' }) {
		x, err := strconv.ParseFloat(part, 32)
		if err != nil {
			return nil, fmt.Errorf("have %q, want numbers", part)
		}
		out = append(out, float32(x))
	}
	return out, nil
}

func short(f float32) string { return strconv.FormatFloat(float64(f), 'g', -1, 32) }

// Read is the inverse of Write, but for Layers, which a text says in comments alone: quantizer.Resolve fills them in. Errors name the line.
func Read(r io.Reader) (*Plan, error) {
	p := &Plan{Values: map[string]Range{}, Float: map[string]string{}}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 16<<20)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		read := p.line
		if p.Method == "" {
			read = p.header
		}
		if err := read(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if p.Method == "" {
		return nil, fmt.Errorf("line 1: have no plan, want %s", headerForm)
	}
	return p, nil
}

const headerForm = "plan version=2 source=SHA256 scope=cnn|linear|all|none method=NAME images=N"

func (p *Plan) header(text string) error {
	kind, rest, _ := strings.Cut(text, " ")
	fields, err := splitFields(rest)
	switch {
	case kind != "plan" || err != nil:
		return fmt.Errorf("have %q, want %s", text, headerForm)
	case fields["version"] == "":
		return errors.New("the plan is of an old form, which names neither its checkpoint nor its scope: make it again, with --calib and --plan-out")
	case fields["version"] != planVersion:
		return fmt.Errorf("version: have %q, want %s", fields["version"], planVersion)
	}
	if err := want(fields, "version", "source", "scope", "method", "images"); err != nil {
		return err
	}
	p.Source, p.Scope, p.Method = fields["source"], fields["scope"], fields["method"]
	if p.Images, err = strconv.ParseInt(fields["images"], 10, 64); err != nil || p.Images < 0 {
		return fmt.Errorf("images: have %q, want a number", fields["images"])
	}
	if p.Source == "" || p.Method == "" || !slices.Contains([]string{"cnn", "linear", "all", "none"}, p.Scope) {
		return fmt.Errorf("have %q, want %s", text, headerForm)
	}
	return nil
}

// want refuses fields that a line does not have.
func want(fields map[string]string, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("have a field %q, want %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}

func (p *Plan) line(text string) error {
	kind, rest, _ := strings.Cut(text, " ")
	read := map[string]func(key string, fields map[string]string) error{"value": p.value, "float": p.float, "peak": p.peak}[kind]
	if read == nil {
		return fmt.Errorf("have %q, want value, float or peak", kind)
	}
	rest = strings.TrimSpace(rest)
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return fmt.Errorf("have %q, want a quoted key", rest)
	}
	key, _ := strconv.Unquote(quoted) // QuotedPrefix gave it
	fields, err := splitFields(rest[len(quoted):])
	if err == nil {
		err = read(key, fields)
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w", kind, key, err)
	}
	return nil
}

var errTwice = errors.New("it has two lines")

func (p *Plan) float(key string, fields map[string]string) error {
	if _, twice := p.Float[key]; twice {
		return errTwice
	}
	p.Float[key] = fields["reason"]
	return want(fields, "reason")
}

func (p *Plan) peak(key string, fields map[string]string) error {
	x, err := strconv.ParseFloat(fields["max"], 32)
	if err != nil || !(x >= 0) || math.IsInf(x, 1) {
		return fmt.Errorf("max: have %q, want a number of 0 or more", fields["max"])
	}
	if _, twice := p.Peaks[key]; twice {
		return errTwice
	}
	if p.Peaks == nil {
		p.Peaks = map[string]float32{}
	}
	p.Peaks[key] = float32(x)
	return want(fields, "max")
}

func (p *Plan) value(key string, fields map[string]string) error {
	if _, twice := p.Values[key]; twice {
		return errTwice
	}
	m, err := strconv.ParseFloat(fields["max"], 32)
	if err != nil {
		return fmt.Errorf("max: have %q, want a positive number", fields["max"])
	}
	_, nonNegative := fields["nonnegative"]
	v := Range{Max: float32(m), NonNegative: nonNegative, Reason: fields["reason"]}
	for name, list := range map[string]*[]float32{"mean": &v.Mean, "channels": &v.Channels} {
		if text, has := fields[name]; has {
			if *list, err = readList(text); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if err := v.Check(); err != nil {
		return err
	}
	p.Values[key] = v
	return want(fields, "max", "nonnegative", "reason", "mean", "channels")
}

// splitFields reads name, name=value and name="quoted" fields, each at most once.
func splitFields(s string) (map[string]string, error) {
	out := map[string]string{}
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		word, _, _ := strings.Cut(s, " ")
		name, value, _ := strings.Cut(word, "=")
		rest := s[len(word):]
		if strings.HasPrefix(value, `"`) {
			at := s[len(name)+1:]
			quoted, err := strconv.QuotedPrefix(at)
			if err != nil {
				return nil, fmt.Errorf("field %s: the quote does not end", name)
			}
			value, _ = strconv.Unquote(quoted)
			rest = at[len(quoted):]
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("field %s: have it twice", name)
		}
		out[name], s = value, rest
	}
	return out, nil
}
