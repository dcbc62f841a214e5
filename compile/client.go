package compile

import (
	"encoding/json"
	"io"
	"math"
	"path/filepath"
	"strings"

	"syncsam-convert/artifact"
	"syncsam-convert/clients"
	"syncsam-convert/internal/output"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// forClient gives the module as a client takes it, and the names of its graphs' files.
func (c *Compiled) forClient(client *clients.Plan) (*ir.Module, map[string]string, error) {
	m, names := c.run.Module, map[string]string{}
	for _, g := range m.Graphs {
		names[g.Name] = g.Name + ".onnx"
		if client != nil {
			names[g.Name] = client.File(g.Name)
		}
	}
	if client == nil {
		return m, names, nil
	}
	var positions *tensor.Tensor
	if client.Profile.Positional {
		positions = c.positions(m)
	}
	m, err := client.Apply(m, positions)
	return m, names, err
}

// positions is [C,h,h]: sines, then cosines, of the token centres' places in -1 to 1 times the checkpoint's matrix [2,C/2], times 2 pi. Nil where
// the checkpoint has no such matrix.
func (c *Compiled) positions(m *ir.Module) *tensor.Tensor {
	var matrix *tensor.Tensor
	for _, name := range c.Checkpoint.Names() {
		if strings.HasSuffix(name, "pe_layer.positional_encoding_gaussian_matrix") || strings.HasSuffix(name, "shared_image_embedding.positional_embedding") {
			matrix = c.Checkpoint.Get(name)
		}
	}
	embeddings := m.Encoder().Output("image_embeddings")
	if matrix == nil || embeddings == nil || len(matrix.Dims()) != 2 || matrix.Dims()[0] != 2 {
		return nil
	}
	x, half := matrix.Float32s(), int(matrix.Dims()[1])
	h := int(embeddings.Type.Shape[2].B)
	out := make([]float32, 2*half*h*h)
	for i := range h * h {
		px, py := 2*(float64(i%h)+0.5)/float64(h)-1, 2*(float64(i/h)+0.5)/float64(h)-1
		for k := range half {
			s, cos := math.Sincos(2 * math.Pi * (float64(px*float64(x[k])) + float64(py*float64(x[half+k]))))
			out[k*h*h+i], out[(half+k)*h*h+i] = float32(s), float32(cos)
		}
	}
	return tensor.FromFloat32([]int64{int64(2 * half), int64(h), int64(h)}, out)
}

// writeProcessor writes what transformers.js reads beside the graphs.
func (c *Compiled) writeProcessor(dir string, man *artifact.Manifest) error {
	pre := man.Preprocess
	scaled := func(v [3]float64) (out [3]float64) {
		for i, x := range v {
			out[i] = x / 255
		}
		return out
	}
	size := map[string]any{"longest_edge": pre.Size}
	if pre.Resize == "stretch" {
		size = map[string]any{"height": pre.Size, "width": pre.Size}
	}
	resample := map[string]int{"nearest": 0, "pil_nearest": 0}[pre.Interpolation]
	if pre.Interpolation == "pil_bilinear" || pre.Interpolation == "bilinear" {
		resample = 2
	}
	for _, f := range []struct {
		name string
		v    any
	}{
		{"config.json", map[string]any{"model_type": "sam", "architectures": []string{"SamModel"}}},
		{"preprocessor_config.json", map[string]any{
			"image_processor_type": "SamImageProcessor", "processor_class": "SamProcessor", "do_convert_rgb": true, "do_resize": true, "do_rescale": true, "do_normalize": true, "do_pad": true,
			"size": size, "pad_size": map[string]int64{"height": pre.Size, "width": pre.Size}, "resample": resample, "rescale_factor": 1.0 / 255, "image_mean": scaled(pre.Mean), "image_std": scaled(pre.Std)}},
	} {
		text, err := json.MarshalIndent(f.v, "", " ")
		if err != nil {
			return err
		}
		if err := output.Part(filepath.Join(dir, f.name), func(w io.Writer) error {
			_, err := w.Write(append(text, '\n'))
			return err
		}); err != nil {
			return err
		}
		file, err := artifact.Describe(dir, f.name)
		if err != nil {
			return err
		}
		man.Files = append(man.Files, file)
	}
	return nil
}
