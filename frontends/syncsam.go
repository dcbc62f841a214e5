package frontends

import (
	"fmt"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
)

// syncSAM is SyncSAM-34 and -50 (paper, sections 2.1 and 2.2): a SAM ViT beside a ResNet whose stages are projected and
// added to the tokens before each global-attention block; a decoder with one mask token and multi-scale features. Rows 4 to 12 of
// table 5 lack some of its parts; which, the keys tell.
var syncSAM = Family{
	Name: "syncsam",
	Match: func(w *blocks.Weights) bool {
		return w.Has("image_encoder.sam_img_encoder.neck.0.weight") || w.Has("image_encoder.sam_img_encoder.pos_embed") || w.Has("mask_decoder.med_token.weight")
	},
	Build:   buildSyncSAM,
	Ignored: []string{".num_batches_tracked"},
}

const syncStages = 4 // ResNet stages, and fusions

// parts says which of SyncSAM's parts a checkpoint has (table 5).
type parts struct {
	vit, cnn   bool
	multiScale bool
	medToken   bool
	single     bool // single-step fusion: only the last stage is added
}

func readParts(w *blocks.Weights) parts {
	vit := w.Has("image_encoder.sam_img_encoder.pos_embed") || w.Has("image_encoder.sam_img_encoder.patch_embed.proj.weight") || w.Children("image_encoder.sam_img_encoder.blocks.") > 0
	cnn := w.Has("resnet.stage0.0.weight") || w.Has("resnet.stage1.0.conv1.weight")
	token := w.Has("mask_decoder.med_token.weight") || !w.Has("mask_decoder.sam_mask_decoder.mask_tokens.weight")
	return parts{vit: vit || !cnn, cnn: cnn, medToken: token,
		multiScale: w.Has("embedding_encoder.0.weight") || w.Has("adapters_bridge.0.0.weight"),
		single:     cnn && w.Has("adapters_in.3.reshaper.0.weight") && !w.Has("adapters_in.0.reshaper.0.weight") && !w.Has("adapters_in.2.reshaper.0.weight")}
}

// syncGrid is the side of the token grid where no position embedding tells it: 256 pixels in patches of 16.
const syncGrid, syncPatch = 16, 16

func buildSyncSAM(w *blocks.Weights) (*ir.Module, error) {
	root := blocks.NewScope(ir.NewBuilder(""), w)
	p := readParts(w)
	sam := scopeOf(root, "image_encoder", "sam_img_encoder")
	var vit blocks.ViT
	if p.vit {
		vit = blocks.ReadViT(sam)
		if vit.Depth == 0 || vit.Depth%syncStages != 0 {
			return nil, fmt.Errorf("image_encoder.sam_img_encoder.blocks: have %d, want a multiple of %d", vit.Depth, syncStages)
		}
		if vit.Dim%vit.Heads != 0 {
			return nil, fmt.Errorf("image_encoder.sam_img_encoder: width %d does not divide into %d heads", vit.Dim, vit.Heads)
		}
	} else {
		neck := w.Shape(sam.Key("neck.0.weight"), 4)
		vit = blocks.ViT{Dim: neck[1], Out: neck[0], Grid: syncGrid, Patch: syncPatch}
		if w.ImageSize > 0 {
			vit.Grid = w.ImageSize / vit.Patch
		}
	}
	if vit.Grid%2 != 0 || w.ImageSize%vit.Patch != 0 {
		return nil, fmt.Errorf("image_encoder.sam_img_encoder.pos_embed: a grid of %d tokens a side cannot be halved", vit.Grid)
	}
	encoder, err := syncEncoder(w, p, vit)
	if err != nil {
		return nil, err
	}
	decoder, err := syncDecoder(w, p, vit)
	if err != nil {
		return nil, err
	}
	meta := ir.Meta{Family: "syncsam", Config: vitConfig(vit), Preprocess: samPreprocess, Postprocess: samPostprocess}
	meta.Preprocess.Size = vit.Size()
	if p.vit {
		meta.Linears = []string{"image_encoder.sam_img_encoder.blocks"}
	}
	if p.medToken {
		meta.Config["mask_tokens"] = int64(1)
	}
	if p.cnn {
		resnet := blocks.ReadResNet(root.In("resnet"))
		meta.Family = fmt.Sprintf("syncsam-%d", resnetDepth(resnet))
		meta.Config["resnet_blocks"], meta.Config["resnet_bottleneck"] = resnet.Blocks[:], resnet.Bottleneck
		meta.Branch = []string{"resnet", "adapters_in", "adapters_bridge", "embedding_encoder"}
	}
	if full := (parts{vit: true, cnn: true, multiScale: true, medToken: true}); p != full {
		meta.Family += "-ablation"
		meta.Config["vit"], meta.Config["cnn"], meta.Config["multi_scale"], meta.Config["med_token"], meta.Config["single_step_fusion"] = p.vit, p.cnn, p.multiScale, p.medToken, p.single
	}
	return &ir.Module{Graphs: []*ir.Graph{encoder, decoder}, Meta: meta}, nil
}

// resnetDepth is the number in a ResNet's name.
func resnetDepth(r blocks.ResNet) int64 {
	depth := int64(2)
	for _, n := range r.Blocks {
		depth += n * map[bool]int64{true: 3, false: 2}[r.Bottleneck]
	}
	return depth
}

func scopeOf(s blocks.Scope, steps ...string) blocks.Scope {
	for _, step := range steps {
		s = s.In(step)
	}
	return s
}

// syncEncoder: image [N,3,S,S] -> image_embeddings [N,C,h,h], multi_scale_features [N,C/8,4h,4h]. Without a ViT the tokens start
// at 0; single-step fusion adds the last stage alone, before the last global block.
func syncEncoder(w *blocks.Weights, p parts, vit blocks.ViT) (*ir.Graph, error) {
	b := ir.NewBuilder("encoder")
	root := blocks.NewScope(b, w)
	sam, cnn := scopeOf(root, "image_encoder", "sam_img_encoder"), root.In("resnet")
	image := imageInput(b, vit.Size())
	resnet := blocks.ReadResNet(cnn)
	var x, f *ir.Value // tokens, nil while they are 0; features
	if p.vit {
		x = vit.PatchEmbed(sam, image)
	}
	if p.cnn {
		f = resnet.Stem(cnn, image)
	}
	per := vit.Depth / syncStages
	var bridges []*ir.Value
	for i := range int64(syncStages) {
		for k := range per - 1 {
			x = vit.Block(sam, x, i*per+k)
		}
		if p.cnn {
			f = resnet.Stage(cnn, f, int(i+1))
		}
		if p.cnn && (!p.single || i == syncStages-1) {
			fusion := root.In("fusion").In(digit(i))
			projected := fusion.Transpose(reshaper(scopeOf(root, "adapters_in", digit(i), "reshaper"), f), 0, 2, 3, 1)
			if x == nil {
				x = projected
			} else {
				x = fusion.Add(x, projected)
			}
		}
		if p.vit {
			x = vit.Block(sam, x, i*per+per-1)
		}
		if p.multiScale && i < syncStages-1 {
			bridge := scopeOf(root, "adapters_bridge", digit(syncStages-2-i))
			bridges = append(bridges, bridge.Upscale(bridge.Transpose(x, 0, 3, 1, 2)))
		}
	}
	embedding := vit.Neck(sam, x)
	b.Output("image_embeddings", embedding)
	if p.multiScale {
		multi := root.In("embedding_encoder").Upscale(embedding)
		for _, br := range bridges {
			multi = root.In("multi_scale").Add(multi, br)
		}
		b.Output("multi_scale_features", multi)
	}
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

// syncDecoder: one mask of the med token, or without one SAM's four and their IoU. Multi-scale features add to the upscaled map.
func syncDecoder(w *blocks.Weights, p parts, vit blocks.ViT) (*ir.Graph, error) {
	b := ir.NewBuilder("decoder")
	root := blocks.NewScope(b, w)
	md := root.In("mask_decoder")
	sam, c, h := md.In("sam_mask_decoder"), vit.Out, vit.Grid
	spec := decoderSpec{prompt: scopeOf(root, "prompt_encoder", "sam_prompt_encoder"), sam: sam, encoded: encoded{c, h, vit.Size()},
		learned: []blocks.Scope{sam.In("iou_token"), sam.In("mask_tokens")}}
	if p.medToken {
		spec.learned = []blocks.Scope{md.In("med_token")}
	}
	if p.multiScale {
		spec.features = []feature{{"multi_scale_features", []int64{1, c / 8, 4 * h, 4 * h}}}
	}
	d := startDecoder(b, spec)
	features := d.upscaled
	if p.medToken {
		features = md.In("embedding_maskfeature").MaskFeature(features)
	}
	if p.multiScale {
		features = md.Add(features, d.in["multi_scale_features"])
	}
	if p.medToken {
		d.output(d.product(md, md.In("hf_mlp").MLP(d.token(md, 0, 1)), features))
		return b.Graph()
	}
	d.output(d.masks(sam, w.Shape(sam.Key("mask_tokens.weight"), 2)[0], features))
	b.Output("iou_predictions", d.iou(sam))
	return b.Graph()
}
