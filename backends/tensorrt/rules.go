package tensorrt

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

// A rule looks at every node, or once at the model; what it gives is the problem, "" for none.
type rule struct {
	Name, Severity string
	Releases       []string // none: all
	Way            string   // the way out
	node           func(m *model, n *node, r Release) string
	model          func(m *model, r Release) []string
}

// Severities of findings.
const (
	Refused = "error"
	Costly  = "warning"
)

// typed are the releases whose networks are strongly typed: 10 by request, which recipes make, 11 always.
var typed = []string{"10", "11"}

// rules have an example each that fails them, in the tests.
var rules = []rule{
	{Name: "opset", Severity: Refused, Way: "export with an opset of the release's range, or convert the model", model: opsetRule},
	{Name: "half-constants", Severity: Refused, Way: "keep what uses the constant in float32", model: infiniteConstants},
	{Name: "domain", Severity: Refused, Way: "spell the operator in ONNX's own, or give the builder a plugin of that name", node: domainRule},
	{Name: "operator", Severity: Refused, Way: "spell it in operators that the release takes", node: operatorRule},
	{Name: "type", Severity: Refused, Way: "cast to a type that the release takes for the operator", node: typeRule},
	{Name: "mixed-types", Severity: Refused, Releases: typed, Way: "cast the arguments to one floating-point type", node: mixedTypes},
	{Name: "rank", Severity: Refused, Way: "reshape to 8 axes or fewer", node: rankRule},
	{Name: "attribute", Severity: Refused, Way: "use a value that the parser takes", node: attributeRule},
	{Name: "initializer", Severity: Refused, Way: "make it a constant of the model", node: initializerRule},
	{Name: "outputs", Severity: Refused, Way: "use the first output alone", node: outputsRule},
	{Name: "modulo", Severity: Refused, Way: "take the remainder from sizes that are known when the model is built", node: func(_ *model, n *node, _ Release) string {
		if n.GetOpType() == "Mod" {
			return "a remainder breaks the parser's shape arithmetic"
		}
		return ""
	}},
	{Name: "shape-from-data", Severity: Refused, Way: "take sizes from inputs' shapes, or do this part outside the network", node: shapeFromData},
	{Name: "uint8", Severity: Refused, Way: "quantize activations to int8 with zero point 0", node: uint8Rule},
	{Name: "zero-point", Severity: Refused, Way: "quantize symmetrically, with zero points of 0", node: zeroPointRule},
	{Name: "scale", Severity: Refused, Way: "make scales positive constants; a channel that is always 0 takes any positive one", node: scaleRule},
	{Name: "activation-axis", Severity: Refused, Way: "quantize activations per tensor; put channels' factors into the weights", node: activationAxis},
	{Name: "weight-axis", Severity: Refused, Way: "quantize weights of Conv along axis 0, of ConvTranspose along axis 1 (8.6: per tensor), of products along the columns", node: weightAxis},
	{Name: "integer-bias", Severity: Refused, Way: "leave the bias in float", node: integerBias},
	{Name: "normalization", Severity: Costly, Way: "use one LayerNormalization (opset 17), or keep the steps in float32", node: decomposedNorm},
	{Name: "residual", Severity: Costly, Way: "quantize the shortcut alone: the convolution's kernel adds it before it rounds", node: residualRule},
}

func opsetRule(m *model, r Release) []string {
	if m.Opset < r.MinOpset || m.Opset > r.MaxOpset {
		return []string{fmt.Sprintf("opset %d, want %d to %d", m.Opset, r.MinOpset, r.MaxOpset)}
	}
	return nil
}

func infiniteConstants(m *model, _ Release) []string {
	var out []string
	for name, t := range m.Constant {
		if t.DType() == tensor.Float16 && tensor.NonFinite(tensor.Float16, t.Bytes()) > 0 {
			out = append(out, fmt.Sprintf("constant %q holds what float16 cannot", name))
		}
	}
	slices.Sort(out)
	return out
}

func domainRule(_ *model, n *node, _ Release) string {
	if d := n.GetDomain(); d != "" && d != "ai.onnx" {
		return fmt.Sprintf("domain %s has no importer", d)
	}
	return ""
}

func operatorRule(_ *model, n *node, r Release) string {
	if _, ok := r.takes(n.GetOpType()); !ok && (n.GetDomain() == "" || n.GetDomain() == "ai.onnx") {
		return fmt.Sprintf("TensorRT %s has no %s", r.Name, n.GetOpType())
	}
	return ""
}

// narrowed are types that parsers narrow by themselves, INT64 only where a release's list has no place for it.
var narrowed = map[string]string{"f64": "f32", "i64": "i32"}

func typeRule(m *model, n *node, r Release) string {
	types, ok := r.takes(n.GetOpType())
	if !ok || n.GetOpType() == "DequantizeLinear" { // its own rules
		return ""
	}
	at := 0
	if n.GetOpType() == "Where" {
		at = 1
	}
	have := typeNames[m.Types[n.In(at)]]
	if have == "" || slices.Contains(types, have) || slices.Contains(types, narrowed[have]) {
		return ""
	}
	return fmt.Sprintf("have %s, want one of %s", have, strings.Join(types, ", "))
}

// oneType lists the operators whose floating-point arguments must be of one type.
var oneType = []string{"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "MatMul", "Gemm", "Conv", "ConvTranspose", "Concat", "Where", "PRelu", "LayerNormalization"}

func mixedTypes(m *model, n *node, _ Release) string {
	if !slices.Contains(oneType, n.GetOpType()) {
		return ""
	}
	first := ""
	for _, in := range n.Input {
		t := typeNames[m.Types[in]]
		if t != "f32" && t != "f16" && t != "bf16" {
			continue
		}
		if first == "" {
			first = t
		}
		if t != first {
			return fmt.Sprintf("have %s and %s", first, t)
		}
	}
	return ""
}

const mostAxes = 8

func rankRule(m *model, n *node, _ Release) string {
	for _, list := range [][]string{n.Input, n.Output} {
		for _, name := range list {
			if k := m.Ranks[name]; k > mostAxes {
				return fmt.Sprintf("%q has %d axes", name, k)
			}
		}
	}
	return ""
}

// attributes has what an attribute may be, where operators restrict it: the default first.
var attributes = []struct {
	op, name string
	words    []string
	ints     []int64 // also of every element of a list
}{
	{"Resize", "coordinate_transformation_mode", []string{"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"}, nil},
	{"Resize", "mode", []string{"nearest", "linear"}, nil},
	{"Resize", "nearest_mode", []string{"round_prefer_floor", "floor", "ceil", "round_prefer_ceil"}, nil},
	{"Resize", "keep_aspect_ratio_policy", []string{"stretch"}, nil},
	{"MaxPool", "dilations", nil, []int64{1}},
	{"AveragePool", "dilations", nil, []int64{1}},
	{"BatchNormalization", "training_mode", nil, []int64{0}},
	{"TopK", "sorted", nil, []int64{1}},
	{"ScatterND", "reduction", []string{"none"}, nil},
}

func attributeRule(_ *model, n *node, _ Release) string {
	for _, a := range attributes {
		have := n.Attrs[a.name]
		if a.op != n.GetOpType() || have == nil {
			continue
		}
		if a.words != nil && !slices.Contains(a.words, string(have.S)) {
			return fmt.Sprintf("%s: have %s, want one of %s", a.name, have.S, strings.Join(a.words, ", "))
		}
		values := have.Ints
		if values == nil {
			values = []int64{have.GetI()}
		}
		if a.ints != nil && slices.ContainsFunc(values, func(x int64) bool { return !slices.Contains(a.ints, x) }) {
			return fmt.Sprintf("%s: have %d, want %d", a.name, values, a.ints)
		}
	}
	if k := n.Attrs["kernel_shape"]; strings.HasSuffix(n.GetOpType(), "Pool") && k != nil && (len(k.Ints) < 2 || len(k.Ints) > 3) {
		return fmt.Sprintf("kernel_shape: pools %d axes, want 2 or 3", len(k.Ints))
	}
	return ""
}

// constants are inputs that must be known when the model is read.
var constants = map[string]int{"Slice": 3, "Squeeze": 1, "Unsqueeze": 1, "Pad": 3, "CumSum": 1, "ReduceMean": 1, "ReduceSum": 1, "ReduceMax": 1,
	"ReduceMin": 1, "ReduceL1": 1, "ReduceL2": 1, "ReduceLogSum": 1, "ReduceLogSumExp": 1, "ReduceProd": 1, "ReduceSumSquare": 1}

func initializerRule(m *model, n *node, _ Release) string {
	i, ok := constants[n.GetOpType()]
	if name := n.In(i); ok && name != "" && m.Constant[name] == nil {
		return fmt.Sprintf("axes: %q is computed", name)
	}
	return ""
}

func outputsRule(m *model, n *node, _ Release) string {
	if !slices.Contains([]string{"LayerNormalization", "MaxPool", "BatchNormalization", "Dropout"}, n.GetOpType()) {
		return ""
	}
	for _, out := range n.Output[min(1, len(n.Output)):] {
		if out != "" && len(m.Reads[out]) > 0 {
			return fmt.Sprintf("output %q is used", out)
		}
	}
	return ""
}

// shapeInputs are the inputs that give shapes, by operator.
var shapeInputs = map[string][]int{"Reshape": {1}, "Expand": {1}, "Slice": {1, 2, 4}, "Resize": {2, 3}, "Tile": {1}, "ConstantOfShape": {0}, "Pad": {1},
	"Range": {0, 1, 2}, "TopK": {1}, "Split": {1}, "OneHot": {1}}

func shapeFromData(m *model, n *node, _ Release) string {
	for _, i := range shapeInputs[n.GetOpType()] {
		if name := n.In(i); name != "" && m.FromData[name] {
			return fmt.Sprintf("%q gives a shape and depends on the values of graph inputs", name)
		}
	}
	return ""
}

func isQDQ(n *node) bool {
	return n.GetOpType() == "QuantizeLinear" || n.GetOpType() == "DequantizeLinear"
}

// integerType is the type of the integers that a Q or DQ makes or reads.
func (m *model) integerType(n *node) onnxpb.TensorProto_DataType {
	if n.GetOpType() == "DequantizeLinear" {
		return m.Types[n.In(0)]
	}
	return m.Types[n.Output[0]]
}

func uint8Rule(m *model, n *node, _ Release) string {
	if isQDQ(n) && m.integerType(n) == onnxpb.TensorProto_UINT8 {
		return "quantizes to uint8"
	}
	return ""
}

func zeroPointRule(m *model, n *node, _ Release) string {
	if !isQDQ(n) || n.In(2) == "" {
		return ""
	}
	z := m.Constant[n.In(2)]
	switch {
	case z == nil:
		return fmt.Sprintf("zero point %q is computed", n.In(2))
	case slices.ContainsFunc(z.Int64s(), func(x int64) bool { return x != 0 }):
		return "its zero point is not 0"
	}
	return ""
}

func scaleRule(m *model, n *node, _ Release) string {
	if !isQDQ(n) {
		return ""
	}
	s := m.Constant[n.In(1)]
	switch {
	case s == nil:
		return fmt.Sprintf("scale %q is computed", n.In(1))
	case slices.ContainsFunc(s.Float32s(), func(x float32) bool { return !(x > 0) || math.IsInf(float64(x), 0) }):
		return "a scale is not a positive number"
	}
	return ""
}

// isWeight reports whether a Q or DQ works on a constant, directly or through its pair.
func (m *model) isWeight(n *node) bool {
	name := n.In(0)
	if from := m.Makes[name]; m.Constant[name] == nil && n.GetOpType() == "DequantizeLinear" && from != nil && from.GetOpType() == "QuantizeLinear" {
		name = from.In(0)
	}
	return m.Constant[name] != nil
}

// channels is how many scales a Q or DQ has.
func (m *model) channels(n *node) int64 {
	if s := m.Constant[n.In(1)]; s != nil {
		return s.Len()
	}
	return 1
}

func activationAxis(m *model, n *node, _ Release) string {
	if isQDQ(n) && !m.isWeight(n) && m.channels(n) > 1 {
		return fmt.Sprintf("an activation with %d scales", m.channels(n))
	}
	return ""
}

func weightAxis(m *model, n *node, r Release) string {
	if n.GetOpType() != "DequantizeLinear" || !m.isWeight(n) || m.channels(n) == 1 {
		return ""
	}
	axis := n.Int("axis", 1)
	for _, u := range m.Reads[n.Output[0]] {
		want := axis
		switch u.GetOpType() {
		case "Conv":
			want = 0
		case "ConvTranspose":
			if r.Name == "8.6" {
				return "weights of ConvTranspose with a scale per channel"
			}
			want = 1
		case "Gemm":
			want = 1 - u.Int("transB", 0)
		case "MatMul":
			want = int64(m.Ranks[n.In(0)] - 1)
		}
		if axis != want && slices.Index(u.Input, n.Output[0]) == 1 {
			return fmt.Sprintf("weights of %s with scales along axis %d, want %d", u.GetOpType(), axis, want)
		}
	}
	return ""
}

func integerBias(m *model, n *node, _ Release) string {
	if n.GetOpType() == "DequantizeLinear" && m.Types[n.In(0)] == onnxpb.TensorProto_INT32 {
		return "dequantizes int32"
	}
	return ""
}

// decomposedNorm finds the variance of a normalization in half precision: its squares overflow past 255. Releases before strong typing
// may choose half precision themselves.
func decomposedNorm(m *model, n *node, r Release) string {
	square := n.GetOpType() == "Mul" && n.In(0) == n.In(1)
	if e := m.Constant[n.In(1)]; n.GetOpType() == "Pow" && e != nil && e.Len() == 1 && e.Float32s()[0] == 2 {
		square = true
	}
	t := m.Types[n.In(0)]
	if !square || t != onnxpb.TensorProto_FLOAT16 && (r.Name != "8.6" || t != onnxpb.TensorProto_FLOAT) {
		return ""
	}
	for _, u := range m.Reads[n.Output[0]] {
		if u.GetOpType() == "ReduceMean" {
			return "the variance of a decomposed normalization is taken in half precision"
		}
	}
	return ""
}

func residualRule(m *model, n *node, _ Release) string {
	if n.GetOpType() != "Add" || len(n.Input) != 2 {
		return ""
	}
	for _, in := range n.Input {
		dq := m.Makes[in]
		if dq == nil || dq.GetOpType() != "DequantizeLinear" || m.isWeight(dq) {
			return ""
		}
	}
	return "both arguments are quantized"
}
