package clients

import (
	"fmt"
	"strconv"
	"strings"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/onnx"
	"syncsam-convert/ir"
)

// meanings of inputs and outputs, by their names.
var meanings = map[string]string{
	"image": "the picture", "input_image": "the picture", "x": "the picture", "pixel_values": "the picture",
	"image_embeddings":            "what the decoder reads of the picture: the encoder's output, handed on as it is",
	"multi_scale_features":        "finer features of the picture: the encoder's output, handed on as it is",
	"interm_embeddings":           "tokens of the first global block: the encoder's output, handed on",
	"image_positional_embeddings": "positions of the picture's tokens; the decoder has its own and does not read it",
	"point_coords":                "points and corners of boxes, x and y, see coordinates", "input_points": "points and corners of boxes, x and y, see coordinates",
	"point_labels": "a code of each point, see labels", "input_labels": "a code of each point, see labels",
	"mask_input": "logits of the prediction before, see mask_input", "has_mask_input": "1 where mask_input counts, 0 where there is none",
	"orig_im_size": "height and width of the original picture", "masks": "logits at the original picture's size, above the threshold foreground",
	"low_res_masks": "logits of M masks", "low_res_logits": "logits of M masks", "pred_masks": "logits of M masks", "iou_predictions": "predicted quality of each mask", "iou_scores": "predicted quality of each mask",
	"semantic_pred": "class scores of each mask", "text_embedding": "the text encoder's output", "input_ids": "tokens of a text",
	"xtl": "first column of the cropped mask", "ytl": "first row of the cropped mask", "xbr": "last column of the cropped mask", "ybr": "last row of the cropped mask",
	"input": "planes: the grey picture (0 to 1), the box filled with 1, positive clicks, negative clicks, logits of the prediction before", "logits": "logits of the mask",
}

// Describe lists a written file's inputs and outputs.
func Describe(file string, w onnx.Written) artifact.GraphInterface {
	list := func(in []onnx.Port) []artifact.Port {
		out := []artifact.Port{}
		for _, p := range in {
			port := artifact.Port{Name: p.Name, DType: p.DType.String(), Dims: []any{}, Meaning: meanings[p.Name]}
			for _, d := range p.Dims {
				if n, err := strconv.ParseInt(d, 10, 64); err == nil {
					port.Dims = append(port.Dims, n)
				} else {
					port.Dims = append(port.Dims, d)
				}
			}
			out = append(out, port)
		}
		return out
	}
	return artifact.GraphInterface{File: file, Inputs: list(w.Inputs), Outputs: list(w.Outputs)}
}

// Interface says how the graphs of a module, as a plan leaves it, are called; nil is a plan that leaves them as they are. Its graphs are the caller's
// to add.
func Interface(p *Plan, m *ir.Module) *artifact.Interface {
	if p == nil {
		p = &Plan{Profile: plain}
	}
	pre, post, row := m.Meta.Preprocess, m.Meta.Postprocess, p.Profile
	f := &artifact.Interface{Image: p.describeImage(pre), Mask: artifact.MaskInterface{Output: "low_res_masks", Masks: 1, Choose: or(post.Mask, "first"), Threshold: post.Threshold}}
	decoder := m.Graph("decoder")
	if decoder == nil {
		f.Image.Input, f.Image.Values, f.Mask.Output = "input", "normalized", "logits"
		f.Mask.Steps, f.Mask.Activation = steps(post)
		return f
	}
	f.Labels = map[string]string{"1": "foreground point", "0": "background point", "2": "a box's upper left corner", "3": "a box's lower right corner", "-1": "padding"}
	f.Coordinates = &artifact.Coordinates{Order: "x, y", Scale: "per axis by the resized picture's size / the original's", Frame: pre.Size, Box: "two points, its corners, with labels 2 and 3", Padding: "caller"}
	if pre.Prompts == "whole" {
		f.Coordinates.Whole = true
		f.Coordinates.Scale = fmt.Sprintf("truncated to whole pixels, then both axes by %d / the original picture's longer side, then truncated again", pre.Size)
	}
	if e := p.Decoder.Prompts; e != nil {
		f.Coordinates.Padding = "graph"
		if e.Frame > 0 {
			f.Coordinates.Frame = e.Frame
			f.Coordinates.Scale = fmt.Sprintf("both axes by %d / the original picture's longer side", e.Frame)
			if e.Whole {
				f.Coordinates.Scale = fmt.Sprintf("per axis by the size of the picture resized to a longer side of %d / the original's", e.Frame)
			}
		}
	}
	if !row.NoMaskInput {
		f.MaskInput = &artifact.MaskInput{Side: lowSide(m), Values: "logits of one mask as the decoder gave them", None: "zeros, with has_mask_input 0"}
	}
	masks := decoder.Output(or(row.LowMasks, "low_res_masks"))
	f.Mask.Output = or(row.LowMasks, f.Mask.Output)
	if masks != nil {
		f.Mask.Masks = masks.Type.Shape[len(masks.Type.Shape)-3].B
	}
	if e := p.Decoder.Masks; e != nil && !e.Beside {
		f.Mask.Output, f.Mask.Threshold = "masks", row.Foreground
		f.Mask.Steps = []artifact.MaskStep{}
		return f
	}
	f.Mask.Steps, f.Mask.Activation = steps(post)
	return f
}

func (p *Plan) describeImage(pre ir.Preprocess) artifact.ImageInterface {
	if p.keepsAspect() {
		pre.Resize, pre.Interpolation = "longest_side", "pil_bilinear"
	}
	i := artifact.ImageInterface{Input: p.Profile.ImageName, Layout: "NCHW", Channels: pre.Channels, Values: "normalized", ResizedBy: "caller", Side: pre.Size, Frame: pre.Size, Resize: pre.Resize,
		Rounding: "int(side * (Side / longer side) + 0.5), at least 1", Interpolation: pre.Interpolation, Mean: pre.Mean, Std: pre.Std, Padding: "zeros right of and below the picture, after normalisation"}
	i.Rounding = strings.Replace(i.Rounding, "Side /", fmt.Sprint(pre.Size)+" /", 1)
	if pre.Normalize == "min_max" {
		i.Values = "min_max"
	}
	if pre.Resize == "stretch" {
		i.Rounding = ""
	}
	if pre.Pad == "" && !p.keepsAspect() {
		i.Padding = ""
	}
	if e := p.Encoder.Image; e != nil {
		i.Layout, i.Values, i.ResizedBy, i.Frame, i.Padding = e.Layout, "0-255", "graph", e.Frame, ""
		if e.Unit {
			i.Values = "0-1"
		}
	}
	return i
}

// lowSide is the side of a model's low-resolution logits, which are a mask input, too.
func lowSide(m *ir.Module) int64 {
	if side := m.Meta.Postprocess.Side; side > 0 {
		return side
	}
	return m.Meta.Preprocess.Size / 4
}

// steps take logits to the picture's size.
func steps(post ir.Postprocess) (all []artifact.MaskStep, activation string) {
	if post.Upsample == "bilinear_once" {
		if post.Activation != "" {
			all = append(all, artifact.MaskStep{Do: post.Activation})
		}
		return append(all, artifact.MaskStep{Do: "bilinear", To: "original"}), ""
	}
	return []artifact.MaskStep{{Do: "bilinear", To: "square"}, {Do: "crop", To: "resized"}, {Do: "bilinear", To: "original"}}, post.Activation
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
