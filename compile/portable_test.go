package compile

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/backends/onnx"
	"syncsam-convert/backends/portable"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
)

var update = flag.Bool("update", false, "write backends/portable/vocabulary.txt anew")

// What the backend emits, of every operator and of builds of every kind at every opset, stays in the vocabulary that is tried in every
// runtime; and builds have no form that a runtime they are for reads wrongly.
func TestPortable(t *testing.T) {
	emitted := map[string]*portable.Word{}
	see := func(path string, opset int64) {
		f, err := onnxpb.Open(path)
		require.NoError(t, err)
		defer f.Close()
		for _, n := range f.Model.Graph.Node {
			w := emitted[n.GetOpType()]
			if w == nil {
				w = &portable.Word{Attributes: map[string]*portable.Word{}}
				emitted[n.GetOpType()] = w
			}
			w.See(opset, "")
			for _, a := range n.Attribute {
				if w.Attributes[a.GetName()] == nil {
					w.Attributes[a.GetName()] = &portable.Word{}
				}
				w.Attributes[a.GetName()].See(opset, string(a.S))
			}
		}
	}
	var written []string
	dir := t.TempDir()
	texts, err := filepath.Glob("../ir/testdata/ops/*.ir")
	require.NoError(t, err)
	for opset := int64(onnx.DefaultOpset); opset <= onnx.MaxOpset; opset++ {
		for _, path := range texts {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			m, err := ir.Parse(string(text), nil)
			require.NoError(t, err)
			for _, g := range m.Graphs {
				file := filepath.Join(dir, fmt.Sprintf("%s-%d.onnx", g.Name, opset))
				_, err := onnx.WriteFile(file, g, onnx.Options{Opset: opset})
				require.NoError(t, err)
				see(file, opset)
				written = append(written, file)
			}
		}
	}
	plan := filepath.Join(dir, "plan.json")
	for i, o := range []Options{
		{Precision: INT8, Quantize: QuantizeAll, Calibration: "../golden/data/calibration", Rounding: RoundNearest, PlanOut: plan},
		{Precision: INT8, Quantize: QuantizeAll, Plan: plan, Target: TensorRT},
		{Precision: INT8, Quantize: QuantizeAll, Plan: plan, Target: OpenVINO, Opset: 21},
		{Precision: FP16, Opset: 20}, {Precision: FP16}, {Postprocess: true}, {Opset: onnx.MaxOpset},
	} {
		o.Checkpoint, o.Output = "../golden/data/syncsam-tiny-34/syncsam-tiny-34.pth", filepath.Join(dir, fmt.Sprint("artifact", i))
		if o.Precision == "" {
			o.Precision = FP32
		}
		if o.Target == "" {
			o.Target = ONNX
		}
		_, err := Compile(context.Background(), o)
		require.NoError(t, err)
		opset := o.Opset
		if opset == 0 {
			opset = onnx.DefaultOpset
		}
		targets := []string{"openvino"}
		if opset == onnx.DefaultOpset {
			targets = append(targets, "onnxruntime-1.16")
		}
		if o.Precision == FP32 {
			targets = append(targets, "reference")
		}
		for _, graph := range []string{"encoder.onnx", "decoder.onnx"} {
			file := filepath.Join(o.Output, graph)
			see(file, opset)
			written = append(written, file)
			found, err := portable.Lint(file, targets)
			require.NoError(t, err)
			require.Empty(t, found, "%s of %+v", graph, o)
		}
	}
	if *update {
		var lines []string
		for _, op := range slices.Sorted(maps.Keys(emitted)) {
			lines = append(lines, emitted[op].Spell(op))
		}
		head := "# What the ONNX backend emits: operator, opsets of files, attributes. Written by go test ./compile -run TestPortable -update.\n"
		require.NoError(t, os.WriteFile("../backends/portable/vocabulary.txt", []byte(head+strings.Join(lines, "\n")+"\n"), 0o644))
		return
	}
	for _, path := range written {
		found, err := portable.Lint(path, []string{portable.Vocabulary})
		require.NoError(t, err)
		require.Empty(t, found, path)
	}
}
