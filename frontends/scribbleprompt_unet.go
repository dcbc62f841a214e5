package frontends

import (
	"fmt"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// scribblePromptUNet is ScribblePrompt-UNet (paper, table 4): one graph from the image and its prompts as planes to logits.
var scribblePromptUNet = Family{
	Name: "scribbleprompt-unet",
	Match: func(w *blocks.Weights) bool {
		return w.Has("downs.0.conv.0.weight") && w.Has("final_conv.conv.0.weight")
	},
	Build: buildScribblePromptUNet,
}

// unetSize is the side of the input, which no checkpoint tells (the published file says res128); --image-size chooses another.
const unetSize = 128

func buildScribblePromptUNet(w *blocks.Weights) (*ir.Module, error) {
	b := ir.NewBuilder("model")
	s := blocks.NewScope(b, w)
	levels := w.Children("downs.")
	size := w.ImageSize
	if size == 0 {
		size = unetSize
	}
	if levels == 0 || size%(1<<levels) != 0 {
		return nil, fmt.Errorf("an image size of %d is not a multiple of %d", size, int64(1)<<levels)
	}
	planes := w.Shape("downs.0.conv.0.weight", 4)[1]
	x := b.Input("input", tensor.Float32, tensor.Symbol("N"), tensor.Static(planes), tensor.Static(size), tensor.Static(size))
	conv := func(s blocks.Scope, x *ir.Value) *ir.Value { // 3x3 and PReLU with one slope
		c := s.In("conv").In("0")
		x = c.Conv(x, w.Shape(c.Key("weight"), 4)[0], 3, 1, 1)
		a := s.In("conv").In("1")
		return a.Op(ir.PRelu, x, a.Param("weight", 1))
	}
	var skips []*ir.Value
	side := size
	for i := range levels {
		x = conv(s.In("downs").In(fmt.Sprint(i)), x)
		skips = append(skips, x)
		x = s.In("pool").Op(ir.MaxPool.With(ir.MaxPoolAttrs{Kernel: []int64{2, 2}, Strides: []int64{2, 2}}), x)
		side /= 2
	}
	x = conv(s.In("bottleneck"), x)
	for i := range levels {
		side *= 2
		up := s.In("ups").In(fmt.Sprint(2 * i))
		x = up.Op(ir.Resize.With(ir.ResizeAttrs{Sizes: []int64{side, side}, Mode: "linear", Coord: "align_corners"}), x)
		x = conv(s.In("ups").In(fmt.Sprint(2*i+1)), up.Concat(1, skips[levels-1-i], x))
	}
	last := s.In("final_conv").In("conv").In("0")
	b.Output("logits", last.Conv(x, w.Shape(last.Key("weight"), 4)[0], 1, 1, 0))
	g, err := b.Graph()
	if err != nil {
		return nil, err
	}
	return &ir.Module{Graphs: []*ir.Graph{g}, Meta: ir.Meta{Family: "scribbleprompt-unet",
		Config:      map[string]any{"image_size": size, "levels": levels, "features": w.Shape("downs.0.conv.0.weight", 4)[0], "input_channels": planes},
		Preprocess:  ir.Preprocess{Size: size, Channels: "grey", Resize: "stretch", Interpolation: "bilinear", Std: [3]float64{255, 255, 255}},
		Postprocess: ir.Postprocess{Upsample: "bilinear_once", Activation: "sigmoid", Threshold: 0.5},
		Branch:      []string{"downs", "bottleneck", "ups", "final_conv"},
	}}, nil
}
