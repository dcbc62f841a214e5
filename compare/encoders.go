package compare

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"syncsam-convert/artifact"
	"syncsam-convert/compile"
	"syncsam-convert/engine"
	"syncsam-convert/frontends/onnx"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/passes"
	"syncsam-convert/pictures"
	"syncsam-convert/segment"
)

// Encoders compares the graphs that read the image of two artifacts, or of an artifact and a checkpoint (compiled in float), on a picture
// that is prepared as the first artifact says; without one, on seeded noise. An ONNX file stands for its graph; of two of them, only
// results have names that both know.
func Encoders(ctx context.Context, a, b, image string) ([]Layer, error) {
	var graphs [2]*ir.Graph
	var man *artifact.Manifest
	var noise map[string]*tensor.Tensor
	for _, path := range []string{a, b} {
		if isONNX(path) {
			if image != "" {
				return nil, fmt.Errorf("--image: %s is an ONNX file, which has no manifest to say how to prepare it", path)
			}
			if noise == nil {
				var err error
				if noise, err = onnx.Probe(path, nil); err != nil {
					return nil, err
				}
			}
		}
	}
	for i, path := range []string{a, b} {
		if isONNX(path) {
			m, err := onnx.OpenFor(path, noise)
			if err != nil {
				return nil, engine.Refused(err)
			}
			defer m.Close()
			graphs[i] = m.Graph
			continue
		}
		g, m, close, err := encoder(ctx, path)
		if err != nil {
			return nil, err
		}
		defer close()
		if graphs[i] = g; man == nil {
			man = m
		}
	}
	if noise != nil {
		return Graphs(ctx, graphs[0], graphs[1], noise)
	}
	inputs, err := inputs(image, man, graphs[0])
	if err != nil {
		return nil, err
	}
	return Graphs(ctx, graphs[0], graphs[1], inputs)
}

// isONNX goes by the name: artifacts are folders, and checkpoints have other endings.
func isONNX(path string) bool { return filepath.Ext(path) == ".onnx" }

// encoder opens an artifact's encoder, or compiles a checkpoint's in float; a checkpoint has no manifest.
func encoder(ctx context.Context, path string) (*ir.Graph, *artifact.Manifest, func(), error) {
	if _, err := os.Stat(filepath.Join(path, artifact.ManifestName)); err == nil {
		man, err := engine.OpenArtifact(path, func(m *artifact.Manifest) []string { return []string{m.Encoder()} })
		if err != nil {
			return nil, nil, nil, err
		}
		m, err := onnx.Open(filepath.Join(path, man.Encoder()))
		if err != nil {
			return nil, nil, nil, err
		}
		if len(man.Values[man.Encoder()]) == 0 {
			m.Close()
			return nil, nil, nil, fmt.Errorf("%s: values: the manifest does not name the identities of values: build the artifact again", filepath.Join(path, artifact.ManifestName))
		}
		identify(m.Graph, man.Values[man.Encoder()])
		if err := passes.Unspell(ctx, m.Graph); err != nil {
			m.Close()
			return nil, nil, nil, err
		}
		return m.Graph, man, func() { m.Close() }, nil
	}
	m, close, err := compile.Float(ctx, compile.Options{Checkpoint: path})
	if err != nil {
		if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
			_, notArtifact := artifact.Read(path)
			err = cmp.Or(notArtifact, err)
		}
		return nil, nil, nil, err
	}
	return m.Encoder(), nil, close, nil
}

// identify gives values of a file their identities by name. Of several values that reading made of one node the last is the node's.
func identify(g *ir.Graph, of map[string]string) {
	named := map[string]*ir.Value{}
	for _, v := range g.Values {
		if !v.IsConst() && !v.IsInput() {
			named[v.Name] = v
		}
	}
	for name, key := range of {
		if v := named[name]; v != nil {
			v.Of = key
		}
	}
}

func inputs(image string, man *artifact.Manifest, g *ir.Graph) (map[string]*tensor.Tensor, error) {
	if image == "" {
		return ir.Probe(g, 1, map[string]int64{"N": 1})
	}
	if man == nil {
		return nil, fmt.Errorf("--image: needs an artifact among A and B, whose manifest says how to prepare it")
	}
	m, err := pictures.Read(image)
	if err != nil {
		return nil, err
	}
	return segment.EncoderInputs(m, man)
}
