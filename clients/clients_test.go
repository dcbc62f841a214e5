package clients

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

var update = flag.Bool("update", false, "write testdata/plans.txt anew")

// module has the edges of a family's graphs alone.
func module(family string, pre ir.Preprocess, post ir.Postprocess, features map[string][]int64, masks int64, scored bool) *ir.Module {
	enc, dec := ir.NewBuilder("encoder"), ir.NewBuilder("decoder")
	s := pre.Size
	image := enc.Input("image", tensor.Float32, tensor.Symbol("N"), tensor.Static(3), tensor.Static(s), tensor.Static(s))
	m := &ir.Module{Meta: ir.Meta{Family: family, Preprocess: pre, Postprocess: post}}
	h, c := lowSide(m)/4, int64(256)
	output := func(name string, dims ...int64) {
		shape := append([]tensor.Dim{tensor.Symbol("N")}, tensor.Dims(dims...)...)
		enc.Output(name, enc.Op(ir.Expand.With(ir.ReshapeAttrs{Shape: shape}), enc.Slice(enc.Slice(enc.Slice(image, 1, 0, 1), 2, 0, 1), 3, 0, 1)))
		dec.Input(name, tensor.Float32, append([]tensor.Dim{tensor.Static(1)}, tensor.Dims(dims...)...)...)
	}
	output("image_embeddings", c, h, h)
	for name, dims := range features {
		output(name, dims...)
	}
	b := tensor.Symbol("B")
	dec.Input("point_coords", tensor.Float32, b, tensor.Symbol("P"), tensor.Static(2))
	labels := dec.Input("point_labels", tensor.Float32, b, tensor.Symbol("P"))
	dec.Input("mask_input", tensor.Float32, tensor.Symbol(ir.MaskBatch), tensor.Static(1), tensor.Static(4*h), tensor.Static(4*h))
	dec.Input("has_mask_input", tensor.Float32, tensor.Static(1))
	sum := dec.Op(ir.ReduceSum.With(ir.ReduceAttrs{Axes: []int64{1}, KeepDims: 1}), labels)
	dec.Output("low_res_masks", dec.Op(ir.Expand.With(ir.ReshapeAttrs{Shape: []tensor.Dim{b, tensor.Static(masks), tensor.Static(4 * h), tensor.Static(4 * h)}}), dec.Unsqueeze(sum, 2, 3)))
	if scored {
		dec.Output("iou_predictions", dec.Op(ir.Expand.With(ir.ReshapeAttrs{Shape: []tensor.Dim{b, tensor.Static(masks)}}), sum))
	}
	eg, err := enc.Graph()
	if err != nil {
		panic(err)
	}
	dg, err := dec.Graph()
	if err != nil {
		panic(err)
	}
	m.Graphs = []*ir.Graph{eg, dg}
	return m
}

func families() []*ir.Module {
	pre := ir.Preprocess{Size: 256, Channels: "RGB", Resize: "longest_side", Interpolation: "pil_bilinear", Mean: imageNetMean, Std: imageNetStd, Pad: "after_normalize"}
	post := ir.Postprocess{Upsample: "bilinear", Mask: "first"}
	stretch, large, unit, grey := pre, pre, pre, pre
	stretch.Resize, stretch.Interpolation, large.Size = "stretch", "nearest", 1024
	unit.Size, unit.Resize, unit.Interpolation, unit.Normalize, unit.Mean, unit.Std = 1024, "stretch", "skimage_cubic", "min_max", [3]float64{}, [3]float64{1, 1, 1}
	grey.Size, grey.Resize, grey.Interpolation, grey.Channels = 1024, "stretch", "bilinear", "grey"
	lite, classes := pre, stretch
	lite.Interpolation, lite.Normalize, lite.Mean, lite.Std, lite.Prompts = "area", "min_max", [3]float64{}, [3]float64{1, 1, 1}, "whole"
	classes.Interpolation, classes.Mean, classes.Std, classes.Pad = "scipy_zoom_cubic", [3]float64{}, [3]float64{255, 255, 255}, ""
	hq := post
	hq.Mask = "first_plus_hq"
	return []*ir.Module{
		module("syncsam-50", pre, post, map[string][]int64{"multi_scale_features": {32, 64, 64}}, 1, false),
		module("sam-vit-b", large, post, nil, 4, true),
		module("sam-med2d", stretch, ir.Postprocess{Upsample: "bilinear", Activation: "sigmoid", Threshold: 0.5, Mask: "best_iou_multimask"}, nil, 4, true),
		module("sam-hq-vit-b", large, hq, map[string][]int64{"interm_embeddings": {64, 64, 768}}, 5, true),
		module("medsam", unit, ir.Postprocess{Upsample: "bilinear_once", Activation: "sigmoid", Threshold: 0.5, Mask: "first"}, nil, 4, true),
		module("scribbleprompt-sam", grey, ir.Postprocess{Upsample: "bilinear", Mask: "best_iou_multimask"}, nil, 4, true),
		module("lite-medsam", lite, ir.Postprocess{Upsample: "bilinear", Activation: "sigmoid", Threshold: 0.5, Mask: "first", Side: 256}, nil, 4, true),
		module("samed", classes, ir.Postprocess{Upsample: "bilinear", Activation: "softmax", Mask: "classes"}, nil, 9, true),
	}
}

// Every client's plan for every family, or why it has none, as text: -update writes it, its difference is read.
func TestPlans(t *testing.T) {
	var text strings.Builder
	asked := []Options{{OneMask: OneModel}, {OneMask: OneSAM}, {ImageInput: "uint8-hwc"}, {ImageInput: "float-chw"}, {Postprocess: true}}
	for _, name := range Names() {
		asked = append(asked, Options{Client: name})
	}
	for _, m := range families() {
		for _, o := range asked {
			p, err := Make(o, m)
			text.WriteString("== " + m.Meta.Family + " " + strings.Join(strings.Fields(o.Client+" "+o.OneMask+" "+o.ImageInput+map[bool]string{true: " postprocess"}[o.Postprocess]), " ") + "\n")
			if err != nil {
				text.WriteString("refused: " + err.Error() + "\n")
				continue
			}
			for _, note := range p.Notes {
				text.WriteString("note: " + note + "\n")
			}
			text.WriteString(p.String())
			made, err := p.Apply(m, tensor.FromFloat32([]int64{1, 1, 1}, []float32{0}))
			require.NoError(t, err, "%s %+v", m.Meta.Family, o)
			Interface(p, made)
		}
	}
	const path = "testdata/plans.txt"
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o777))
		require.NoError(t, os.WriteFile(path, []byte(text.String()), 0o666))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), text.String())
}

// What a family's preprocessing and postprocessing say, the interface says: no field of theirs changes without it.
func TestInterfaceSaysAll(t *testing.T) {
	others := map[string]any{"Size": int64(512), "Channels": "grey", "Resize": "stretch", "Interpolation": "area", "Normalize": "min_max", "Mean": [3]float64{1, 2, 3}, "Std": [3]float64{4, 5, 6}, "Pad": "", "Prompts": "whole",
		"Upsample": "bilinear_once", "Activation": "sigmoid", "Threshold": float32(0.5), "Side": int64(256), "Mask": "best_iou_multimask"}
	say := func(m *ir.Module) string {
		text, err := json.Marshal(Interface(nil, m))
		require.NoError(t, err)
		return string(text)
	}
	m := families()[0]
	before := say(m)
	for _, part := range []reflect.Value{reflect.ValueOf(&m.Meta.Preprocess).Elem(), reflect.ValueOf(&m.Meta.Postprocess).Elem()} {
		for i := range part.NumField() {
			name, field := part.Type().Field(i).Name, part.Field(i)
			require.Contains(t, others, name, "a new field: does the interface say it?")
			was := field.Interface()
			field.Set(reflect.ValueOf(others[name]))
			require.NotEqual(t, before, say(m), name)
			field.Set(reflect.ValueOf(was))
		}
	}
	require.Equal(t, before, say(m))
	require.Equal(t, int64(256), Interface(nil, families()[6]).MaskInput.Side)
}

func TestValidate(t *testing.T) {
	for o, want := range map[Options]string{
		{Client: "nobody"}:                          `--client: have "nobody", want one of official, samexporter, osam, cornerstone, cvat, transformers-js, x-anylabeling-sam-med2d, x-anylabeling-sam-hq`,
		{ImageInput: "int8-hwc"}:                    `--image-input: have "int8-hwc", want one of normalized, uint8-hwc, uint8-chw, float-hwc, float-chw`,
		{OneMask: "best"}:                           `--one-mask: have "best", want model or sam`,
		{Client: "osam", ImageInput: "uint8-hwc"}:   `--image-input: not with --client, whose encoder takes pictures in its own form`,
		{Client: "osam", Postprocess: true}:         `--decoder-postprocess: not with --client osam, whose masks are resized where it wants them`,
		{Client: "official", Postprocess: true}:     "",
		{Client: "osam", OneMask: "sam"}:            "",
		{ImageInput: "uint8-hwc", OneMask: "model"}: "",
	} {
		err := o.Validate()
		if want == "" {
			require.NoError(t, err)
		} else {
			require.EqualError(t, err, want)
		}
	}
}
