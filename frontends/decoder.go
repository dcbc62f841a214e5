package frontends

import (
	"fmt"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// decoder is a SAM-like mask decoder under construction: prompts, learned tokens and the image have gone through the two-way
// transformer.
type decoder struct {
	*ir.Builder
	in       map[string]*ir.Value // graph inputs by name
	c, h     int64                // prompt dimension, side of the embedding
	tokens   *ir.Value            // [B,T,C], the learned ones first
	upscaled *ir.Value            // [B,C/8,4h,4h]
}

// decoderSpec says what a family's decoder adds to SAM's.
type decoderSpec struct {
	prompt, sam blocks.Scope                  // prompt encoder; transformer and output_upscaling
	learned     []blocks.Scope                // embeddings whose rows are the first tokens
	features    []feature                     // encoder outputs beside image_embeddings
	extra       func(b *ir.Builder) *ir.Value // one more token [B,C] behind the prompts, nil for none
	encoded
}

// An encoded is the sizes of what an image encoder gives, [N,c,grid,grid] of an image of size x size pixels. SAM's grid is a sixteenth of size.
type encoded struct{ c, grid, size int64 }

func encodedBy(v blocks.ViT) encoded { return encoded{v.Out, v.Grid, v.Size()} }

// A feature is an encoder output that the decoder takes beside image_embeddings.
type feature struct {
	name string
	dims []int64
}

// startDecoder declares the inputs in the order of the official export and runs the transformer and the upscaling.
func startDecoder(b *ir.Builder, s decoderSpec) *decoder {
	d := &decoder{Builder: b, in: map[string]*ir.Value{}, c: s.c, h: s.grid}
	fixed, batch, points, c, h := tensor.Static, tensor.Symbol("B"), tensor.Symbol("P"), s.c, s.grid
	declare := func(name string, shape ...tensor.Dim) {
		d.in[name] = b.Input(name, tensor.Float32, shape...)
	}
	declare("image_embeddings", fixed(1), fixed(c), fixed(h), fixed(h))
	for _, f := range s.features {
		declare(f.name, tensor.Dims(f.dims...)...)
	}
	declare("point_coords", batch, points, fixed(2))
	declare("point_labels", batch, points)
	declare("mask_input", tensor.Symbol(ir.MaskBatch), fixed(1), fixed(4*h), fixed(4*h))
	declare("has_mask_input", fixed(1))

	prompt := blocks.Prompt{Dim: c, Grid: h, Size: s.size}
	sparse := prompt.Sparse(s.prompt, d.in["point_coords"], d.in["point_labels"])
	md, n := s.sam, int64(0)
	var rows []*ir.Value
	for _, l := range s.learned {
		count := l.W.Shape(l.Key("weight"), 2)[0]
		n += count
		rows = append(rows, l.Param("weight", count, c))
	}
	first := rows[0]
	if len(rows) > 1 {
		first = md.Concat(0, rows...)
	}
	tokens := []*ir.Value{md.Op(ir.Expand.With(ir.ReshapeAttrs{Shape: []tensor.Dim{batch, fixed(n), fixed(c)}}), first), sparse}
	if s.extra != nil {
		tokens = append(tokens, md.Unsqueeze(s.extra(b), 1))
	}
	image := prompt.Dense(s.prompt, d.in["image_embeddings"], d.in["mask_input"], d.in["has_mask_input"])
	image = md.Transpose(image, 0, 2, 1)
	q, k := blocks.TwoWay(md.In("transformer"), image, prompt.DensePosition(s.prompt), md.Concat(1, tokens...))
	up := md.In("output_upscaling")
	d.tokens = q
	d.upscaled = up.In("4").Gelu(up.Upscale(up.Reshape(up.Transpose(k, 0, 2, 1), batch, fixed(c), fixed(h), fixed(h))))
	return d
}

// token is [B,n,C]: the n tokens from the first on.
func (d *decoder) token(s blocks.Scope, first, n int64) *ir.Value {
	return s.Slice(d.tokens, 1, first, first+n)
}

// product is hyper [B,M,C/8] times features [B,C/8,4h,4h]: [B,M,16hh].
func (d *decoder) product(s blocks.Scope, hyper, features *ir.Value) *ir.Value {
	return s.MatMul(hyper, s.Reshape(features, blocks.Dim(features, 0), tensor.Static(d.c/8), tensor.Static(16*d.h*d.h)))
}

// masks is [B,M,16hh] of SAM's mask tokens, which follow the iou token: a hypernetwork each.
func (d *decoder) masks(s blocks.Scope, m int64, features *ir.Value) *ir.Value {
	var hyper []*ir.Value
	for i := range m {
		hyper = append(hyper, s.In("output_hypernetworks_mlps").In(fmt.Sprint(i)).MLP(d.token(s, 1+i, 1)))
	}
	return d.product(s, s.Concat(1, hyper...), features)
}

// iou is [B,M], the predicted quality of each mask, from the first token.
func (d *decoder) iou(s blocks.Scope) *ir.Value {
	return s.In("iou_prediction_head").MLP(s.Op(ir.Squeeze.With(ir.AxesAttrs{Axes: []int64{1}}), d.token(s, 0, 1)))
}

// output names [B,M,16hh] as the masks [B,M,4h,4h].
func (d *decoder) output(masks *ir.Value) {
	d.Output("low_res_masks", d.Reshape(masks, blocks.Dim(masks, 0), blocks.Dim(masks, 1), tensor.Static(4*d.h), tensor.Static(4*d.h)))
}
