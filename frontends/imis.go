package frontends

import (
	"fmt"
	"math"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// imisNet is IMIS-Net (paper, table 4): timm's SAM ViT with a neck of its own, mask and semantic tokens, and text prompts by way of
// CLIP's text model.
var imisNet = Family{
	Name:    "imis-net",
	Match:   func(w *blocks.Weights) bool { return w.Has("image_encoder.sam_encoder.pos_embed") },
	Build:   buildIMIS,
	Ignored: []string{".position_ids"},
	Unused:  []string{"image_encoder.sam_encoder.neck."},
}

func buildIMIS(w *blocks.Weights) (*ir.Module, error) {
	b := ir.NewBuilder("encoder")
	image := blocks.NewScope(b, w).In("image_encoder")
	sam := image.In("sam_encoder")
	vit, err := readViT(sam)
	if err != nil {
		return nil, err
	}
	vit.Cubic, vit.Eps = true, blocks.EpsDecoder // IMIS-Net's ViT is timm's
	vit.Out = w.Size(blocks.Dimension{Key: "image_encoder.neck.0.weight", Rank: 4, Axis: 0})
	b.Output("image_embeddings", vit.Neck(image, tokensOf(sam, vit, func(int64, *ir.Value) {})))
	encoder, err := b.Graph()
	if err != nil {
		return nil, err
	}
	decoder, err := imisDecoder(w, vit, false)
	if err != nil {
		return nil, err
	}
	graphs := []*ir.Graph{encoder, decoder}
	config := vitConfig(vit)
	if w.Has("text_out_dim.weight") {
		withText, err := imisDecoder(w, vit, true)
		if err != nil {
			return nil, err
		}
		text, tokens, err := textEncoder(w)
		if err != nil {
			return nil, err
		}
		graphs = append(graphs, withText, text)
		config["text_tokens"] = tokens
	}
	return &ir.Module{Graphs: graphs, Meta: ir.Meta{Family: "imis-net", Config: config, Linears: []string{"image_encoder.sam_encoder.blocks"},
		Preprocess:  ir.Preprocess{Size: vit.Size(), Channels: "RGB", Resize: "stretch", Interpolation: "pil_nearest", Mean: imageNetMean, Std: imageNetStd},
		Postprocess: ir.Postprocess{Upsample: "bilinear", Activation: "sigmoid", Threshold: 0.5, Mask: "best_iou_multimask"},
	}}, nil
}

// imisDecoder: masks and their IoU as SAM's; semantic_pred [B,M,512] from the semantic tokens. With text, text_embedding [B,C] is one
// more token, and its projection times the upscaled map adds to every mask.
func imisDecoder(w *blocks.Weights, vit blocks.ViT, text bool) (*ir.Graph, error) {
	name := "decoder"
	if text {
		name = "decoder_text"
	}
	b := ir.NewBuilder(name)
	root := blocks.NewScope(b, w)
	md := root.In("mask_decoder")
	spec := decoderSpec{prompt: root.In("prompt_encoder"), sam: md, encoded: encodedBy(vit),
		learned: []blocks.Scope{md.In("iou_token"), md.In("mask_tokens"), md.In("semantic_tokens")}}
	var embedding *ir.Value
	if text {
		spec.extra = func(b *ir.Builder) *ir.Value {
			embedding = b.Input("text_embedding", tensor.Float32, tensor.Symbol("B"), tensor.Static(vit.Out))
			return embedding
		}
	}
	d := startDecoder(b, spec)
	m := w.Shape("mask_decoder.mask_tokens.weight", 2)[0]
	masks := d.masks(md, m, d.upscaled)
	if text {
		words := md.Unsqueeze(md.In("text_output").Linear(embedding, vit.Out/8), 1)
		masks = md.Add(masks, d.product(md, words, d.upscaled))
	}
	d.output(masks)
	b.Output("iou_predictions", d.iou(md))
	b.Output("semantic_pred", md.In("semantic_prediction_head").MLP(d.token(md, 1+m, w.Shape("mask_decoder.semantic_tokens.weight", 2)[0])))
	return b.Graph()
}

// clipHeads, clipEnd: CLIP's text model has 8 heads; what a prompt means is read where its end token first stands.
const (
	clipHeads = 8
	clipEnd   = 49407
)

// textEncoder is CLIP's text model and text_out_dim: input_ids int64 [B,T], T up to the model's length, -> text_embedding [B,C]. It
// computes all positions; what stands behind the prompt's end does not reach it (causal attention).
func textEncoder(w *blocks.Weights) (*ir.Graph, int64, error) {
	b := ir.NewBuilder("text_encoder")
	root := blocks.NewScope(b, w)
	s := root.In("text_model")
	if w.Has("text_model.text_model.final_layer_norm.weight") { // as transformers 4 names it
		s = s.In("text_model")
	}
	fixed, batch := tensor.Static, tensor.Symbol("B")
	position := s.In("embeddings").In("position_embedding")
	table := s.In("embeddings").In("token_embedding")
	shape := w.Shape(position.Key("weight"), 2)
	length, d := shape[0], shape[1]
	if d%clipHeads != 0 {
		return nil, 0, fmt.Errorf("%s: width %d does not divide into %d heads", position.Key("weight"), d, clipHeads)
	}
	ids := b.Input("input_ids", tensor.Int64, batch, tensor.Symbol("T"))
	zeros := s.Op(ir.Expand.With(ir.ReshapeAttrs{Shape: []tensor.Dim{batch, fixed(length)}}), s.Const(tensor.FromInt64([]int64{1, length}, make([]int64, length))))
	ids = s.Slice(s.Concat(1, ids, zeros), 1, 0, length)
	x := table.Op(ir.Gather.With(ir.AxisAttrs{}), table.Param("weight", w.Shape(table.Key("weight"), 2)[0], d), ids)
	x = s.Add(x, position.Param("weight", length, d))
	causal := make([]float32, length*length)
	for i := range length {
		for j := i + 1; j < length; j++ {
			causal[i*length+j] = -1e30
		}
	}
	mask := s.Float32("causal", []int64{length, length}, causal)
	layers := s.In("encoder").In("layers")
	for i := range w.Children(layers.Key("")) {
		x = clipLayer(layers.In(fmt.Sprint(i)), x, mask, batch, length, d)
	}
	x = s.In("final_layer_norm").LayerNorm(x, blocks.EpsDecoder)
	// The first end token's row: of the positions that hold one, the first, as a row of zeros and a one.
	ends := s.Op(ir.Cast.With(ir.CastAttrs{To: tensor.Float32}), s.Op(ir.Equal, ids, s.Const(tensor.FromInt64([]int64{}, []int64{clipEnd}))))
	at := s.Op(ir.ArgMax.With(ir.ArgAttrs{Axis: 1, KeepDims: 1}), ends)
	all := make([]int64, length)
	for i := range all {
		all[i] = int64(i)
	}
	row := s.Op(ir.Cast.With(ir.CastAttrs{To: tensor.Float32}), s.Op(ir.Equal, at, s.Const(tensor.FromInt64([]int64{1, length}, all))))
	pooled := s.Op(ir.Squeeze.With(ir.AxesAttrs{Axes: []int64{1}}), s.MatMul(s.Unsqueeze(row, 1), x))
	out := root.In("text_out_dim")
	b.Output("text_embedding", out.Linear(pooled, w.Shape(out.Key("weight"), 2)[0]))
	g, err := b.Graph()
	return g, length, err
}

// clipLayer is a pre-norm transformer layer with causal attention and quick GELU, x sigmoid(1.702 x).
func clipLayer(s blocks.Scope, x, mask *ir.Value, batch tensor.Dim, length, d int64) *ir.Value {
	fixed, hd := tensor.Static, d/clipHeads
	a := s.In("self_attn")
	y := s.In("layer_norm1").LayerNorm(x, blocks.EpsDecoder)
	split := func(name string, perm ...int64) *ir.Value {
		return a.Transpose(a.Reshape(a.In(name).Linear(y, d), batch, fixed(length), fixed(clipHeads), fixed(hd)), perm...)
	}
	q := a.Mul(split("q_proj", 0, 2, 1, 3), a.Float32("scale", []int64{}, []float32{float32(1 / math.Sqrt(float64(hd)))}))
	weights := a.Softmax(a.Add(a.MatMul(q, split("k_proj", 0, 2, 3, 1)), mask), -1)
	z := a.Reshape(a.Transpose(a.MatMul(weights, split("v_proj", 0, 2, 1, 3)), 0, 2, 1, 3), batch, fixed(length), fixed(d))
	x = s.Add(x, a.In("out_proj").Linear(z, d))
	m := s.In("mlp")
	y = m.In("fc1").Linear(s.In("layer_norm2").LayerNorm(x, blocks.EpsDecoder), s.W.Shape(m.Key("fc1.weight"), 2)[0])
	y = m.Mul(y, m.Op(ir.Sigmoid, m.Mul(y, m.Scalar(1.702))))
	return s.Add(x, m.In("fc2").Linear(y, d))
}
