//go:build parity

package golden

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/engine"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
	"syncsam-convert/segment"
)

// Every other system and every row of the ablation, from the weight recipes, against what the systems' own PyTorch code gives:
// embeddings, all masks, IoU and semantic predictions, in every engine. CHECKPOINTS holds zoo/NAME.pth.
func TestParityOfTheZoo(t *testing.T) {
	shared, checkpoints := os.Getenv("SHARED"), os.Getenv("CHECKPOINTS")
	program, err := filepath.Abs("../bin/syncsam-convert")
	require.NoError(t, err)
	names := engines(t)
	files, err := filepath.Glob(filepath.Join(shared, "golden", "*", "*", "*.safetensors"))
	require.NoError(t, err)
	seen := 0
	for _, file := range files {
		model, set := filepath.Base(filepath.Dir(file)), filepath.Base(filepath.Dir(filepath.Dir(file)))
		if set != "zoo" && set != "ablation" {
			continue
		}
		seen++
		dir := filepath.Join(t.TempDir(), model)
		out, err := exec.Command(program, "build", filepath.Join(checkpoints, "zoo", model+".pth"), "-o", dir).CombinedOutput()
		require.NoError(t, err, string(out))
		for _, name := range names {
			t.Run(model+" "+name, func(t *testing.T) {
				p, err := segment.Open(dir, name, engine.Options{})
				require.NoError(t, err)
				defer func() { require.NoError(t, p.Close()) }()
				ref, err := safetensors.Open(file)
				require.NoError(t, err)
				defer ref.Close()
				zooOf(t, p, ref)
			})
		}
		require.NoError(t, os.RemoveAll(dir))
	}
	require.GreaterOrEqual(t, seen, 16)
}

func zooOf(t *testing.T, p *segment.Predictor, ref *safetensors.File) {
	ctx, compared := context.Background(), 0
	near := func(have, want *tensor.Tensor, name string) {
		if want.Len() == 1 { // a single prediction has no deviation; its unit is IoU
			require.InDelta(t, want.Float32s()[0], have.Float32s()[0], parityTolerance, name)
			compared++
			return
		}
		d, err := tensor.Compare(have, want)
		require.NoError(t, err, name)
		t.Logf("%-36s %.1e", name, d.Relative())
		require.LessOrEqual(t, d.Relative(), parityTolerance, name)
		compared++
	}
	var features map[string]*tensor.Tensor
	if p.Decoder() != nil {
		var err error
		features, err = p.Image().Run(ctx, map[string]*tensor.Tensor{"image": inputOf(t, p, ref)})
		require.NoError(t, err)
		for name, f := range features {
			want := ref.Get(name)
			if want == nil {
				want = ref.Get(name + "_0")
			}
			near(f, want, name)
		}
	}
	decoded := map[string]map[string]*tensor.Tensor{} // by prompt
	for _, r := range ref.Tensors {
		prompt, what, ok := strings.Cut(r.Name, "/")
		if !ok {
			continue
		}
		if what == "logits" && p.Decoder() == nil {
			out, err := p.Image().Run(ctx, map[string]*tensor.Tensor{"input": ref.Get(prompt + "/network_input")})
			require.NoError(t, err, prompt)
			near(out["logits"], r.Tensor, r.Name)
			continue
		}
		mode, what, nested := strings.Cut(what, "/")
		if !nested {
			mode, what = "", mode
		}
		if !slices.Contains([]string{"low_res_masks", "all_masks", "iou_predictions", "semantic_pred", "low_res_logits", "logits"}, what) || prompt == "post" {
			continue
		}
		if _, done := decoded[prompt]; !done {
			in := decoderInputs(t, ref, prompt, features, p.Manifest())
			for name := range in {
				if !engine.Has(p.Decoder(), name) {
					delete(in, name)
				}
			}
			out, err := p.Decoder().Run(ctx, in)
			if p.Engine() != engine.Embedded && hasEmpty(in) { // the binding to ONNX Runtime passes no empty tensor on
				require.ErrorContains(t, err, "no elements", prompt)
				t.Logf("%s: on the embedded engine alone", prompt)
			} else {
				require.NoError(t, err, prompt)
			}
			decoded[prompt] = out
		}
		if decoded[prompt] == nil {
			continue
		}
		near(asReference(decoded[prompt], mode, what, r.Tensor.Dims()[1]), r.Tensor, r.Name)
	}
	require.Positive(t, compared)
}

// inputOf is the encoder's input of a reference: as it stands, or of its resized picture.
func inputOf(t *testing.T, p *segment.Predictor, ref *safetensors.File) *tensor.Tensor {
	if x := ref.Get("input"); x != nil {
		return x
	}
	small, pre := ref.Get("input_u8"), p.Manifest().Preprocess
	require.NotNil(t, small)
	h, w, s := small.Dims()[0], small.Dims()[1], pre.Size
	x, pixels := make([]float32, 3*s*s), small.Bytes()
	for c := range int64(3) {
		for y := range h {
			for i := range w {
				x[(c*s+y)*s+i] = (float32(pixels[(y*w+i)*3+c]) - float32(pre.Mean[c])) / float32(pre.Std[c])
			}
		}
	}
	return tensor.FromFloat32([]int64{1, 3, s, s}, x)
}

// asReference is what a system's own decoder returns: with multimask0 the first mask, with multimask1 the others; SAM-HQ's are the chosen
// mask plus the HQ mask, and their predicted IoU.
func asReference(out map[string]*tensor.Tensor, mode, what string, n int64) *tensor.Tensor {
	name := what
	if what == "all_masks" || what == "low_res_logits" || what == "logits" {
		name = "low_res_masks"
	}
	x := out[name]
	dims, m := x.Dims(), x.Dims()[1]
	size := x.Len() / m
	row := func(i int64) []float32 { return x.Float32s()[i*size : (i+1)*size] }
	shape := slices.Clone(dims)
	shape[1] = n
	iou := out["iou_predictions"]
	hq := iou != nil && out["low_res_masks"].Dims()[1] > iou.Dims()[1]
	first := int64(0)
	if mode == "multimask1" {
		first = 1
	}
	if hq {
		if mode == "multimask1" {
			for i := first; i < iou.Len(); i++ {
				if iou.Float32s()[i] > iou.Float32s()[first] {
					first = i
				}
			}
		}
		chosen := slices.Clone(row(first))
		if what == "low_res_masks" {
			for i, v := range row(m - 1) {
				chosen[i] += v
			}
		}
		return tensor.FromFloat32(shape, chosen)
	}
	return tensor.FromFloat32(shape, slices.Clone(x.Float32s()[first*size:(first+n)*size]))
}

func hasEmpty(inputs map[string]*tensor.Tensor) bool {
	for _, x := range inputs {
		if x.Len() == 0 {
			return true
		}
	}
	return false
}
