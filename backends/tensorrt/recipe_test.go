package tensorrt

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// recipe is one of a small model, as JSON that a test may change.
func recipe(t *testing.T) map[string]any {
	t.Helper()
	b := ir.NewBuilder("encoder")
	x := b.Input("image", tensor.Float32, tensor.Symbol("N"), tensor.Static(3))
	b.Output("y", b.Relu(x))
	g, err := b.Graph()
	require.NoError(t, err)
	r, err := NewRecipe(&ir.Module{Graphs: []*ir.Graph{g}}, "int8", Spans(), []string{"8.6", "10", "11"}, map[string]string{"encoder.onnx": strings.Repeat("0", 64)})
	require.NoError(t, err)
	text, err := r.JSON()
	require.NoError(t, err)
	_, err = ParseRecipe(text)
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(text, &m))
	return m
}

// A recipe of a stranger brings no flag, no path, and no value that a build does not write.
func TestRecipesOfStrangers(t *testing.T) {
	engine := func(m map[string]any) map[string]any { return m["engines"].([]any)[0].(map[string]any) }
	input := func(m map[string]any) map[string]any { return engine(m)["inputs"].([]any)[0].(map[string]any) }
	for want, change := range map[string]func(m map[string]any){
		`unknown field "trtexec_flags"`: func(m map[string]any) {
			m["tensorrt"].([]any)[0].(map[string]any)["trtexec_flags"] = []string{"--plugins=./evil.so", "--saveEngine=/anywhere"}
		},
		`unknown field "timing_cache"`:      func(m map[string]any) { m["timing_cache"] = "/etc/passwd" },
		`have release "9"`:                  func(m map[string]any) { m["tensorrt"].([]any)[0].(map[string]any)["release"] = "9" },
		"release 10 is there twice":         func(m map[string]any) { m["tensorrt"].([]any)[0].(map[string]any)["release"] = "10" },
		`in precision "fp8"`:                func(m map[string]any) { m["precision"] = "fp8" },
		"workspace_mib: have -1":            func(m map[string]any) { m["workspace_mib"] = -1 },
		"workspace_mib: have 9000000":       func(m map[string]any) { m["workspace_mib"] = 9000000 },
		"optimization_level: have 6":        func(m map[string]any) { m["optimization_level"] = 6 },
		"hardware_compatibility":            func(m map[string]any) { m["hardware_compatibility"] = "none --plugins=x" },
		"engines or tensorrt: missing":      func(m map[string]any) { m["engines"] = []any{} },
		`have file "../x.onnx"`:             func(m map[string]any) { engine(m)["onnx"] = "../x.onnx" },
		`have file "-x.onnx"`:               func(m map[string]any) { engine(m)["onnx"] = "-x.onnx" },
		`have file "a b.onnx"`:              func(m map[string]any) { engine(m)["onnx"] = "a b.onnx" },
		`have file "encoder.so"`:            func(m map[string]any) { engine(m)["onnx"] = "encoder.so" },
		`have plan "../../.profile"`:        func(m map[string]any) { engine(m)["plan"] = "../../.profile" },
		`have plan "decoder.onnx"`:          func(m map[string]any) { engine(m)["plan"] = "decoder.onnx" },
		`have input "a:1x2,b"`:              func(m map[string]any) { input(m)["name"] = "a:1x2,b" },
		`have input "$(id)"`:                func(m map[string]any) { input(m)["name"] = "$(id)" },
		"have 0:1:4":                        func(m map[string]any) { input(m)["min"] = []any{0, 3} },
		"have 1:1:9000000000":               func(m map[string]any) { input(m)["max"] = []any{9000000000, 3} },
		"have 1, 2 and 2 sizes":             func(m map[string]any) { input(m)["min"] = []any{1} },
		"engines: encoder.onnx is there tw": func(m map[string]any) { m["engines"] = append(m["engines"].([]any), m["engines"].([]any)[0]) },
	} {
		m := recipe(t)
		change(m)
		text, err := json.Marshal(m)
		require.NoError(t, err)
		_, err = ParseRecipe(text)
		require.ErrorContains(t, err, want)
	}
	_, err := ParseRecipe([]byte("{} {}"))
	require.Error(t, err)
}

// Flags are the program's own: the table has some for every release and precision that a build knows.
func TestFlagsFor(t *testing.T) {
	r := &Recipe{Precision: "int8", TensorRT: []Series{{Release: "8.6"}, {Release: "10"}}}
	for version, want := range map[string][]string{"8.6.1": {"--fp16", "--int8"}, "10.13.3": {"--stronglyTyped"}} {
		have, err := r.FlagsFor(version)
		require.NoError(t, err)
		require.Equal(t, want, have)
	}
	for _, version := range []string{"11.0.0", "8.5.3", "100.1.0"} {
		_, err := r.FlagsFor(version)
		require.ErrorContains(t, err, "the recipe is not for it")
	}
	for _, release := range Releases {
		for _, precision := range []string{"fp32", "fp16", "int8"} {
			require.NotNil(t, flagsFor(release.Name, precision), "%s %s", release.Name, precision)
		}
	}
}

func FuzzRecipe(f *testing.F) {
	f.Add([]byte(`{"precision":"int8","tensorrt":[{"release":"10"}],"workspace_mib":1,"hardware_compatibility":"none","engines":[{"onnx":"a.onnx","plan":"a.plan","inputs":[{"name":"x","min":[1],"opt":[1],"max":[2]}]}]}`))
	f.Add([]byte(`{"tensorrt":[{"release":"10","trtexec_flags":["--plugins=./evil.so"]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRecipe(text)
		if err != nil {
			return
		}
		for _, e := range r.Engines {
			for _, a := range r.Arguments(e, nil) {
				if !strings.HasPrefix(a, "--") || strings.ContainsAny(a, " \n'\"$`;|&<>\\") {
					t.Fatalf("argument %q", a)
				}
			}
		}
	})
}
