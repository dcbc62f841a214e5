package ir

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"syncsam-convert/ir/tensor"
)

// The text form, one value a line, values numbered by position:
//
//	module {"family":"syncsam-34",...}
//
//	graph encoder {
//	  %0 = Input : float32[N,3,8,8] "image"
//	  %1 = Constant @0 : float32[4,3,1,1] "patch_embed.proj.weight"
//	  %2 = Conv(%0, %1) {strides=[2,2]} : float32[N,4,4,4] "patch_embed.proj" from "fold-batchnorm"
//	  return "out" %2
//	}
//
// An absent argument is "_"; attributes with their zero value are left out. A constant of at most 16 elements is
// spelled {1, 2.5}; a larger one is @i, the i-th tensor of a pool beside the text. Tests may also write
// splat(0.5), or seed(7) for reproducible numbers in [-1, 1).

const inlineElements = 16

// Print gives the module's text and the pool of its large constants. Parse is its inverse.
func Print(m *Module) (string, []*tensor.Tensor) {
	p := &printer{}
	meta, err := json.Marshal(metaText{m.Meta, m.Meta.Branch, m.Meta.Linears, m.Meta.Both})
	if err != nil {
		panic("BUG: " + err.Error()) // Meta holds plain data
	}
	fmt.Fprintf(&p.out, "module %s\n", meta)
	for _, g := range m.Graphs {
		p.out.WriteString("\n")
		p.graph(g)
	}
	return p.out.String(), p.pool
}

// metaText is all of Meta, of which a manifest has a part.
type metaText struct {
	Meta
	Branch  []string `json:"branch,omitempty"`
	Linears []string `json:"linears,omitempty"`
	Both    bool     `json:"both,omitempty"`
}

// PrintGraph is the text of one graph; constants that are not inline are numbered from 0.
func PrintGraph(g *Graph) string {
	p := &printer{}
	p.graph(g)
	return p.out.String()
}

type printer struct {
	out  strings.Builder
	pool []*tensor.Tensor
}

func (p *printer) graph(g *Graph) {
	number := make(map[*Value]int, len(g.Values))
	ref := func(v *Value) string {
		if v == nil {
			return "_"
		}
		return "%" + strconv.Itoa(number[v])
	}
	fmt.Fprintf(&p.out, "graph %s {\n", g.Name)
	for i, v := range g.Values {
		number[v] = i
		fmt.Fprintf(&p.out, "  %%%d = %s", i, v.Op.Name)
		switch {
		case v.IsConst():
			p.out.WriteString(" " + p.constant(v.Const))
		case !v.IsInput():
			args := make([]string, len(v.Args))
			for k, a := range v.Args {
				args[k] = ref(a)
			}
			fmt.Fprintf(&p.out, "(%s)", strings.Join(args, ", "))
			if a := printAttrs(v.Attrs); a != "" {
				fmt.Fprintf(&p.out, " {%s}", a)
			}
		}
		fmt.Fprintf(&p.out, " : %s", v.Type)
		if v.Name != "" {
			fmt.Fprintf(&p.out, " %q", v.Name)
		}
		if v.From != "" {
			fmt.Fprintf(&p.out, " from %q", v.From)
		}
		if v.Of != "" {
			fmt.Fprintf(&p.out, " of %q", v.Of)
		}
		p.out.WriteString("\n")
	}
	for _, o := range g.Outputs {
		fmt.Fprintf(&p.out, "  return %q %s\n", o.Name, ref(o.Value))
	}
	p.out.WriteString("}\n")
}

func (p *printer) constant(t *tensor.Tensor) string {
	if t.Len() > inlineElements {
		p.pool = append(p.pool, t)
		return fmt.Sprintf("@%d", len(p.pool)-1)
	}
	parts := make([]string, t.Len())
	for i := range parts {
		switch t.DType() {
		case tensor.Float64:
			parts[i] = formatFloat(t.Float64s()[i], 64)
		case tensor.Float32, tensor.Float16, tensor.BFloat16:
			parts[i] = formatFloat(float64(t.Float32s()[i]), 32)
		default:
			parts[i] = strconv.FormatInt(t.Int64s()[i], 10)
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func formatFloat(f float64, bits int) string {
	if math.IsNaN(f) {
		return "NaN"
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

func printAttrs(attrs any) string {
	var parts []string
	for _, f := range AttrFields(attrs) {
		v := reflect.ValueOf(attrs).Field(f.Index)
		if v.Kind() == reflect.Slice && v.IsNil() || v.Kind() != reflect.Slice && v.IsZero() {
			continue
		}
		parts = append(parts, f.Name+"="+formatAttr(v.Interface()))
	}
	return strings.Join(parts, ", ")
}

func formatAttr(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case float32:
		return formatFloat(float64(v), 32)
	case bool:
		return strconv.FormatBool(v)
	case string:
		return strconv.Quote(v)
	case tensor.DType:
		return v.String()
	case []tensor.Dim:
		return tensor.ShapeString(v)
	case []int64:
		return tensor.ShapeString(tensor.Dims(v...))
	}
	panic(fmt.Sprintf("BUG: attribute of type %T has no text form", v))
}
