package clients

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"syncsam-convert/backends/onnx"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// A Plan says what is done to one model's graphs for a client. It is data; String prints it.
type Plan struct {
	Profile  Profile
	Encoder  onnx.Edges
	Decoder  onnx.Edges
	Features []Feature // what the encoder gives, in the order in which it is packed; nil: nothing is
	Low      string    // name of low_res_masks in the file; "": it
	Rule     string    // how one mask is chosen: "" not at all, OneSAM, or a word of ir.Postprocess.Mask
	Notes    []string  // for the user
}

// A Feature is an encoder output, of shape [N, then Dims].
type Feature struct {
	Name string
	Dims []int64
}

func (f Feature) elements() int64 {
	n := int64(1)
	for _, d := range f.Dims {
		n *= d
	}
	return n
}

// Make holds what is asked for against a model. What makes no sense is an error that names both.
func Make(o Options, m *ir.Module) (*Plan, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	p := &Plan{Profile: plain}
	if o.Client != "" {
		p.Profile, _ = find(o.Client)
	}
	row := &p.Profile
	if o.Postprocess {
		row.Masks = true
	}
	if o.ImageInput != "" {
		row.Image = o.ImageInput
	}
	fail := func(format string, args ...any) (*Plan, error) {
		return nil, fmt.Errorf("%s: not for %s: %s", o.asked(), m.Meta.Family, fmt.Sprintf(format, args...))
	}
	encoder, decoder := m.Graph("encoder"), m.Graph("decoder")
	if encoder == nil || decoder == nil {
		return fail("its prompts are planes of its one graph's input, not points of a decoder's")
	}
	if m.Graph("text_encoder") != nil && o.Client != "" {
		p.Notes = append(p.Notes, fmt.Sprintf("--client %s takes no text: the graphs for text prompts are as they are without a client", o.Client))
	}
	if err := p.image(m.Meta.Family, m.Meta.Preprocess, fail2(fail)); err != nil {
		return nil, err
	}
	if err := p.carry(encoder, decoder, fail2(fail)); err != nil {
		return nil, err
	}
	if err := p.oneMask(o, m.Meta, decoder, fail2(fail)); err != nil {
		return nil, err
	}
	p.prompts(m)
	return p, nil
}

// asked is what was asked for, as the command line spells it.
func (o Options) asked() string {
	var flags []string
	for _, f := range [][2]string{{"--client", o.Client}, {"--one-mask", o.OneMask}, {"--image-input", o.ImageInput}} {
		if f[1] != "" {
			flags = append(flags, f[0]+" "+f[1])
		}
	}
	if o.Postprocess {
		flags = append(flags, "--decoder-postprocess")
	}
	return strings.Join(flags, ", ")
}

// refusal makes an error that names client and family.
type refusal func(format string, args ...any) error

func fail2(f func(string, ...any) (*Plan, error)) refusal {
	return func(format string, args ...any) error {
		_, err := f(format, args...)
		return err
	}
}

// imageNet are the constants that clients normalise with.
var imageNetMean, imageNetStd = [3]float64{123.675, 116.28, 103.53}, [3]float64{58.395, 57.12, 57.375}

// image plans the encoder's input.
func (p *Plan) image(family string, pre ir.Preprocess, fail refusal) error {
	row := p.Profile
	if row.ImageNet && (pre.Normalize != "" || pre.Channels != "RGB" || pre.Mean != imageNetMean || pre.Std != imageNetStd) {
		return fail("the client subtracts %v from RGB and divides by %v, the model's preprocessing is channels %s, normalize %q, mean %v, std %v", imageNetMean, imageNetStd, pre.Channels, pre.Normalize, pre.Mean, pre.Std)
	}
	if row.Name == "transformers-js" && (pre.Normalize != "" || pre.Channels != "RGB") {
		return fail("its processor normalises RGB by mean and deviation, the model's preprocessing is channels %s, normalize %q", pre.Channels, pre.Normalize)
	}
	if row.Stretches && pre.Resize != "stretch" {
		return fail("the client stretches pictures to the square, the model keeps their aspect; --client samexporter does")
	}
	if row.Image == Normalized {
		if p.keepsAspect() && pre.Resize == "stretch" {
			p.Notes = append(p.Notes, fmt.Sprintf("--client %s keeps a picture's aspect and pads it, %s stretches: pictures that are not square look otherwise to the model than in run", row.Name, family))
		}
		if row.Name == Official && (pre.Normalize != "" || pre.Channels != "RGB" || pre.Prompts != "" || pre.Resize != "longest_side" || pre.Mean != imageNetMean || pre.Std != imageNetStd) {
			p.Notes = append(p.Notes, fmt.Sprintf("--client %s: SAM's predictor prepares pictures and points as SAM does, %s otherwise (interface in manifest.json): its own steps give another mask than run", row.Name, family))
		}
		return nil
	}
	if row.Image == UnitSquare && pre.Resize == "stretch" {
		p.Notes = append(p.Notes, fmt.Sprintf("--client %s renders a picture into the middle of a square with its aspect kept, %s stretches: pictures that are not square look otherwise to the model than in run", row.Name, family))
	}
	if row.Name == "samexporter" && pre.Resize == "stretch" {
		p.Notes = append(p.Notes, fmt.Sprintf("AnyLabeling, X-AnyLabeling's segment_anything and rembg put pictures on a canvas of 1024 x 684, which %s stretches with its black border: masks are not run's unless pictures have that aspect; X-AnyLabeling's sam_med2d (--client x-anylabeling-sam-med2d) stretches pictures alone", family))
	}
	if pre.Normalize != "" || pre.Channels != "RGB" {
		return fail("pictures cannot go in as they are: channels %s, normalize %q", pre.Channels, pre.Normalize)
	}
	edge := &onnx.ImageEdge{Name: row.ImageName, Size: pre.Size, Stretch: pre.Resize == "stretch", Interpolation: pre.Interpolation}
	for i, x := range pre.Mean {
		edge.Mean[i] = float32(x)
	}
	if row.Image == UnitSquare {
		edge.DType, edge.Layout, edge.Unit, edge.Frame = tensor.Float32, "NCHW", true, row.Frame
	} else {
		edge.DType, edge.Layout = forms[row.Image].dtype, forms[row.Image].layout
	}
	switch {
	case edge.Interpolation == "pil_bilinear":
	case edge.Stretch && (edge.Interpolation == "nearest" || edge.Interpolation == "pil_nearest"):
	default:
		return fail("its resizing (%s, %s) has no form in a graph", pre.Resize, pre.Interpolation)
	}
	p.Encoder.Image = edge
	return nil
}

// keepsAspect reports whether the client resizes pictures outside in its own way, whatever the model's is.
func (p *Plan) keepsAspect() bool {
	row := p.Profile
	return row.Image == Normalized && row.Name != "" && row.Name != Official && !row.Stretches && !row.TransformersFiles
}

// carry plans what goes from encoder to decoder.
func (p *Plan) carry(encoder, decoder *ir.Graph, fail refusal) error {
	row := p.Profile
	var all []Feature
	for _, o := range encoder.Outputs {
		f := Feature{Name: o.Name}
		for _, d := range o.Value.Type.Shape[1:] {
			f.Dims = append(f.Dims, d.B)
		}
		all = append(all, f)
	}
	if len(all) == 0 || all[0].Name != "image_embeddings" || len(all[0].Dims) != 3 {
		return fail("its encoder gives no image_embeddings")
	}
	if row.Stacked && !slices.ContainsFunc(all, func(f Feature) bool { return f.Name == "interm_embeddings" }) {
		return fail("its encoder gives no interm_embeddings; --client samexporter takes it")
	}
	if row.Stretches && len(all) > 1 {
		return fail("the client carries image_embeddings alone, and checks their shape")
	}
	if !row.Packed || len(all) == 1 && row.Carrier == nil {
		return nil
	}
	if c := row.Carrier; c != nil {
		have, n := int64(1), int64(0)
		for _, d := range c {
			have *= d
		}
		for _, f := range all {
			n += f.elements()
		}
		if len(all) == 1 && slices.Equal(all[0].Dims, c[1:]) {
			return nil
		}
		if n > have {
			return fail("the client carries %v, %d numbers, the encoder gives %d", c, have, n)
		}
	}
	p.Features = all
	return nil
}

// oneMask plans how one mask is chosen.
func (p *Plan) oneMask(o Options, meta ir.Meta, decoder *ir.Graph, fail refusal) error {
	if o.OneMask == "" && !p.Profile.OneMask {
		if p.Profile.Name == Official && meta.Postprocess.Mask == "first_plus_hq" {
			p.Notes = append(p.Notes, fmt.Sprintf("--client %s: the last mask is the high-quality one, which %s adds to the first; SAM's own steps take the first alone; --one-mask makes it the model's", Official, meta.Family))
		}
		return nil
	}
	p.Rule = meta.Postprocess.Mask
	switch p.Rule {
	case "":
		p.Rule = "first"
	case "classes":
		return fail("its masks are one a class, none of which is the mask")
	}
	if o.OneMask != OneSAM {
		return nil
	}
	if masks := decoder.Output("low_res_masks"); masks == nil || decoder.Output("iou_predictions") == nil || masks.Type.Shape[1].B < 2 {
		return fail("SAM's rule chooses by predicted IoU among several masks, which the model does not give")
	}
	if p.Rule == "first_plus_hq" {
		return fail("SAM's rule knows nothing of the high-quality mask; --one-mask %s adds it", OneModel)
	}
	p.Rule = OneSAM
	return nil
}

// prompts plans the decoder's inputs and its masks.
func (p *Plan) prompts(m *ir.Module) {
	row, pre, post, low := p.Profile, m.Meta.Preprocess, m.Meta.Postprocess, lowSide(m)
	stretch := pre.Resize == "stretch"
	if row.Repaired {
		e := &onnx.PromptEdge{Coords: row.Coords, Labels: row.Labels, LabelType: row.LabelType, Batched: row.Batched, Size: pre.Size, Low: low, Stretch: stretch, Frame: row.Frame, Whole: row.Whole, NoMask: row.NoMaskInput}
		if row.Image == Normalized { // the client's own steps end in the graph's frame
			e.Frame, e.Stretch = 0, false
		}
		p.Decoder.Prompts = e
	}
	if !row.Masks {
		return
	}
	masks := &onnx.Postprocess{Size: pre.Size, Crop: !stretch, Outputs: row.Outputs, Boxed: row.Boxed}
	if row.Whole && row.Image != Normalized {
		masks.Frame = row.Frame
	}
	if row.LowSide != low {
		masks.LowSide = row.LowSide
	}
	if row.Name == "" || row.Name == Official {
		masks.Beside = true
	} else {
		masks.Once, masks.Sigmoid = post.Upsample == "bilinear_once", post.Upsample == "bilinear_once" && post.Activation == "sigmoid"
		masks.Crop = !(stretch && (row.Stretches || row.Image != Normalized))
		masks.Shift = row.Foreground - threshold(post, masks.Sigmoid)
	}
	if stretch && row.Name == "samexporter" { // samexporter's own class would crop low_res_masks to a kept aspect; without the name it takes masks
		p.Low = "low_res_logits"
		masks.Outputs = []string{"masks", "iou_predictions", p.Low}
	}
	masks.Low = p.Low
	p.Decoder.Masks = masks
}

// threshold is that of a model's masks: of probabilities where they are resized as such, of logits otherwise.
func threshold(post ir.Postprocess, probabilities bool) float32 {
	if post.Activation != "sigmoid" || probabilities {
		return post.Threshold
	}
	t := float64(post.Threshold)
	return float32(math.Log(t / (1 - t)))
}

// Plain reports whether the graphs stay as they are, so that whatever runs artifacts runs them.
func (p *Plan) Plain() bool {
	return p.Encoder.Image == nil && p.Decoder.Prompts == nil && p.Features == nil && p.Profile.ImageName == "image" && !p.Profile.Stacked
}

// Edges are what the file of a graph has around it; nil for nothing.
func (p *Plan) Edges(g *ir.Graph) *onnx.Edges {
	switch {
	case g.Name == "encoder":
		return &p.Encoder
	case g.Name == "decoder":
		return &p.Decoder
	case g.Output("low_res_masks") != nil && p.Decoder.Masks != nil && p.Decoder.Masks.Beside: // a decoder with text
		return &onnx.Edges{Masks: p.Decoder.Masks}
	}
	return nil
}

// File is the name of a graph's file in the artifact.
func (p *Plan) File(graph string) string {
	switch graph {
	case "encoder":
		return p.Profile.EncoderFile
	case "decoder":
		return p.Profile.DecoderFile
	}
	return graph + ".onnx"
}

// String lists what the plan does, a line each.
func (p *Plan) String() string {
	var text strings.Builder
	line := func(format string, args ...any) { text.WriteString(fmt.Sprintf(format+"\n", args...)) }
	row := p.Profile
	line("encoder %s: input %s, %s", row.EncoderFile, row.ImageName, row.Image)
	if i := p.Encoder.Image; i != nil {
		line("  picture: %s %s, unit %v, frame %d, to %d by %s, stretch %v, mean %v", i.DType, i.Layout, i.Unit, i.Frame, i.Size, i.Interpolation, i.Stretch, i.Mean)
	}
	for _, f := range p.Features {
		line("  packs %s %v", f.Name, f.Dims)
	}
	line("decoder %s: inputs %s %s %s", row.DecoderFile, row.Coords, row.Labels, row.LabelType)
	if e := p.Decoder.Prompts; e != nil {
		line("  points: frame %d, whole %v, to %d, stretch %v, batched %v, mask input %v", e.Frame, e.Whole, e.Size, e.Stretch, e.Batched, !e.NoMask)
	}
	if p.Rule != "" {
		line("  one mask: %s", p.Rule)
	}
	if m := p.Decoder.Masks; m != nil {
		line("  masks: %d, crop %v, once %v, sigmoid %v, shift %g, boxed %v, low side %d, outputs %s", m.Size, m.Crop, m.Once, m.Sigmoid, m.Shift, m.Boxed, m.LowSide, strings.Join(m.Outputs, " "))
	}
	return text.String()
}
