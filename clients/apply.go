package clients

import (
	"fmt"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// rule is what values say that they were made by.
const rule = "client"

// Apply writes the plan into copies of a module's graphs: what shapes do not follow from values for. positional is [C,h,h], the positions of the
// image's tokens, where the profile gives them.
func (p *Plan) Apply(m *ir.Module, positional *tensor.Tensor) (*ir.Module, error) {
	out := &ir.Module{Meta: m.Meta}
	for _, g := range m.Graphs {
		g := g.Clone()
		var err error
		switch g.Name {
		case "encoder":
			err = p.encoder(g, m.Meta.Preprocess, positional)
		case "decoder":
			err = p.decoder(g, m.Meta.Preprocess.Size)
		}
		if err == nil {
			g.Sweep()
			err = ir.Check(g)
		}
		if err != nil {
			return nil, fmt.Errorf("client %s: graph %s: %w", p.Profile.Name, g.Name, err)
		}
		out.Graphs = append(out.Graphs, g)
	}
	if p.Rule != "" {
		out.Meta.Postprocess.Mask = "first"
	}
	return out, nil
}

func input(g *ir.Graph, name string) (*ir.Value, error) {
	for _, v := range g.Inputs() {
		if v.Name == name {
			return v, nil
		}
	}
	return nil, fmt.Errorf("there is no input %q", name)
}

// end is a builder behind a graph's last value.
func end(g *ir.Graph) *ir.Builder { return g.After(g.Values[len(g.Values)-1], rule).As("") }

func (p *Plan) encoder(g *ir.Graph, pre ir.Preprocess, positional *tensor.Tensor) error {
	image, err := input(g, "image")
	if err != nil {
		return err
	}
	if p.Encoder.Image != nil {
		if image.Type.DType != tensor.Float32 {
			return fmt.Errorf("image: have %s, want float32", image.Type)
		}
		if err := divide(g, image, pre.Std); err != nil {
			return err
		}
	} else {
		image.Name = p.Profile.ImageName
	}
	b := end(g)
	if p.Features != nil {
		var parts []*ir.Value
		total, n := int64(0), image.Type.Shape[0]
		h := p.Features[0].Dims[1]
		for _, f := range p.Features {
			k := f.elements() / (h * h)
			total += k
			parts = append(parts, b.As("packed."+f.Name).Reshape(g.Output(f.Name), n, tensor.Static(k), tensor.Static(h), tensor.Static(h)))
		}
		packed := b.As("packed").Concat(1, parts...)
		if c := p.Profile.Carrier; c != nil {
			flat := b.As("packed").Reshape(packed, n, tensor.Static(total*h*h))
			flat = b.As("packed").Op(ir.Pad.With(ir.PadAttrs{Pads: []int64{0, 0, 0, c[1]*c[2]*c[3] - total*h*h}}), flat)
			packed = b.As("packed").Reshape(flat, append([]tensor.Dim{n}, tensor.Dims(c[1:]...)...)...)
		}
		g.Outputs = []ir.Output{{Name: "image_embeddings", Value: packed}}
	}
	if p.Profile.Positional {
		if positional == nil {
			return fmt.Errorf("image_positional_embeddings: the checkpoint has no positional_encoding_gaussian_matrix")
		}
		d := positional.Dims()
		one, err := tensor.Reshape(positional, 1, d[0], d[1], d[2])
		if err != nil {
			return err
		}
		g.Outputs = append(g.Outputs, ir.Output{Name: "image_positional_embeddings", Value: b.As("image_positional_embeddings").Op(ir.Expand.With(ir.ReshapeAttrs{Shape: append([]tensor.Dim{image.Type.Shape[0]}, tensor.Dims(d...)...)}), b.As("positional").Const(one))})
	}
	return b.Err()
}

// divide puts the division by the deviation into the convolutions that read the image, where all that reads it are such, and before them otherwise.
// Padding stays what it was: nothing is added.
func divide(g *ir.Graph, image *ir.Value, std [3]float64) error {
	fold := !g.IsOutput(image)
	for _, u := range g.UsesOf(image) {
		fold = fold && ir.Conv.Is(u) && u.Args[0] == image && u.Args[1].IsConst() && u.Args[1].Type.DType == tensor.Float32 && ir.Conv.Of(u).Group <= 1 && u.Args[1].Type.Rank() == 4
	}
	if fold {
		for _, conv := range slices.Clone(g.UsesOf(image)) {
			w := conv.Args[1]
			b := g.Before(conv, rule)
			scaled, err := perChannel(w.Const, std)
			if err != nil {
				return err
			}
			if err := g.ReplaceIn(rule, w, b.As(w.Name).Const(scaled), func(u *ir.Value) bool { return u == conv }); err != nil {
				return err
			}
		}
		return nil
	}
	b := g.After(image, rule).As("normalize")
	by := b.Const(tensor.FromFloat32([]int64{1, 3, 1, 1}, []float32{float32(std[0]), float32(std[1]), float32(std[2])}))
	divided := b.Op(ir.Div, image, by)
	if err := b.Err(); err != nil {
		return err
	}
	return g.ReplaceIn(rule, image, divided, func(u *ir.Value) bool { return u != divided })
}

// perChannel divides weights [M,3,h,w] by the deviation of their input channels, in float64, when they are written.
func perChannel(w *tensor.Tensor, std [3]float64) (*tensor.Tensor, error) {
	d := w.Dims()
	if d[1] != 3 {
		return nil, fmt.Errorf("weights: have %d input channels, want 3", d[1])
	}
	each := int(d[2] * d[3])
	return tensor.MapFloat32(d, func() []float32 {
		x := w.Float32s()
		out := make([]float32, len(x))
		for i, v := range x {
			out[i] = float32(float64(v) / std[i/each%3])
		}
		return out
	})
}

func (p *Plan) decoder(g *ir.Graph, size int64) error {
	if p.Features != nil {
		if err := p.unpack(g); err != nil {
			return err
		}
	}
	if p.Profile.Stacked {
		if err := unstack(g); err != nil {
			return err
		}
	}
	if err := p.choose(g); err != nil {
		return err
	}
	b := end(g)
	row := p.Profile
	wants := row.Scores != "" || slices.Contains(row.Outputs, "iou_predictions")
	if masks := g.Output("low_res_masks"); wants && masks != nil && g.Output("iou_predictions") == nil {
		b.Output("iou_predictions", stability(b.As("stability_score"), masks))
	}
	if err := b.Err(); err != nil {
		return err
	}
	if row.Batched {
		batch(g, b)
	}
	for i, o := range g.Outputs {
		for from, to := range map[string]string{"iou_predictions": row.Scores, "low_res_masks": row.LowMasks} {
			if o.Name == from && to != "" {
				g.Outputs[i].Name = to
			}
		}
	}
	if row.Scores != "" {
		slices.SortFunc(g.Outputs, func(a, b ir.Output) int {
			return slices.Index([]string{row.Scores, row.LowMasks}, a.Name) - slices.Index([]string{row.Scores, row.LowMasks}, b.Name)
		})
	}
	return b.Err()
}

// batch gives the decoder's results a leading axis, the images, of which there is one.
func batch(g *ir.Graph, b *ir.Builder) {
	for i, o := range g.Outputs {
		g.Outputs[i].Value = b.As(o.Name).Unsqueeze(o.Value, 0)
	}
	// the client hands on what its encoder gave; what is in the decoder is constant
	if e, err := input(g, "image_embeddings"); err == nil {
		g.After(e, rule).Input("image_positional_embeddings", tensor.Float32, tensor.Static(1), tensor.Symbol("C_positional"), tensor.Symbol("h_positional"), tensor.Symbol("w_positional"))
	}
}

// unpack makes the features from the one tensor that the client carries.
func (p *Plan) unpack(g *ir.Graph) error {
	old, err := input(g, "image_embeddings")
	if err != nil {
		return err
	}
	old.Name = "image_embeddings.of_the_model"
	h, total := p.Features[0].Dims[1], int64(0)
	for _, f := range p.Features {
		total += f.elements() / (h * h)
	}
	b := g.Before(g.Values[0], rule).As("")
	shape := tensor.Dims(1, total, h, h)
	if c := p.Profile.Carrier; c != nil {
		shape = tensor.Dims(c...)
	}
	packed := b.Input("image_embeddings", tensor.Float32, shape...)
	flat := b.As("unpacked").Reshape(packed, tensor.Static(1), tensor.Static(product(shape)))
	at, parts, olds := int64(0), []*ir.Value{}, []*ir.Value{}
	for i, f := range p.Features {
		part := b.As("unpacked."+f.Name).Slice(flat, 1, at, at+f.elements())
		at += f.elements()
		part = b.As("unpacked."+f.Name).Reshape(part, append([]tensor.Dim{tensor.Static(1)}, tensor.Dims(f.Dims...)...)...)
		if err := b.Err(); err != nil {
			return err
		}
		was := old
		if i > 0 {
			if was, err = input(g, f.Name); err != nil {
				return err
			}
		}
		parts, olds = append(parts, part), append(olds, was)
	}
	for i := range parts {
		if err := drop(g, olds[i], parts[i]); err != nil {
			return err
		}
	}
	return nil
}

func product(shape []tensor.Dim) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d.B
	}
	return n
}

// drop puts a value in an input's place.
func drop(g *ir.Graph, was, by *ir.Value) error {
	if err := g.Replace(rule, was, by); err != nil {
		return err
	}
	g.Values = slices.DeleteFunc(g.Values, func(v *ir.Value) bool { return v == was })
	return nil
}

// unstack takes the first of the interm_embeddings that the client stacks.
func unstack(g *ir.Graph) error {
	old, err := input(g, "interm_embeddings")
	if err != nil {
		return err
	}
	old.Name = "interm_embeddings.of_the_model"
	b := g.Before(old, rule).As("")
	all := b.Input("interm_embeddings", tensor.Float32, append([]tensor.Dim{tensor.Symbol("K")}, old.Type.Shape...)...)
	first := b.As("interm_embeddings.first").Op(ir.Gather, all, b.As("interm_embeddings.number").Const(tensor.FromInt64([]int64{}, []int64{0})))
	if err := b.Err(); err != nil {
		return err
	}
	return drop(g, old, first)
}

// choose makes one of M masks, and of their scores.
func (p *Plan) choose(g *ir.Graph) error {
	masks, scores := g.Output("low_res_masks"), g.Output("iou_predictions")
	if p.Rule == "" || masks == nil {
		return nil
	}
	b := end(g).As("one_mask")
	m := masks.Type.Shape[1].B
	first := func(x *ir.Value) *ir.Value { return b.Slice(x, 1, 0, 1) }
	one, score := masks, scores
	switch p.Rule {
	case "first":
		if m > 1 {
			one = first(masks)
		}
		if scores != nil && scores.Type.Shape[1].B > 1 {
			score = first(scores)
		}
	case "first_plus_hq":
		one = b.Add(first(masks), b.Slice(masks, 1, m-1, m))
		if scores != nil {
			score = first(scores)
		}
	case "best_iou_multimask", OneSAM:
		if scores == nil || m < 2 {
			return fmt.Errorf("one mask: %s: have %d masks, scores %v", p.Rule, m, scores != nil)
		}
		weights := make([]float32, m)
		weights[0] = -1e9 // never the first
		by := b.Add(scores, b.Const(tensor.FromFloat32([]int64{1, m}, weights)))
		if p.Rule == OneSAM { // as its export: a thousand times (points - 2.5) for the first
			labels, err := input(g, "point_labels")
			if err != nil {
				return err
			}
			ones := b.Op(ir.Cast.With(ir.CastAttrs{To: tensor.Float32}), b.Op(ir.LessOrEqual, b.Op(ir.Mul, labels, b.Scalar(0)), b.Scalar(0)))
			count := b.Op(ir.ReduceSum.With(ir.ReduceAttrs{Axes: []int64{1}, KeepDims: 1}), ones)
			weights = make([]float32, m)
			weights[0] = 1000
			by = b.Add(scores, b.Mul(b.Sub(count, b.Scalar(2.5)), b.Const(tensor.FromFloat32([]int64{1, m}, weights))))
		}
		best := b.Op(ir.ArgMax.With(ir.ArgAttrs{Axis: 1, KeepDims: 1}), by)
		pick := func(x *ir.Value) *ir.Value {
			return b.Unsqueeze(b.Op(ir.GatherND.With(ir.GatherNDAttrs{BatchDims: 1}), x, best), 1)
		}
		one, score = pick(masks), pick(scores)
	default:
		return fmt.Errorf("one mask: %q is not known", p.Rule)
	}
	if err := b.Err(); err != nil {
		return err
	}
	for i, o := range g.Outputs {
		switch o.Name {
		case "low_res_masks":
			g.Outputs[i].Value = one
		case "iou_predictions":
			g.Outputs[i].Value = score
		}
	}
	return nil
}

// stability scores masks of a model that predicts no IoU, as SAM's export does on request: the share of the pixels above -1 that are above 1.
func stability(b *ir.Builder, masks *ir.Value) *ir.Value {
	above := func(x float32) *ir.Value {
		inside := b.Op(ir.Cast.With(ir.CastAttrs{To: tensor.Float32}), b.Op(ir.Greater, masks, b.ScalarLike(masks, x)))
		return b.Op(ir.ReduceSum.With(ir.ReduceAttrs{Axes: []int64{2, 3}}), inside)
	}
	return b.Op(ir.Div, above(1), b.Op(ir.Max, above(-1), b.Scalar(1)))
}
