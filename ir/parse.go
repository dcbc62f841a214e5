package ir

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"text/scanner"
	"unicode"

	"syncsam-convert/ir/tensor"
)

// Parse reads the text form; pool holds the constants that the text names as @i. Printed types are assertions:
// a type that the operator table does not give is an error, as is everything Check reports.
func Parse(text string, pool []*tensor.Tensor) (*Module, error) {
	m := &Module{}
	if rest, ok := strings.CutPrefix(text, "module "); ok {
		line, body, _ := strings.Cut(rest, "\n")
		var err error
		if m.Meta, err = parseMeta(line); err != nil {
			return nil, fmt.Errorf("line 1: module: %w", err)
		}
		text = "\n" + body // keeps line numbers
	}
	p := &parser{pool: pool}
	p.s.Init(strings.NewReader(text))
	p.s.Mode = scanner.ScanIdents | scanner.ScanInts | scanner.ScanFloats | scanner.ScanStrings | scanner.SkipComments | scanner.ScanComments
	p.s.IsIdentRune = func(ch rune, i int) bool {
		return ch == '_' || unicode.IsLetter(ch) || i > 0 && (unicode.IsDigit(ch) || ch == '-')
	}
	p.s.Error = func(_ *scanner.Scanner, msg string) { p.fail("%s", msg) }
	p.next()
	for p.err == nil && p.tok != scanner.EOF {
		if g := p.graph(); g != nil {
			m.Graphs = append(m.Graphs, g)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	return m, CheckModule(m)
}

// parseMeta reads what Print wrote of Meta, with the types that a configuration has.
func parseMeta(line string) (Meta, error) {
	var text metaText
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&text); err != nil {
		return Meta{}, err
	}
	if d.More() {
		return Meta{}, fmt.Errorf("more than one value")
	}
	m := text.Meta
	m.Branch, m.Linears, m.Both = append([]string(nil), text.Branch...), append([]string(nil), text.Linears...), text.Both
	for key, x := range m.Config {
		bad := fmt.Errorf("config: %s: have %v, want an integer, integers, a bool or a string", key, x)
		switch x := x.(type) {
		case bool, string:
		case json.Number:
			n, err := x.Int64()
			if err != nil {
				return Meta{}, bad
			}
			m.Config[key] = n
		case []any:
			list := make([]int64, len(x))
			for i, e := range x {
				n, ok := e.(json.Number)
				var err error
				if list[i], err = n.Int64(); !ok || err != nil {
					return Meta{}, bad
				}
			}
			m.Config[key] = list
		default:
			return Meta{}, bad
		}
	}
	return m, nil
}

// ParseGraph reads the text of one graph without large constants, as tests write it.
func ParseGraph(text string) (*Graph, error) {
	m, err := Parse(text, nil)
	if err != nil {
		return nil, err
	}
	if len(m.Graphs) != 1 {
		return nil, fmt.Errorf("have %d graphs, want 1", len(m.Graphs))
	}
	return m.Graphs[0], nil
}

type parser struct {
	s    scanner.Scanner
	tok  rune
	line int // where the statement starts; the scanner is a token ahead
	err  error
	pool []*tensor.Tensor
}

func (p *parser) next() { p.tok = p.s.Scan() }

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("line %d: %w", p.line, fmt.Errorf(format, args...))
	}
	p.tok = scanner.EOF
}

func (p *parser) accept(tok rune) bool {
	if p.tok == tok && p.err == nil {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(tok rune) {
	if !p.accept(tok) {
		p.fail("have %q, want %s", p.s.TokenText(), scanner.TokenString(tok))
	}
}

func (p *parser) ident() string {
	s := p.s.TokenText()
	p.expect(scanner.Ident)
	return s
}

func (p *parser) quoted() string {
	s, err := strconv.Unquote(p.s.TokenText())
	if err != nil {
		p.fail("have %q, want a quoted string", p.s.TokenText())
	}
	p.next()
	return s
}

func (p *parser) integer() int64 {
	sign := ""
	if p.accept('-') {
		sign = "-"
	}
	n, err := strconv.ParseInt(sign+p.s.TokenText(), 10, 64)
	if err != nil {
		p.fail("have %q, want an integer", p.s.TokenText())
	}
	p.next()
	return n
}

func (p *parser) graph() *Graph {
	p.line = p.s.Line
	if s := p.ident(); s != "graph" && p.err == nil {
		p.fail("have %q, want graph", s)
		return nil
	}
	b := NewBuilder(p.ident())
	p.expect('{')
	var values []*Value
	ref := func() *Value {
		if p.tok == scanner.Ident && p.s.TokenText() == "_" {
			p.next()
			return nil
		}
		p.expect('%')
		n := p.integer()
		if p.err == nil && (n < 0 || n >= int64(len(values))) {
			p.fail("%%%d is not defined above", n)
		}
		if p.err != nil {
			return nil
		}
		return values[n]
	}
	for p.err == nil && !p.accept('}') {
		p.line = p.s.Line
		if p.tok == scanner.Ident {
			if s := p.ident(); s != "return" {
				p.fail("have %q, want return or a value", s)
				return nil
			}
			name, v := p.quoted(), ref()
			if p.err == nil && v == nil {
				p.fail("return %q: absent value", name)
			}
			b.Output(name, v)
			continue
		}
		p.expect('%')
		if n := p.integer(); p.err == nil && n != int64(len(values)) {
			p.fail("have %%%d, want %%%d", n, len(values))
		}
		p.expect('=')
		if v := p.value(b, ref); p.err == nil {
			values = append(values, v)
		}
	}
	if p.err != nil {
		return nil
	}
	g, err := b.Graph()
	if err != nil {
		p.fail("%w", err)
	}
	return g
}

// value parses what follows "%n =".
func (p *parser) value(b *Builder, ref func() *Value) *Value {
	name := p.ident()
	op, ok := LookupOp(name)
	if !ok {
		p.fail("operator %q is not in the table", name)
		return nil
	}
	v := &Value{Op: op}
	var constant func(tensor.Type) *tensor.Tensor
	switch op {
	case opInput:
	case opConstant:
		constant = p.constant()
	default:
		v.Attrs = op.Attrs
		p.expect('(')
		for p.err == nil && !p.accept(')') {
			if len(v.Args) > 0 {
				p.expect(',')
			}
			v.Args = append(v.Args, ref())
		}
		if p.accept('{') {
			v.Attrs = p.attrs(op)
		}
	}
	p.expect(':')
	v.Type = p.typ()
	if p.tok == scanner.String {
		v.Name = p.quoted()
	}
	if p.tok == scanner.Ident && p.s.TokenText() == "from" {
		p.next()
		v.From = p.quoted()
	}
	if p.tok == scanner.Ident && p.s.TokenText() == "of" {
		p.next()
		v.Of = p.quoted()
	}
	if p.err != nil {
		return nil
	}
	if constant != nil {
		if v.Const = constant(v.Type); v.Const == nil {
			return nil
		}
	}
	from := v.From
	b.add(v)
	v.From = from
	return v
}

func (p *parser) typ() tensor.Type {
	d, err := tensor.ParseDType(p.ident())
	if err != nil {
		p.fail("%w", err)
	}
	return tensor.Type{DType: d, Shape: p.shape()}
}

// shape parses [N,3,P+1].
func (p *parser) shape() []tensor.Dim {
	p.expect('[')
	shape := []tensor.Dim{}
	var dim strings.Builder
	flush := func() {
		if dim.Len() == 0 {
			return
		}
		d, err := tensor.ParseDim(dim.String())
		if err != nil {
			p.fail("%w", err)
		}
		shape = append(shape, d)
		dim.Reset()
	}
	for p.err == nil && !p.accept(']') {
		if p.accept(',') {
			flush()
			continue
		}
		if p.tok == scanner.EOF {
			p.fail("shape is not closed")
		}
		dim.WriteString(p.s.TokenText())
		p.next()
	}
	flush()
	return shape
}

func (p *parser) attrs(op *Op) any {
	if op.Attrs == nil {
		p.fail("%s has no attributes", op.Name)
		return nil
	}
	fields := AttrFields(op.Attrs)
	attrs := reflect.New(reflect.TypeOf(op.Attrs)).Elem()
	for first := true; p.err == nil && !p.accept('}'); first = false {
		if !first {
			p.expect(',')
		}
		name := p.ident()
		p.expect('=')
		found := false
		for _, f := range fields {
			if f.Name == name {
				found = true
				p.attr(attrs.Field(f.Index))
			}
		}
		if !found && p.err == nil {
			p.fail("%s has no attribute %q", op.Name, name)
		}
	}
	return attrs.Interface()
}

func (p *parser) attr(f reflect.Value) {
	switch f.Interface().(type) {
	case int64:
		f.SetInt(p.integer())
	case float32:
		f.SetFloat(p.float(32))
	case bool:
		f.SetBool(p.ident() == "true")
	case string:
		f.SetString(p.quoted())
	case tensor.DType:
		d, err := tensor.ParseDType(p.ident())
		if err != nil {
			p.fail("%w", err)
		}
		f.Set(reflect.ValueOf(d))
	case []tensor.Dim:
		f.Set(reflect.ValueOf(p.shape()))
	case []int64:
		shape := p.shape()
		ints := make([]int64, len(shape))
		for i, d := range shape {
			if !d.IsStatic() {
				p.fail("have %s, want an integer", d)
			}
			ints[i] = d.B
		}
		f.Set(reflect.ValueOf(ints))
	}
}

func (p *parser) float(bits int) float64 {
	text := ""
	if p.tok == '-' || p.tok == '+' {
		text = p.s.TokenText()
		p.next()
	}
	text += p.s.TokenText()
	x, err := strconv.ParseFloat(text, bits)
	if err != nil {
		p.fail("have %q, want a number", text)
	}
	p.next()
	return x
}

// constant parses {1, 2}, @3, splat(0.5) or seed(7) and gives the tensor of a type, which stands later in the text.
func (p *parser) constant() func(tensor.Type) *tensor.Tensor {
	switch {
	case p.accept('@'):
		i := p.integer()
		return func(t tensor.Type) *tensor.Tensor {
			if i < 0 || i >= int64(len(p.pool)) {
				p.fail("constant @%d: the pool has %d tensors", i, len(p.pool))
				return nil
			}
			return p.pool[i]
		}
	case p.accept('{'):
		var texts []string
		for p.err == nil && !p.accept('}') {
			if len(texts) > 0 {
				p.expect(',')
			}
			text := ""
			if p.tok == '-' || p.tok == '+' {
				text = p.s.TokenText()
				p.next()
			}
			texts = append(texts, text+p.s.TokenText())
			p.next()
		}
		return func(t tensor.Type) *tensor.Tensor { return p.listed(t, texts) }
	}
	kind := p.ident()
	p.expect('(')
	x := p.float(64)
	p.expect(')')
	return func(t tensor.Type) *tensor.Tensor {
		switch kind {
		case "splat":
			return p.filled(t, func(int64) float64 { return x })
		case "seed":
			return p.filled(t, func(i int64) float64 { return seeded(int64(x), i) })
		}
		p.fail("constant: have %q, want splat or seed", kind)
		return nil
	}
}

func (p *parser) listed(t tensor.Type, texts []string) *tensor.Tensor {
	dims, ok := t.Static()
	n, err := tensor.Elements(dims)
	if !ok || err != nil || n != int64(len(texts)) {
		p.fail("constant of type %s: have %d elements", t, len(texts))
		return nil
	}
	var bytes *tensor.Tensor
	switch {
	case t.DType.IsFloat():
		v := make([]float64, n)
		for i, s := range texts {
			if v[i], err = strconv.ParseFloat(s, 64); err != nil {
				p.fail("constant: have %q, want a number", s)
				return nil
			}
		}
		if t.DType == tensor.Float64 {
			return tensor.FromFloat64(dims, v)
		}
		f := make([]float32, n)
		for i := range v {
			f[i] = float32(v[i])
		}
		bytes = tensor.FromFloat32(dims, f)
	default:
		v := make([]int64, n)
		for i, s := range texts {
			if v[i], err = strconv.ParseInt(s, 10, 64); err != nil {
				p.fail("constant: have %q, want an integer", s)
				return nil
			}
		}
		bytes = tensor.FromInt64(dims, v)
	}
	return tensor.Dense(tensor.Cast(bytes, t.DType))
}

const maxFilled = 1 << 26 // elements that splat and seed may make

func (p *parser) filled(t tensor.Type, f func(i int64) float64) *tensor.Tensor {
	dims, ok := t.Static()
	n, err := tensor.Elements(dims)
	if !ok || err != nil || n > maxFilled {
		p.fail("constant of type %s: cannot be filled", t)
		return nil
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(f(int64(i)))
	}
	return tensor.Dense(tensor.Cast(tensor.FromFloat32(dims, v), t.DType))
}

// seeded is the i-th of a reproducible sequence of numbers in [-1, 1), rounded to 1/1024 so that texts stay short.
func seeded(seed, i int64) float64 {
	z := uint64(seed)*0x9E3779B97F4A7C15 + uint64(i+1)*0xBF58476D1CE4E5B9
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	z ^= z >> 31
	return math.Floor(float64(z>>11)/(1<<53)*2048)/1024 - 1
}
