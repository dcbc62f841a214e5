package frontends

import (
	"fmt"
	"slices"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// syncSAM is SyncSAM-34 and -50 (paper, sections 2.1 and 2.2): a SAM ViT beside a ResNet whose stages are projected and
// added to the tokens before each global-attention block; a decoder with one mask token and multi-scale features.
var syncSAM = Family{
	Name: "syncsam",
	Match: func(w *blocks.Weights) bool {
		return w.Has("image_encoder.sam_img_encoder.pos_embed") || w.Has("mask_decoder.med_token.weight")
	},
	Build:   buildSyncSAM,
	Ignored: []string{".num_batches_tracked"},
}

const syncStages = 4 // ResNet stages, and fusions

func buildSyncSAM(w *blocks.Weights) (*ir.Module, error) {
	root := blocks.NewScope(ir.NewBuilder(""), w)
	vit := blocks.ReadViT(scopeOf(root, "image_encoder", "sam_img_encoder"))
	resnet := blocks.ReadResNet(scopeOf(root, "resnet"))
	if vit.Depth == 0 || vit.Depth%syncStages != 0 {
		return nil, fmt.Errorf("image_encoder.sam_img_encoder.blocks: have %d, want a multiple of %d", vit.Depth, syncStages)
	}
	if vit.Grid%2 != 0 {
		return nil, fmt.Errorf("image_encoder.sam_img_encoder.pos_embed: a grid of %d tokens a side cannot be halved", vit.Grid)
	}
	if vit.Dim%vit.Heads != 0 {
		return nil, fmt.Errorf("image_encoder.sam_img_encoder: width %d does not divide into %d heads", vit.Dim, vit.Heads)
	}
	encoder, err := syncEncoder(w, vit, resnet)
	if err != nil {
		return nil, err
	}
	decoder, err := syncDecoder(w, vit)
	if err != nil {
		return nil, err
	}
	depth := int64(34)
	if resnet.Bottleneck {
		depth = 50
	}
	if basic := []int64{3, 4, 6, 3}; !slices.Equal(resnet.Blocks[:], basic) {
		depth = 2
		for _, n := range resnet.Blocks {
			depth += n * map[bool]int64{true: 3, false: 2}[resnet.Bottleneck]
		}
	}
	return &ir.Module{Graphs: []*ir.Graph{encoder, decoder}, Meta: ir.Meta{
		Family: fmt.Sprintf("syncsam-%d", depth),
		Config: map[string]any{
			"image_size": vit.Size(), "patch_size": vit.Patch, "vit_dim": vit.Dim, "vit_depth": vit.Depth, "vit_heads": vit.Heads,
			"vit_mlp_dim": vit.MLP, "vit_windows": vit.Window, "prompt_dim": vit.Out, "decoder_heads": int64(blocks.DecoderHeads),
			"resnet_blocks": resnet.Blocks[:], "resnet_bottleneck": resnet.Bottleneck, "mask_tokens": int64(1),
		},
		Preprocess: ir.Preprocess{Size: vit.Size(), Channels: "RGB", Resize: "longest_side", Interpolation: "pil_bilinear",
			Mean: [3]float64{123.675, 116.28, 103.53}, Std: [3]float64{58.395, 57.12, 57.375}, Pad: "after_normalize"},
		Postprocess: ir.Postprocess{Upsample: "bilinear", Threshold: 0},
		Branch:      []string{"resnet", "adapters_in", "adapters_bridge", "embedding_encoder"},
	}}, nil
}

func scopeOf(s blocks.Scope, steps ...string) blocks.Scope {
	for _, step := range steps {
		s = s.In(step)
	}
	return s
}

// syncEncoder: image [N,3,S,S] -> image_embeddings [N,C,h,h], multi_scale_features [N,C/8,4h,4h].
func syncEncoder(w *blocks.Weights, vit blocks.ViT, resnet blocks.ResNet) (*ir.Graph, error) {
	b := ir.NewBuilder("encoder")
	root := blocks.NewScope(b, w)
	sam, cnn := scopeOf(root, "image_encoder", "sam_img_encoder"), root.In("resnet")
	image := b.Input("image", tensor.Float32, tensor.Symbol("N"), tensor.Static(3), tensor.Static(vit.Size()), tensor.Static(vit.Size()))
	x := vit.PatchEmbed(sam, image)
	f := resnet.Stem(cnn, image)
	per := vit.Depth / syncStages
	var bridges []*ir.Value
	for i := range int64(syncStages) {
		for k := range per - 1 {
			x = vit.Block(sam, x, i*per+k)
		}
		f = resnet.Stage(cnn, f, int(i+1))
		projected := reshaper(scopeOf(root, "adapters_in", digit(i), "reshaper"), f)
		x = root.In("fusion").In(digit(i)).Add(x, root.In("fusion").In(digit(i)).Transpose(projected, 0, 2, 3, 1))
		x = vit.Block(sam, x, i*per+per-1)
		if i < syncStages-1 {
			bridge := scopeOf(root, "adapters_bridge", digit(syncStages-2-i))
			bridges = append(bridges, bridge.Upscale(bridge.Transpose(x, 0, 3, 1, 2)))
		}
	}
	embedding := vit.Neck(sam, x)
	multi := root.In("embedding_encoder").Upscale(embedding)
	for _, br := range bridges {
		multi = root.In("multi_scale").Add(multi, br)
	}
	b.Output("image_embeddings", embedding)
	b.Output("multi_scale_features", multi)
	return b.Graph()
}

func digit(i int64) string { return fmt.Sprint(i) }

// reshaper brings stage features to the token grid and width: layers 3x3 halve, 2x2 double (each with LayerNorm2d and
// GELU after it), the last is 1x1. Which they are, the shapes tell.
func reshaper(s blocks.Scope, x *ir.Value) *ir.Value {
	for at := int64(0); ; at += 3 {
		l := s.In(digit(at))
		shape := s.W.Shape(l.Key("weight"), 4)
		switch shape[2] {
		case 3:
			x = l.Conv(x, shape[0], 3, 2, 1)
		case 2:
			x = l.ConvTranspose2(x, shape[1])
		default:
			return l.Conv(x, shape[0], 1, 1, 0)
		}
		x = s.In(digit(at + 2)).Gelu(s.In(digit(at + 1)).LayerNorm2d(x))
	}
}

// syncDecoder: embeddings and prompts -> low_res_masks [B,1,4h,4h].
func syncDecoder(w *blocks.Weights, vit blocks.ViT) (*ir.Graph, error) {
	b := ir.NewBuilder("decoder")
	root := blocks.NewScope(b, w)
	prompt := blocks.Prompt{Dim: vit.Out, Grid: vit.Grid, Size: vit.Size()}
	fixed, c, h := tensor.Static, vit.Out, vit.Grid
	in := decoderInputs(b, c, h, []feature{{"multi_scale_features", []int64{1, c / 8, 4 * h, 4 * h}}})

	pe := scopeOf(root, "prompt_encoder", "sam_prompt_encoder")
	sparse := prompt.Sparse(pe, in["point_coords"], in["point_labels"])
	dense := prompt.Dense(pe, in["mask_input"], in["has_mask_input"])

	md := root.In("mask_decoder")
	sam := md.In("sam_mask_decoder")
	med := md.Op("Expand", ir.ReshapeAttrs{Shape: []tensor.Dim{tensor.Symbol("B"), fixed(1), fixed(c)}}, md.In("med_token").Param("weight", 1, c))
	tokens := md.Concat(1, med, sparse)
	image := tokensOf(md, md.Add(in["image_embeddings"], dense), c, h)
	q, k := blocks.TwoWay(sam.In("transformer"), image, prompt.DensePosition(pe), tokens)

	up := sam.In("output_upscaling")
	features := up.In("4").Gelu(up.Upscale(up.Reshape(up.Transpose(k, 0, 2, 1), tensor.Symbol("B"), fixed(c), fixed(h), fixed(h))))
	features = md.Add(md.In("embedding_maskfeature").MaskFeature(features), in["multi_scale_features"])
	hyper := md.In("hf_mlp").MLP(md.Slice(q, 1, 0, 1)) // [B,1,C/8]
	masks := md.MatMul(hyper, md.Reshape(features, tensor.Symbol("B"), fixed(c/8), fixed(16*h*h)))
	b.Output("low_res_masks", md.Reshape(masks, tensor.Symbol("B"), fixed(1), fixed(4*h), fixed(4*h)))
	return b.Graph()
}

// tokensOf flattens [B,C,h,h] to [B,hh,C].
func tokensOf(s blocks.Scope, x *ir.Value, c, h int64) *ir.Value {
	return s.Transpose(s.Reshape(x, tensor.Symbol("B"), tensor.Static(c), tensor.Static(h*h)), 0, 2, 1)
}

// A feature is an encoder output that the decoder takes beside image_embeddings.
type feature struct {
	name string
	dims []int64
}

// decoderInputs declares the inputs that SAM decoders share, in the order of the official export.
func decoderInputs(b *ir.Builder, c, h int64, features []feature) map[string]*ir.Value {
	in := map[string]*ir.Value{}
	declare := func(name string, shape ...tensor.Dim) { in[name] = b.Input(name, tensor.Float32, shape...) }
	fixed, batch, points := tensor.Static, tensor.Symbol("B"), tensor.Symbol("P")
	declare("image_embeddings", fixed(1), fixed(c), fixed(h), fixed(h))
	for _, f := range features {
		declare(f.name, tensor.Dims(f.dims...)...)
	}
	declare("point_coords", batch, points, fixed(2))
	declare("point_labels", batch, points)
	declare("mask_input", batch, fixed(1), fixed(4*h), fixed(4*h))
	declare("has_mask_input", fixed(1))
	return in
}
