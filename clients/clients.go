// Package clients is the table of programs that run models as graphs of their own, and makes a model's graphs what one of them takes.
//
// A Profile is a row: names, ranks and types of inputs and outputs, where normalisation, layout, resizing and padding happen, how one mask is
// chosen. Make holds it against a model and gives a Plan, which is data and prints as text; Plan.Apply writes it into the graphs, and the
// plan's edges are written by backends/onnx. Facts about the clients were read in their code; docs/clients.md says which versions were tried.
package clients

import (
	"fmt"
	"slices"
	"strings"

	"syncsam-convert/ir/tensor"
)

// Official is the profile of SAM's own ONNX predictor.
const Official = "official"

// The forms of an image input.
const (
	Normalized = "normalized" // float32 [N,3,S,S]: resized, normalised and padded by the caller, as the family does it
	UnitSquare = "unit-nchw"  // float32 [1,3,F,F]: values 0 to 1
)

// A form takes a picture of any size, resized inside.
type form struct {
	dtype  tensor.DType
	layout string
}

// forms are what --image-input takes beside Normalized. Values are 0 to 255.
var forms = map[string]form{
	"uint8-hwc": {tensor.Uint8, "HWC"}, "uint8-chw": {tensor.Uint8, "CHW"}, "float-hwc": {tensor.Float32, "HWC"}, "float-chw": {tensor.Float32, "CHW"},
}

// ImageInputs lists the forms of an image input.
func ImageInputs() []string {
	return []string{Normalized, "uint8-hwc", "uint8-chw", "float-hwc", "float-chw"}
}

// A Profile is one client's graphs.
type Profile struct {
	Name string
	Doc  string // whose it is
	// The encoder.
	EncoderFile, ImageName string
	Image                  string // form of its input
	ImageNet               bool   // the client normalises by ImageNet's mean and deviation
	Stretches              bool   // the client stretches pictures to S x S; else it keeps their aspect
	Packed                 bool   // the client carries one tensor from encoder to decoder
	Carrier                []int64
	Positional             bool // the encoder gives image_positional_embeddings, too
	// The decoder.
	DecoderFile       string
	Coords, Labels    string
	LabelType         tensor.DType
	Batched           bool  // prompts have a leading axis of images
	Frame             int64 // coordinates are of a picture whose longer side is this; 0: S
	Whole             bool  // and whose sides are rounded to pixels
	NoMaskInput       bool
	Stacked           bool // interm_embeddings [K,1,h,h,D], of which the first counts
	OneMask           bool
	Masks             bool // resized to orig_im_size inside
	Boxed             bool
	LowSide           int64 // side of low_res_masks; 0: as the model has it
	Foreground        float32
	Scores, LowMasks  string // names of iou_predictions and low_res_masks
	Outputs           []string
	Repaired          bool // padding points are put right inside
	TransformersFiles bool // config.json and preprocessor_config.json beside the graphs
}

// threeOutputs is the order in which clients of the official export unpack them.
var threeOutputs = []string{"masks", "iou_predictions", "low_res_masks"}

// profiles in the order they are listed.
var profiles = []Profile{
	{Name: Official, Doc: "SAM's ONNX predictor, Label Studio: masks resized inside (as --decoder-postprocess)",
		EncoderFile: "encoder.onnx", ImageName: "image", Image: Normalized, DecoderFile: "decoder.onnx", Coords: "point_coords", Labels: "point_labels", LabelType: tensor.Float32, Masks: true},
	{Name: "samexporter", Doc: "AnyLabeling, X-AnyLabeling segment_anything, rembg: raw pictures [H,W,3], three outputs",
		EncoderFile: "encoder.onnx", ImageName: "input_image", Image: "float-hwc", Packed: true,
		DecoderFile: "decoder.onnx", Coords: "point_coords", Labels: "point_labels", LabelType: tensor.Float32, Frame: 1024, Whole: true, Repaired: true, OneMask: true, Masks: true, Outputs: threeOutputs},
	{Name: "osam", Doc: "osam, labelme: input x, three outputs, has_mask_input of -1",
		EncoderFile: "encoder.onnx", ImageName: "x", Image: Normalized, ImageNet: true, Packed: true,
		DecoderFile: "decoder.onnx", Coords: "point_coords", Labels: "point_labels", LabelType: tensor.Float32, Whole: true, Repaired: true, OneMask: true, Masks: true, Outputs: threeOutputs},
	{Name: "cornerstone", Doc: "cornerstone3D, OHIF: input_image [1,3,1024,1024] of 0 to 1, one mask of which above 64/255 is foreground",
		EncoderFile: "encoder.onnx", ImageName: "input_image", Image: UnitSquare, Packed: true,
		DecoderFile: "decoder.onnx", Coords: "point_coords", Labels: "point_labels", LabelType: tensor.Float32, Frame: 1024, Whole: true, Repaired: true, OneMask: true, Masks: true,
		Foreground: 64.5 / 255, Outputs: threeOutputs},
	{Name: "cvat", Doc: "CVAT's SAM plugin: decoder.onnx in the browser, encoder.onnx in a serverless function (raw pictures, uint8 [H,W,3])",
		EncoderFile: "encoder.onnx", ImageName: "image", Image: "uint8-hwc", Packed: true, Carrier: []int64{1, 256, 64, 64},
		DecoderFile: "decoder.onnx", Coords: "point_coords", Labels: "point_labels", LabelType: tensor.Float32, Frame: 1024, Repaired: true, OneMask: true, Masks: true, Boxed: true, LowSide: 256,
		Outputs: []string{"masks", "low_res_masks", "xtl", "ytl", "xbr", "ybr"}},
	{Name: "transformers-js", Doc: "transformers.js and optimum: vision_encoder.onnx, prompt_encoder_mask_decoder.onnx, with their configuration",
		EncoderFile: "onnx/vision_encoder.onnx", ImageName: "pixel_values", Image: Normalized, Packed: true, Positional: true,
		DecoderFile: "onnx/prompt_encoder_mask_decoder.onnx", Coords: "input_points", Labels: "input_labels", LabelType: tensor.Int64, Batched: true, Whole: true, Repaired: true, NoMaskInput: true,
		OneMask: true, Scores: "iou_scores", LowMasks: "pred_masks", TransformersFiles: true},
	{Name: "x-anylabeling-sam-med2d", Doc: "X-AnyLabeling sam_med2d: pictures stretched and normalised outside, three outputs",
		EncoderFile: "encoder.onnx", ImageName: "image", Image: Normalized, ImageNet: true, Stretches: true,
		DecoderFile: "decoder.onnx", Coords: "point_coords", Labels: "point_labels", LabelType: tensor.Float32, Whole: true, Repaired: true, OneMask: true, Masks: true, Outputs: threeOutputs},
	{Name: "x-anylabeling-sam-hq", Doc: "X-AnyLabeling sam_hq: raw pictures [H,W,3], interm_embeddings [K,1,h,w,D], three outputs",
		EncoderFile: "encoder.onnx", ImageName: "input_image", Image: "float-hwc", Stacked: true,
		DecoderFile: "decoder.onnx", Coords: "point_coords", Labels: "point_labels", LabelType: tensor.Float32, Frame: 1024, Whole: true, Repaired: true, OneMask: true, Masks: true, Outputs: threeOutputs},
}

// Names lists the clients.
func Names() []string {
	var names []string
	for _, p := range profiles {
		names = append(names, p.Name)
	}
	return names
}

// Help lists the clients with whose they are.
func Help() string {
	var text strings.Builder
	for _, p := range profiles {
		text.WriteString(fmt.Sprintf("  %-24s %s\n", p.Name, p.Doc))
	}
	return text.String()
}

// find gives a client's row.
func find(name string) (Profile, error) {
	i := slices.Index(Names(), name)
	if i < 0 {
		return Profile{}, fmt.Errorf("--client: have %q, want one of %s", name, strings.Join(Names(), ", "))
	}
	return profiles[i], nil
}

// The rules by which a graph chooses one mask itself.
const (
	OneModel = "model" // as the family's own code and this program choose it: ir.Postprocess.Mask
	OneSAM   = "sam"   // as SAM's ONNX export does: the best of the multimasks for one or two points, mask 0 otherwise
)

// OneMasks lists those rules.
func OneMasks() []string { return []string{OneModel, OneSAM} }

// Options are what a build asks for beside the model.
type Options struct {
	Client      string // "": none
	OneMask     string // "": as the client's row has it; OneModel or OneSAM
	ImageInput  string // "": as the client's row has it
	Postprocess bool   // masks inside the decoder, as the official profile has it
}

// Any reports whether something is asked for.
func (o Options) Any() bool { return o != Options{} && o != Options{ImageInput: Normalized} }

// Validate refuses what no model can have.
func (o Options) Validate() error {
	if o.Client != "" {
		if _, err := find(o.Client); err != nil {
			return err
		}
		if o.Postprocess && o.Client != Official {
			return fmt.Errorf("--decoder-postprocess: not with --client %s, whose masks are resized where it wants them", o.Client)
		}
		if o.ImageInput != "" {
			return fmt.Errorf("--image-input: not with --client, whose encoder takes pictures in its own form")
		}
	}
	if o.ImageInput != "" && !slices.Contains(ImageInputs(), o.ImageInput) {
		return fmt.Errorf("--image-input: have %q, want one of %s", o.ImageInput, strings.Join(ImageInputs(), ", "))
	}
	if o.OneMask != "" && o.OneMask != OneModel && o.OneMask != OneSAM {
		return fmt.Errorf("--one-mask: have %q, want %s or %s", o.OneMask, OneModel, OneSAM)
	}
	return nil
}

// plain is the row of an artifact without a client.
var plain = Profile{EncoderFile: "encoder.onnx", ImageName: "image", Image: Normalized, DecoderFile: "decoder.onnx", Coords: "point_coords", Labels: "point_labels", LabelType: tensor.Float32}
