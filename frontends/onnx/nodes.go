package onnx

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// importers has the operators whose inputs or attributes differ from the IR's. All others are taken as they are.
var importers = map[string]func(im *importer, n *onnxpb.NodeProto, a attrs) error{
	"Constant": importConstant, "Shape": first(importShape), "ConstantOfShape": importConstantOfShape,
	"Reshape": first(importReshape), "Flatten": first(importFlatten), "Expand": first(importExpand), "Squeeze": first(importAxes), "Unsqueeze": first(importAxes),
	"Slice": first(importSlice), "Split": first(importSplit), "Pad": first(importPad), "Tile": first(importTile), "Clip": first(importClip), "Resize": first(importResize),
	"ReduceMean": first(importReduce), "ReduceSum": first(importReduce), "ReduceMax": first(importReduce), "ReduceMin": first(importReduce), "ReduceLogSumExp": first(importReduce),
	"GlobalAveragePool": first(importGlobalPool), "Softmax": first(importSoftmax), "Cast": first(importCast),
	"Einsum": importEinsum, "Trilu": first(importTrilu), "OneHot": importOneHot, "Range": importRange, "NonZero": importNonZero,
	"QuantizeLinear": importQuantize, "Sum": importFold, "Min": importFold, "Max": importFold, "Dropout": first(importDropout),
	"MaxPool": importPool, "AveragePool": importPool, "Conv": importConv, "ConvTranspose": importConv,
}

func init() { // If reads nodes, which look here
	importers["If"] = importIf
}

// first gives an importer the value of input 0.
func first(f func(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error) func(im *importer, n *onnxpb.NodeProto, a attrs) error {
	return func(im *importer, n *onnxpb.NodeProto, a attrs) error {
		in, err := im.ir(input(n, 0))
		if err != nil {
			return err
		}
		return f(im, n, a, in)
	}
}

// aliases are operators that the IR has under another name, when they carry no attributes.
var aliases = map[string]*ir.Op{"Sum": ir.Add.Op}

// defaults are ONNX's where they differ from the zero value.
var defaults = map[string]any{
	"Gemm": ir.GemmAttrs{Alpha: 1, Beta: 1}, "LayerNormalization": ir.LayerNormAttrs{Axis: -1, Epsilon: 1e-5},
	"BatchNormalization": ir.EpsilonAttrs{Epsilon: 1e-5}, "Softmax": ir.SoftmaxAttrs{Axis: -1}, "LeakyRelu": ir.AlphaAttrs{Alpha: 0.01},
	"ArgMax": ir.ArgAttrs{KeepDims: 1}, "QuantizeLinear": ir.QuantAttrs{Axis: 1}, "DequantizeLinear": ir.QuantAttrs{Axis: 1},
}

// implied are attributes that may be present with one value that changes nothing.
var implied = map[string]func(a *onnxpb.AttributeProto) bool{
	"auto_pad":     func(a *onnxpb.AttributeProto) bool { return string(a.S) == "NOTSET" || string(a.S) == "" },
	"kernel_shape": func(*onnxpb.AttributeProto) bool { return true }, // of Conv: the weights tell
	"ceil_mode":    isInt(0), "storage_order": isInt(0), "training_mode": isInt(0), "spatial": isInt(1), "momentum": func(*onnxpb.AttributeProto) bool { return true },
	"dilations": func(a *onnxpb.AttributeProto) bool {
		return !slices.ContainsFunc(a.Ints, func(d int64) bool { return d != 1 })
	},
	"select_last_index": isInt(0), "stash_type": isInt(1), "saturate": isInt(1), "block_size": isInt(0), "output_dtype": isInt(0),
	"round_mode": func(*onnxpb.AttributeProto) bool { return true }, "consumed_inputs": func(*onnxpb.AttributeProto) bool { return true },
}

func isInt(n int64) func(*onnxpb.AttributeProto) bool {
	return func(a *onnxpb.AttributeProto) bool { return a.GetI() == n }
}

// attrs are a node's attributes by name.
type attrs map[string]*onnxpb.AttributeProto

func (a attrs) int(name string, absent int64) int64 {
	if p := a[name]; p != nil {
		return p.GetI()
	}
	return absent
}

func (a attrs) ints(name string) []int64 {
	if p := a[name]; p != nil {
		return append([]int64{}, p.Ints...)
	}
	return nil
}

func (a attrs) string(name, absent string) string {
	if p := a[name]; p != nil {
		return string(p.S)
	}
	return absent
}

// kinds are the kinds of the attributes that importers read, which take one of another kind for absent.
var kinds = map[string]onnxpb.AttributeProto_AttributeType{
	"axis": onnxpb.AttributeProto_INT, "keepdims": onnxpb.AttributeProto_INT, "to": onnxpb.AttributeProto_INT, "allowzero": onnxpb.AttributeProto_INT, "start": onnxpb.AttributeProto_INT,
	"end": onnxpb.AttributeProto_INT, "antialias": onnxpb.AttributeProto_INT, "upper": onnxpb.AttributeProto_INT, "noop_with_empty_axes": onnxpb.AttributeProto_INT,
	"axes": onnxpb.AttributeProto_INTS, "shape": onnxpb.AttributeProto_INTS, "starts": onnxpb.AttributeProto_INTS, "ends": onnxpb.AttributeProto_INTS, "split": onnxpb.AttributeProto_INTS,
	"pads": onnxpb.AttributeProto_INTS, "min": onnxpb.AttributeProto_FLOAT, "max": onnxpb.AttributeProto_FLOAT, "mode": onnxpb.AttributeProto_STRING,
	"coordinate_transformation_mode": onnxpb.AttributeProto_STRING, "nearest_mode": onnxpb.AttributeProto_STRING, "equation": onnxpb.AttributeProto_STRING,
}

func (a attrs) check() error {
	for name, p := range a {
		if want, ok := kinds[name]; ok && p.GetType() != want && p.GetType() != onnxpb.AttributeProto_UNDEFINED {
			return fmt.Errorf("attribute %q: have %s, want %s", name, p.GetType(), want)
		}
	}
	return nil
}

func (im *importer) node(n *onnxpb.NodeProto) error {
	if d := n.GetDomain(); d != "" && d != "ai.onnx" {
		return fmt.Errorf("domain %q is not supported", d)
	}
	if len(n.Output) == 0 {
		return errors.New("it has no output")
	}
	a := attrs{}
	for _, p := range n.Attribute {
		a[p.GetName()] = p
	}
	if err := a.check(); err != nil {
		return err
	}
	if ok, err := im.sizeNode(n, a); ok || err != nil {
		return err
	}
	if f := importers[n.GetOpType()]; f != nil {
		return f(im, n, a)
	}
	if len(n.Output) > 1 && slices.ContainsFunc(n.Output[1:], func(s string) bool { return s != "" }) {
		return fmt.Errorf("have %d outputs, want 1", len(n.Output))
	}
	return im.direct(n, n.GetOpType(), a)
}

// direct takes an operator as the IR's of that name, its attributes by their names.
func (im *importer) direct(n *onnxpb.NodeProto, op string, a attrs) error {
	row, ok := ir.LookupOp(op)
	if !ok || op == "Input" {
		return errUnknown
	}
	in, err := im.args(n)
	if err != nil {
		return err
	}
	at, err := im.attrStruct(op, row.Attrs, a)
	if err != nil {
		return err
	}
	return im.emit(n, ir.Application{Op: row, Attrs: at}, in...)
}

// attrStruct fills an op's attribute struct; an attribute that it does not have must be one that changes nothing.
func (im *importer) attrStruct(op string, zero any, a attrs) (any, error) {
	if d, ok := defaults[op]; ok {
		zero = d
	}
	known := map[string]bool{}
	out := reflect.ValueOf(zero)
	if zero != nil {
		s := reflect.New(reflect.TypeOf(zero)).Elem()
		s.Set(out)
		for _, f := range ir.AttrFields(zero) {
			p := a[f.Name]
			if p == nil {
				continue
			}
			known[f.Name] = true
			if want := kindOf(s.Field(f.Index).Interface()); p.GetType() != want && p.GetType() != onnxpb.AttributeProto_UNDEFINED {
				return nil, fmt.Errorf("attribute %q: have %s, want %s", f.Name, p.GetType(), want)
			}
			switch s.Field(f.Index).Interface().(type) {
			case int64:
				s.Field(f.Index).SetInt(p.GetI())
			case float32:
				s.Field(f.Index).SetFloat(float64(p.GetF()))
			case string:
				s.Field(f.Index).SetString(string(p.S))
			case []int64:
				s.Field(f.Index).Set(reflect.ValueOf(append([]int64{}, p.Ints...)))
			default:
				return nil, fmt.Errorf("attribute %q: not supported", f.Name)
			}
		}
		out = s
	}
	for name, p := range a {
		if !known[name] && (implied[name] == nil || !implied[name](p)) {
			return nil, fmt.Errorf("attribute %q: not supported with this value", name)
		}
	}
	if zero == nil {
		return nil, nil
	}
	return out.Interface(), nil
}

// kindOf is the kind of attribute that a field takes.
func kindOf(field any) onnxpb.AttributeProto_AttributeType {
	switch field.(type) {
	case int64:
		return onnxpb.AttributeProto_INT
	case float32:
		return onnxpb.AttributeProto_FLOAT
	case string:
		return onnxpb.AttributeProto_STRING
	}
	return onnxpb.AttributeProto_INTS
}

func importConstant(im *importer, n *onnxpb.NodeProto, a attrs) error {
	var t *tensor.Tensor
	var err error
	switch {
	case a["value"] != nil && a["value"].T != nil:
		t, err = onnxpb.TensorOf(a["value"].T)
	case a["value_float"] != nil:
		t = tensor.Scalar(a["value_float"].GetF())
	case a["value_floats"] != nil:
		t = tensor.FromFloat32([]int64{int64(len(a["value_floats"].Floats))}, a["value_floats"].Floats)
	case a["value_int"] != nil:
		t = tensor.FromInt64([]int64{}, []int64{a["value_int"].GetI()})
	case a["value_ints"] != nil:
		t = tensor.FromInt64([]int64{int64(len(a["value_ints"].Ints))}, a["value_ints"].Ints)
	default:
		err = errors.New("its value is of a kind that is not supported")
	}
	if err != nil {
		return err
	}
	im.values[n.Output[0]] = im.constant(n.Output[0], t)
	return nil
}

func importReshape(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error {
	want := tensor.Dims(a.ints("shape")...) // an attribute in opset 1
	if a["shape"] == nil {
		var err error
		if want, err = im.sizes(input(n, 1)); err != nil {
			return err
		}
	}
	shape, err := resolve(in.Type.Shape, want, a.int("allowzero", 0) != 0)
	if err != nil {
		return err
	}
	return im.emit(n, ir.Reshape.With(ir.ReshapeAttrs{Shape: shape}), in)
}

// resolve replaces 0 by the input's dimension and -1 by what remains.
func resolve(from, want []tensor.Dim, allowZero bool) ([]tensor.Dim, error) {
	shape, free := slices.Clone(want), -1
	for i, d := range want {
		switch {
		case d.Is(0) && !allowZero:
			if i >= len(from) {
				return nil, fmt.Errorf("shape: 0 on axis %d of an input of rank %d", i, len(from))
			}
			shape[i] = from[i]
		case d.Is(-1):
			if free >= 0 {
				return nil, errors.New("shape: two axes are -1")
			}
			free = i
		}
	}
	if free >= 0 {
		d, err := tensor.Missing(from, slices.Delete(slices.Clone(shape), free, free+1))
		if err != nil {
			return nil, fmt.Errorf("shape: %w", err)
		}
		shape[free] = d
	}
	return shape, nil
}

func importFlatten(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error {
	axis := a.int("axis", 1)
	rank := int64(in.Type.Rank())
	if axis < 0 {
		axis += rank
	}
	if axis < 0 || axis > rank {
		return fmt.Errorf("axis: have %d, want 0 to %d", axis, rank)
	}
	rows, err1 := tensor.Missing(in.Type.Shape[:axis], nil)
	cols, err2 := tensor.Missing(in.Type.Shape[axis:], nil)
	if err := cmp.Or(err1, err2); err != nil {
		return err
	}
	return im.emit(n, ir.Reshape.With(ir.ReshapeAttrs{Shape: []tensor.Dim{rows, cols}}), in)
}

func importExpand(im *importer, n *onnxpb.NodeProto, _ attrs, in *ir.Value) error {
	shape, err := im.sizes(input(n, 1))
	if err != nil {
		return err
	}
	// ONNX lets the input's dimensions win over 1
	full := slices.Clone(shape)
	if extra := in.Type.Rank() - len(full); extra > 0 {
		full = append(slices.Clone(in.Type.Shape[:extra]), full...)
	}
	for i, d := range in.Type.Shape {
		if k := len(full) - in.Type.Rank() + i; full[k].Is(1) {
			full[k] = d
		}
	}
	return im.emit(n, ir.Expand.With(ir.ReshapeAttrs{Shape: full}), in)
}

func importConstantOfShape(im *importer, n *onnxpb.NodeProto, a attrs) error {
	shape, err := im.sizes(input(n, 0))
	if err != nil {
		return err
	}
	fill := tensor.Scalar(0)
	if a["value"] != nil {
		if fill, err = onnxpb.TensorOf(a["value"].T); err != nil {
			return err
		}
	}
	return im.emit(n, ir.Expand.With(ir.ReshapeAttrs{Shape: shape}), im.b.Const(fill))
}

// axesOf gives the axes of an operator that took them as an attribute once and takes input 1 now.
func (im *importer) axesOf(n *onnxpb.NodeProto, a attrs) ([]int64, error) {
	if axes := a.ints("axes"); axes != nil {
		return axes, nil
	}
	return im.optional(n, 1)
}

func importAxes(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error {
	axes, err := im.axesOf(n, a)
	if err != nil {
		return err
	}
	row, _ := ir.LookupOp(n.GetOpType())
	return im.emit(n, ir.Application{Op: row, Attrs: ir.AxesAttrs{Axes: axes}}, in)
}

func importReduce(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error {
	axes, err := im.axesOf(n, a)
	if err != nil {
		return err
	}
	if a.int("noop_with_empty_axes", 0) != 0 && len(axes) == 0 {
		return im.emit(n, ir.Identity, in)
	}
	row, _ := ir.LookupOp(n.GetOpType())
	return im.emit(n, ir.Application{Op: row, Attrs: ir.ReduceAttrs{Axes: axes, KeepDims: a.int("keepdims", 1)}}, in)
}

func (im *importer) sliceAttrs(n *onnxpb.NodeProto, a attrs) (ir.SliceAttrs, error) {
	s := ir.SliceAttrs{Starts: a.ints("starts"), Ends: a.ints("ends"), Axes: a.ints("axes")} // before opset 10
	if s.Starts == nil {
		var errs [4]error
		s.Starts, errs[0] = im.optional(n, 1)
		s.Ends, errs[1] = im.optional(n, 2)
		s.Axes, errs[2] = im.optional(n, 3)
		s.Steps, errs[3] = im.optional(n, 4)
		if err := cmp.Or(errs[:]...); err != nil {
			return s, err
		}
	}
	if s.Axes == nil {
		for i := range s.Starts {
			s.Axes = append(s.Axes, int64(i))
		}
	}
	return s, nil
}

func importSlice(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error {
	s, err := im.sliceAttrs(n, a)
	if err != nil {
		return err
	}
	return im.emit(n, ir.Slice.With(s), in)
}

// importSplit makes one slice per output.
func importSplit(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error {
	sizes := a.ints("split")
	if sizes == nil {
		var err error
		if sizes, err = im.optional(n, 1); err != nil {
			return err
		}
	}
	axis := a.int("axis", 0)
	if axis < 0 {
		axis += int64(in.Type.Rank())
	}
	if axis < 0 || axis >= int64(in.Type.Rank()) || !in.Type.Shape[axis].IsStatic() {
		return fmt.Errorf("axis: have %d of %s", axis, in.Type)
	}
	if sizes == nil {
		part := (in.Type.Shape[axis].B + int64(len(n.Output)) - 1) / int64(len(n.Output))
		for at := int64(0); len(sizes) < len(n.Output); at += part {
			sizes = append(sizes, max(0, min(part, in.Type.Shape[axis].B-at)))
		}
	}
	if len(sizes) != len(n.Output) {
		return fmt.Errorf("split: have %d sizes, want %d", len(sizes), len(n.Output))
	}
	at, whole := int64(0), in.Type.Shape[axis].B
	for _, size := range sizes {
		if size < 0 || size > whole-at {
			return fmt.Errorf("split: have %v, want parts of %d", sizes[:min(len(sizes), 8)], whole)
		}
		at += size
	}
	if at != whole {
		return fmt.Errorf("split: have %d elements, want %d", at, whole)
	}
	at = 0
	for i, name := range n.Output {
		v := im.b.As(name).Slice(in, axis, at, at+sizes[i])
		at += sizes[i]
		if name != "" {
			im.values[name] = value{v: v}
		}
	}
	return im.b.Err()
}

func importPad(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error {
	pads, fill := a.ints("pads"), float32(0)
	if pads != nil {
		if a["value"] != nil {
			fill = a["value"].GetF()
		}
	} else {
		var err1, err2 error
		pads, err1 = im.optional(n, 1)
		fill, err2 = im.scalar(n, 2, 0)
		if err := cmp.Or(err1, err2); err != nil {
			return err
		}
	}
	if len(n.Input) > 3 && n.Input[3] != "" {
		axes, err := im.ints(input(n, 3))
		if err != nil {
			return err
		}
		rank := in.Type.Rank()
		full := make([]int64, 2*rank)
		for i, x := range axes {
			if x < 0 {
				x += int64(rank)
			}
			if x < 0 || x >= int64(rank) || len(pads) != 2*len(axes) {
				return fmt.Errorf("axes: have %v for %s", axes, in.Type)
			}
			full[x], full[int(x)+rank] = pads[i], pads[i+len(axes)]
		}
		pads = full
	}
	mode := a.string("mode", "constant")
	if mode == "constant" {
		mode = ""
	}
	return im.emit(n, ir.Pad.With(ir.PadAttrs{Pads: pads, Value: fill, Mode: mode}), in)
}

func importTile(im *importer, n *onnxpb.NodeProto, _ attrs, in *ir.Value) error {
	repeats, err := im.optional(n, 1)
	if err != nil {
		return err
	}
	return im.emit(n, ir.Tile.With(ir.RepeatsAttrs{Repeats: repeats}), in)
}

func importClip(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error {
	lo, err1 := im.scalar(n, 1, float32(math.Inf(-1)))
	hi, err2 := im.scalar(n, 2, float32(math.Inf(1)))
	if a["min"] != nil {
		lo = a["min"].GetF()
	}
	if a["max"] != nil {
		hi = a["max"].GetF()
	}
	if err := cmp.Or(err1, err2); err != nil {
		return err
	}
	return im.emit(n, ir.Clip.With(ir.ClipAttrs{Min: lo, Max: hi}), in)
}

func importGlobalPool(im *importer, n *onnxpb.NodeProto, _ attrs, in *ir.Value) error {
	axes := []int64{}
	for i := 2; i < in.Type.Rank(); i++ {
		axes = append(axes, int64(i))
	}
	return im.emit(n, ir.ReduceMean.With(ir.ReduceAttrs{Axes: axes, KeepDims: 1}), in)
}

// importSoftmax: before opset 13 the axes from axis on (default 1) are one.
func importSoftmax(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error {
	if im.opset >= 13 {
		return im.emit(n, ir.Softmax.With(ir.SoftmaxAttrs{Axis: a.int("axis", -1)}), in)
	}
	axis := a.int("axis", 1)
	if axis < 0 {
		axis += int64(in.Type.Rank())
	}
	if axis < 0 || axis > int64(in.Type.Rank()) {
		return fmt.Errorf("axis: have %d of %s", axis, in.Type)
	}
	last, err := tensor.Missing(in.Type.Shape[axis:], nil)
	if err != nil {
		return err
	}
	flat := im.b.Reshape(in, append(slices.Clone(in.Type.Shape[:axis]), last)...)
	return im.emit(n, ir.Reshape.With(ir.ReshapeAttrs{Shape: in.Type.Shape}), im.b.Softmax(flat, -1))
}

func importCast(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error {
	d, err := onnxpb.DTypeOf(int32(max(min(a.int("to", 0), math.MaxInt32), 0)))
	if err != nil {
		return err
	}
	return im.emit(n, ir.Cast.With(ir.CastAttrs{To: d}), in)
}

// importQuantize makes an absent zero point the uint8 zero that ONNX defines.
func importQuantize(im *importer, n *onnxpb.NodeProto, a attrs) error {
	if len(n.Input) == 3 && n.Input[2] != "" {
		return im.direct(n, ir.QuantizeLinear.Name, a)
	}
	in, err1 := im.ir(input(n, 0))
	scale, err2 := im.ir(input(n, 1))
	if err := cmp.Or(err1, err2); err != nil {
		return err
	}
	dims, ok := scale.Type.Static()
	count, err := tensor.Elements(dims)
	if !ok || err != nil {
		return fmt.Errorf("scale: have %s", scale.Type)
	}
	zero := im.b.Const(tensor.FromUint8(dims, make([]uint8, count)))
	return im.emit(n, ir.QuantizeLinear.With(ir.QuantAttrs{Axis: a.int("axis", 1)}), in, scale, zero)
}

// importFold makes a chain of two-argument operators.
func importFold(im *importer, n *onnxpb.NodeProto, _ attrs) error {
	in, err := im.args(n)
	if err != nil {
		return err
	}
	if len(in) == 0 {
		return undefined("")
	}
	row, ok := aliases[n.GetOpType()]
	if !ok {
		row, _ = ir.LookupOp(n.GetOpType())
	}
	if len(in) == 1 {
		return im.emit(n, ir.Identity, in[0])
	}
	x := in[0]
	for _, y := range in[1 : len(in)-1] {
		x = im.b.Op(row, x, y)
	}
	return im.emit(n, row, x, in[len(in)-1])
}

// importDropout is the identity at inference.
func importDropout(im *importer, n *onnxpb.NodeProto, _ attrs, in *ir.Value) error {
	if len(n.Output) > 1 && n.Output[1] != "" {
		return errors.New("its mask output is not supported")
	}
	return im.emit(n, ir.Identity, in)
}

func importPool(im *importer, n *onnxpb.NodeProto, a attrs) error {
	if len(n.Output) > 1 && n.Output[1] != "" {
		return errors.New("its indices output is not supported")
	}
	return im.direct(n, n.GetOpType(), a)
}

// importConv refuses what the IR does not have: other than two spatial axes, automatic padding.
func importConv(im *importer, n *onnxpb.NodeProto, a attrs) error {
	if a["output_shape"] != nil {
		return errors.New(`attribute "output_shape": not supported`)
	}
	return im.direct(n, n.GetOpType(), a)
}

func importShape(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error {
	rank := int64(in.Type.Rank())
	at := func(x int64) int64 {
		if x < 0 {
			x += rank
		}
		return min(max(x, 0), rank)
	}
	start, end := at(a.int("start", 0)), at(a.int("end", rank))
	im.values[n.Output[0]] = value{sizes: append([]tensor.Dim{}, in.Type.Shape[start:max(start, end)]...)}
	return nil
}
