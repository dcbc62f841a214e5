package registry

import (
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"syncsam-convert/artifact"
)

func digestOf(sum string) digest.Digest { return digest.NewDigestFromEncoded(digest.SHA256, sum) }

// A model is ModelPack's configuration (docs/config.md there): what is known of it. The specification's own Go package has the same fields.
type model struct {
	Descriptor descriptor `json:"descriptor"`
	Config     config     `json:"config"`
	Layers     layers     `json:"modelfs"`
}

type descriptor struct {
	Family   string `json:"family"`
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"`
	Title    string `json:"title"`
	Revision string `json:"revision"`
}

type config struct {
	Format       string       `json:"format"`
	ParamSize    string       `json:"paramSize"`
	Precision    string       `json:"precision"`
	Quantization string       `json:"quantization,omitempty"`
	Capabilities capabilities `json:"capabilities"`
}

type capabilities struct {
	Inputs  []string `json:"inputTypes"`
	Outputs []string `json:"outputTypes"`
}

type layers struct {
	Type string   `json:"type"`
	IDs  []string `json:"diffIds"`
}

// precisions are the program's in the words of the specification: int8 leaves parts in float.
var precisions = map[string]string{"fp32": "float32", "fp16": "float16,float32", "int8": "int8,float32"}

func modelConfig(m *artifact.Manifest, files []ocispec.Descriptor) model {
	c := model{Descriptor: descriptor{Family: m.Family, Name: m.Family, Title: m.Family + " " + m.Precision, Revision: m.Source.SHA256},
		Config: config{Format: "onnx", ParamSize: size(m.Source.Parameters), Precision: precisions[m.Precision], Capabilities: capabilities{[]string{"image", "other"}, []string{"image"}}},
		Layers: layers{Type: "layers", IDs: []string{}}}
	if m.Quantization != nil {
		c.Config.Quantization = m.Quantization.Method
	}
	for _, f := range files {
		c.Layers.IDs = append(c.Layers.IDs, f.Digest.String())
	}
	return c
}

// size is a number of parameters with one digit behind the point.
func size(n int64) string {
	for _, unit := range []struct {
		of   float64
		name string
	}{{1e9, "B"}, {1e6, "M"}, {1e3, "K"}} {
		if x := float64(n) / unit.of; x >= 1 {
			return fmt.Sprintf("%.1f%s", x, unit.name)
		}
	}
	return fmt.Sprintf("%.1fK", float64(n)/1e3)
}
