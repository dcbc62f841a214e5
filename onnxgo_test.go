package project

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	onnxgo "github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend/testbackend"
	_ "github.com/owulveryck/onnx-go/backend/testbackend/onnx" // registers ONNX's operator cases
	"github.com/owulveryck/onnx-go/backend/x/gorgonnx"
	"github.com/stretchr/testify/require"
	gtensor "gorgonia.org/tensor"

	backend "syncsam-convert/backends/onnx"
	"syncsam-convert/frontends"
	"syncsam-convert/frontends/checkpoint"
	frontend "syncsam-convert/frontends/onnx"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/passes"
)

// caseTolerance is relative to the larger of 1 and the expected value: the cases were computed in numpy.
const caseTolerance = 1e-5

// unsupportedPath lists ONNX's operator cases that the frontend refuses, each with the reason it gives.
const unsupportedPath = "frontends/onnx/testdata/unsupported_cases.txt"

var updateCases = flag.Bool("update-cases", false, "write the list of refused operator cases anew")

// ONNX's own operator cases (as onnx-go carries them) through our frontend and evaluator. A case passes, or it is refused
// with the reason that the list has; a wrong result is never listed.
func TestOperatorCasesOfONNX(t *testing.T) {
	listed := readList(t)
	refused := map[string]string{}
	passed := 0
	for _, make := range testbackend.GetAllRegisteredTests() {
		c := make()
		t.Run(c.Title, func(t *testing.T) {
			err := runCase(t, c)
			if err == nil {
				passed++
				return
			}
			refused[c.Title] = err.Error()
			if !*updateCases {
				require.Equal(t, listed[c.Title], err.Error(), "refused, and not for the listed reason")
			}
		})
	}
	if *updateCases {
		var out strings.Builder
		out.WriteString("# ONNX's operator cases that the frontend refuses, and why. Written by: go test . -run OperatorCases -update-cases\n")
		titles := make([]string, 0, len(refused))
		for title := range refused {
			titles = append(titles, title)
		}
		sort.Strings(titles)
		for _, title := range titles {
			fmt.Fprintf(&out, "%s\t%s\n", title, refused[title])
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(unsupportedPath), 0o755))
		require.NoError(t, os.WriteFile(unsupportedPath, []byte(out.String()), 0o600))
		listed = readList(t)
	}
	t.Logf("%d cases pass, %d are refused", passed, len(refused))
	require.Len(t, listed, len(refused), "the list has cases that pass now")
	require.Greater(t, passed, 100)
}

func readList(t *testing.T) map[string]string {
	f, err := os.Open(unsupportedPath)
	if *updateCases && err != nil {
		return nil
	}
	require.NoError(t, err)
	defer f.Close()
	list := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if title, why, ok := strings.Cut(s.Text(), "\t"); ok {
			list[title] = why
		}
	}
	return list
}

// runCase evaluates a case; its error is the frontend's refusal, a wrong result fails the test.
func runCase(t *testing.T, c *testbackend.TestCase) error {
	f, err := onnxpb.Parse(c.ModelB)
	require.NoError(t, err)
	in := map[string]*tensor.Tensor{}
	for i, x := range f.Model.Graph.Input {
		if i < len(c.Input) && !slices.ContainsFunc(f.Initializers, func(i onnxpb.Initializer) bool { return i.Name == x.GetName() }) {
			in[x.GetName()] = fromGorgonia(t, c.Input[i])
		}
	}
	m, err := frontend.Import(f)
	if err != nil {
		if m, err = frontend.ImportFor(f, in); err != nil {
			return err
		}
	}
	p, err := ir.Compile(m.Graph)
	require.NoError(t, err)
	out, err := p.Run(context.Background(), in)
	if err != nil {
		return err
	}
	for i, o := range f.Model.Graph.Output {
		if i >= len(c.ExpectedOutput) {
			break
		}
		want, have := fromGorgonia(t, c.ExpectedOutput[i]), out[o.GetName()]
		require.NotNil(t, have)
		require.Equal(t, want.DType(), have.DType())
		require.Equal(t, want.Len(), have.Len())
		if !want.DType().IsFloat() {
			require.Equal(t, want.Int64s(), have.Int64s())
			continue
		}
		w, h := want.Float32s(), have.Float32s()
		for k := range w {
			if w[k] != h[k] && (w[k] == w[k] || h[k] == h[k]) {
				require.InDelta(t, w[k], h[k], caseTolerance*max(1, float64(max(w[k], -w[k]))), "element %d", k)
			}
		}
	}
	return nil
}

func fromGorgonia(t *testing.T, x gtensor.Tensor) *tensor.Tensor {
	dims := []int64{}
	for _, d := range x.Shape() {
		dims = append(dims, int64(d))
	}
	switch v := x.Data().(type) {
	case []float32:
		return tensor.FromFloat32(dims, v)
	case []float64:
		return tensor.FromFloat64(dims, v)
	case []int64:
		return tensor.FromInt64(dims, v)
	case []int32:
		return tensor.FromInt32(dims, v)
	case []int8:
		return tensor.FromInt8(dims, v)
	case []uint8:
		return tensor.FromUint8(dims, v)
	case []bool:
		return tensor.FromBool(dims, v)
	case float32:
		return tensor.FromFloat32(dims, []float32{v})
	case float64:
		return tensor.FromFloat64(dims, []float64{v})
	case int64:
		return tensor.FromInt64(dims, []int64{v})
	case int32:
		return tensor.FromInt32(dims, []int32{v})
	}
	t.Skipf("a case with data of type %T", x.Data())
	return nil
}

// independentTolerance bounds gorgonnx's float32 convolutions against ours, in standard deviations.
const independentTolerance = 5e-5

// An ONNX reader and executor that we did not write decodes the emitted float CNN branch and computes the same features.
func TestOnnxGoReadsTheCNNBranch(t *testing.T) {
	ck, err := checkpoint.Open("golden/data/syncsam-tiny-34/syncsam-tiny-34.pth")
	require.NoError(t, err)
	defer ck.Close()
	m, _, err := frontends.Load(ck, frontends.Options{})
	require.NoError(t, err)
	_, err = passes.All(context.Background(), m, passes.Pipeline(passes.Goal{}), passes.Input{}, passes.Options{})
	require.NoError(t, err)
	g := m.Graph("encoder")
	last := slices.IndexFunc(g.Values, func(v *ir.Value) bool { return strings.HasPrefix(v.Name, "adapters_in.3") && !v.IsConst() })
	for last--; !strings.HasPrefix(g.Values[last].Name, "resnet.stage4"); last-- {
	}
	g.Outputs = []ir.Output{{Name: "features", Value: g.Values[last]}}
	g.Sweep()
	// onnx-go knows static shapes only
	text, pool := ir.Print(&ir.Module{Graphs: []*ir.Graph{g}})
	fixed, err := ir.Parse(strings.ReplaceAll(text, "[N,", "[1,"), pool)
	require.NoError(t, err)
	g = fixed.Graphs[0]
	path := filepath.Join(t.TempDir(), "cnn.onnx")
	_, err = backend.WriteFile(path, g, backend.Options{})
	require.NoError(t, err)
	model, err := os.ReadFile(path)
	require.NoError(t, err)

	in, err := ir.Probe(g, 1, nil)
	require.NoError(t, err)
	p, err := ir.Compile(g)
	require.NoError(t, err)
	ours, err := p.Run(context.Background(), in)
	require.NoError(t, err)

	executor := gorgonnx.NewGraph()
	reader := onnxgo.NewModel(executor)
	require.NoError(t, reader.UnmarshalBinary(model))
	require.NoError(t, reader.SetInput(0, gtensor.New(gtensor.WithShape(1, 3, 256, 256), gtensor.WithBacking(slices.Clone(in["image"].Float32s())))))
	require.NoError(t, executor.Run())
	theirs, err := reader.GetOutputTensors()
	require.NoError(t, err)
	require.Len(t, theirs, 1)
	d, err := tensor.Compare(ours["features"], fromGorgonia(t, theirs[0]))
	require.NoError(t, err)
	require.Positive(t, d.Std)
	require.LessOrEqual(t, d.Relative(), independentTolerance)
	t.Logf("onnx-go differs by %.2g standard deviations", d.Relative())
}
