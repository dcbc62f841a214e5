package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/portable"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/bench"
	"syncsam-convert/compare"
	"syncsam-convert/compile"
	"syncsam-convert/doctor"
	"syncsam-convert/front"
	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/golden"
	"syncsam-convert/golden/stats"
	"syncsam-convert/internal/trthost"
	"syncsam-convert/pictures"
	"syncsam-convert/registry"
	"syncsam-convert/safetensors"
	"syncsam-convert/volumes"
)

var update = flag.Bool("update", false, "write schemas/")

// row is a line of a file of items (.jsonl), of one artifact; of two each score stands twice, with _a and _b.
type row struct {
	Image  string        `json:"image"`
	Mask   string        `json:"mask"`
	Mode   string        `json:"mode"`
	DSC    *float64      `json:"dsc,omitempty"`
	IoU    *float64      `json:"iou,omitempty"`
	HD95   *stats.Number `json:"hd95,omitempty"` // pixels; null where it is undefined
	NSD    *stats.Number `json:"nsd,omitempty"`  // null where it is undefined
	Clicks *int          `json:"clicks,omitempty"`
	DSCA   *float64      `json:"dsc_a,omitempty"`
	DSCB   *float64      `json:"dsc_b,omitempty"`
	IoUA   *float64      `json:"iou_a,omitempty"`
	IoUB   *float64      `json:"iou_b,omitempty"`
	HD95A  *stats.Number `json:"hd95_a,omitempty"`
	HD95B  *stats.Number `json:"hd95_b,omitempty"`
	NSDA   *stats.Number `json:"nsd_a,omitempty"`
	NSDB   *stats.Number `json:"nsd_b,omitempty"`
	ClickA *int          `json:"clicks_a,omitempty"`
	ClickB *int          `json:"clicks_b,omitempty"`
}

// problems is what inspect prints of a checkpoint that no family fits.
type problems struct {
	Problems []string `json:"problems"`
}

// schemas are the published descriptions of every JSON that the program writes.
var schemas = []struct {
	file, title string
	of          reflect.Type
}{
	{"manifest.schema.json", "manifest.json of an artifact; build --json", reflect.TypeFor[artifact.Manifest]()},
	{"report.schema.json", "verify --json", reflect.TypeFor[golden.Report]()},
	{"table.schema.json", "verify --table --json, and of several artifacts", reflect.TypeFor[[]golden.Row]()},
	{"three-way.schema.json", "verify --three-way --json", reflect.TypeFor[golden.ThreeWay]()},
	{"front.schema.json", "the field front of manifest.json; build --precision auto", reflect.TypeFor[front.Front]()},
	{"items.schema.json", "a line of verify --items FILE.jsonl", reflect.TypeFor[row]()},
	{"run.schema.json", "FILE.run beside verify --items FILE: everything that its scores depend on, by name", reflect.TypeFor[map[string]any]()},
	{"measured.schema.json", "a line of FILE.measured beside verify --items FILE", reflect.TypeFor[golden.Record]()},
	{"segmentation.schema.json", "run --json", reflect.TypeFor[volumes.Report]()},
	{"push.schema.json", "push --json", reflect.TypeFor[registry.Pushed]()},
	{"golden.schema.json", "golden.json of a golden folder", reflect.TypeFor[golden.File]()},
	{"inspect.schema.json", "inspect --json", reflect.TypeFor[compile.Inspection]()},
	{"problems.schema.json", "inspect --json of a checkpoint that no model family fits (exit status 2)", reflect.TypeFor[problems]()},
	{"index.schema.json", "the index of a data set, image by mask: dataset, label2image_test.json", reflect.TypeFor[map[string]string]()},
	{"picture.schema.json", "picture --json", reflect.TypeFor[pictures.Facts]()},
	{"bench.schema.json", "bench --json", reflect.TypeFor[bench.Report]()},
	{"compare.schema.json", "compare --json", reflect.TypeFor[[]compare.Layer]()},
	{"lint.schema.json", "lint --json, plan lint --json", reflect.TypeFor[[]portable.Finding]()},
	{"recipe.schema.json", "plan/recipe.json; plan info DIR --json", reflect.TypeFor[tensorrt.Recipe]()},
	{"doctor.schema.json", "doctor --json", reflect.TypeFor[doctor.Report]()},
	{"plan.schema.json", "the file beside a plan; plan info FILE --json", reflect.TypeFor[trthost.Sidecar]()},
}

// printed says which schemas a command's --json has.
var printed = map[string][]string{
	"build": {"manifest"}, "verify": {"report", "table", "three-way"}, "inspect": {"inspect", "problems"}, "picture": {"picture"}, "bench": {"bench"}, "compare": {"compare"}, "lint": {"lint"},
	"plan lint": {"lint"}, "plan info": {"recipe", "plan"}, "run": {"segmentation"}, "push": {"push"}, "doctor": {"doctor"},
}

// The published schemas are those of the types, and each command that prints JSON names its own.
func TestSchemas(t *testing.T) {
	var names []string
	for _, s := range schemas {
		written(t, s.file, makeSchema(t, s.file, s.title, s.of), *update)
		names = append(names, s.file)
	}
	files, err := os.ReadDir("../../schemas")
	require.NoError(t, err)
	for _, f := range files {
		require.True(t, !strings.HasSuffix(f.Name(), ".json") || slices.Contains(names, f.Name()), "%s is of nothing", f.Name())
	}
	var walk func(c *cobra.Command, path string)
	walk = func(c *cobra.Command, path string) {
		if f := c.Flags().Lookup("json"); f != nil {
			require.NotEmpty(t, printed[path], "%s --json: name its schema here, and add it to TestOutputsMatchTheirSchemas", path)
			require.Equal(t, "-", f.NoOptDefVal, "%s --json: want addJSON, so that it is as that of all commands", path)
		}
		for _, sub := range c.Commands() {
			walk(sub, strings.TrimSpace(path+" "+sub.Name()))
		}
	}
	walk(newRoot(), "")
}

// compiled is a published schema, and the same with every object closed: what it does not name is refused.
func compiled(t *testing.T, name string) (open, closed *jsonschema.Schema) {
	t.Helper()
	text, err := os.ReadFile("../../schemas/" + name + ".schema.json")
	require.NoError(t, err)
	for _, to := range []**jsonschema.Schema{&open, &closed} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		require.NoError(t, err)
		if to == &closed {
			shut(doc)
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		require.NoError(t, c.AddResource(name, doc))
		*to, err = c.Compile(name)
		require.NoError(t, err)
	}
	return open, closed
}

// shut closes the objects of a schema that are not closed otherwise.
func shut(x any) {
	switch x := x.(type) {
	case map[string]any:
		if _, ok := x["properties"].(map[string]any); ok && x["additionalProperties"] == nil {
			x["additionalProperties"] = false
		}
		for _, v := range x {
			shut(v)
		}
	case []any:
		for _, v := range x {
			shut(v)
		}
	}
}

// valid holds a text against a schema: it fits, it says nothing that the schema does not name, and each thing that is required is missed.
func valid(t *testing.T, name, text string) {
	t.Helper()
	open, closed := compiled(t, name)
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	require.NoError(t, err, name)
	require.NoError(t, open.Validate(doc), name)
	require.NoError(t, closed.Validate(doc), name)
	object, ok := doc.(map[string]any)
	if !ok || len(object) == 0 || name == "index" || name == "run" {
		return
	}
	required := open.Required
	if open.Ref != nil {
		required = open.Ref.Required
	}
	require.NotEmpty(t, required, name)
	for _, key := range required {
		was := object[key]
		delete(object, key)
		require.Error(t, open.Validate(doc), "%s without %s", name, key)
		object[key] = was
	}
}

// What the program writes fits its published schemas: every command, every kind of report.
func TestOutputsMatchTheirSchemas(t *testing.T) {
	float, tmp, data := built(t, tiny34), t.TempDir(), fewData(t, 4)
	int8 := built(t, tiny34, "--precision", "int8", "--calib", calibration)
	at := func(name string) string { return filepath.Join(tmp, name) }
	read := func(path string) string {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(text)
	}
	lines := func(path string) {
		for line := range strings.Lines(read(path)) {
			valid(t, "items", line)
		}
	}

	valid(t, "manifest", read(filepath.Join(float, "manifest.json")))
	valid(t, "manifest", read(filepath.Join(int8, "manifest.json")))
	made := at("made")
	must(t, "golden", "make", float, "--data", data, "-o", made)
	valid(t, "golden", read(filepath.Join(made, "golden.json")))
	valid(t, "golden", read(golden34+"/golden.json"))
	valid(t, "index", must0(t, "dataset", data))
	valid(t, "manifest", must(t, "build", tiny34, "-o", at("judged"), "--golden", made, "--json"))
	trt := at("trt")
	valid(t, "manifest", must(t, "build", tiny34, "-o", trt, "--target", "tensorrt", "--precision", "fp16", "--json"))
	valid(t, "manifest", read(filepath.Join(trt, "plan", "manifest.json")))
	valid(t, "recipe", read(filepath.Join(trt, "plan", "recipe.json")))
	valid(t, "recipe", must(t, "plan", "info", trt, "--json"))

	for i, args := range [][]string{
		{float, "--data", data, "--closed-loop=false"}, {float, "--data", data, "--min-dsc", "0.1"}, {int8, "--data", data, "--html", at("page")}, {float, "--golden", made, "--closed-loop"}, {int8, "--golden", made, "--max-dsc-drop", "50"},
		{int8, "--golden", made, "--max-dsc-drop", "50", "--judge", "equivalence"}, {float, int8, "--data", data, "--margin", "50", "--items", at("two.jsonl"), "--layers"}, {float, int8, "--golden", made, "--margin", "50", "--html", at("pair")},
		{float, "--data", data, "--items", at("one.jsonl"), "--baseline", at("0.json")}, {float, "--golden", "paper:2/SyncSAM-SAMed-34", "--data", data, "--tolerance", "100"},
	} {
		file := at(fmt.Sprintf("%d.json", i))
		r := command(append([]string{"verify", "--prompts", "box,point1", "--json=" + file}, args...)...)
		require.Contains(t, []int{0, 1}, r.code, "%v: %s", args, r.err)
		valid(t, "report", read(file))
	}
	valid(t, "table", must(t, "verify", float, int8, "--golden", made, "--prompts", "box", "--max-dsc-drop", "50", "--json"))
	three := must(t, "verify", trt, "--golden", made, "--prompts", "box", "--max-dsc-drop", "50", "--three-way", "--json")
	valid(t, "three-way", three)
	lines(at("one.jsonl"))
	lines(at("two.jsonl"))
	valid(t, "run", read(at("one.jsonl.run")))
	valid(t, "run", read(at("two.jsonl.run")))
	records := strings.Split(strings.TrimSpace(read(at("two.jsonl.measured"))), "\n")
	for _, line := range records[:len(records)-1] { // the last says how many there are
		valid(t, "measured", line)
	}
	valid(t, "segmentation", must(t, "run", float, "--image", picture, "--box", "10,10,60,60", "--point", "30,30", "-o", at("mask.png"), "--json"))
	valid(t, "push", must(t, "push", float, inRegistry(t)+":1", "--plain-http", "--json"))

	valid(t, "inspect", must(t, "inspect", tiny34, "--json"))
	misfit := command("inspect", lacking(t, "mask_decoder.hf_mlp.layers.2.bias"), "--json")
	require.Equal(t, 2, misfit.code)
	valid(t, "problems", misfit.out)
	valid(t, "picture", must(t, "picture", picture, "-o", at("p.png"), "--json"))
	valid(t, "picture", must(t, "picture", filepath.Join(data, "masks", firstOf(t, filepath.Join(data, "masks"))), "--mask", "-o", at("m.png"), "--json"))
	valid(t, "bench", must(t, "bench", filepath.Join(float, "decoder.onnx"), "--rounds", "1", "--memory", "--json"))
	valid(t, "bench", must(t, "bench", filepath.Join(float, "decoder.onnx"), "--vs", filepath.Join(int8, "decoder.onnx"), "--rounds", "1", "--json"))
	valid(t, "compare", must(t, "compare", float, float, "--json"))
	valid(t, "compare", command("compare", float, int8, "--json").out)
	valid(t, "lint", must(t, "lint", float, "--target", "onnx", "--json"))
	valid(t, "lint", command("lint", float, "--json").out)
	valid(t, "lint", command("plan", "lint", filepath.Join(float, "encoder.onnx"), "--json").out)

	valid(t, "doctor", must(t, "doctor", "--json"))

	sidecar, err := json.Marshal(trthost.Sidecar{})
	require.NoError(t, err)
	valid(t, "plan", string(sidecar)) // there is no GPU here that would write one
}

// lacking is a checkpoint without one of its tensors.
func lacking(t *testing.T, name string) string {
	t.Helper()
	ck, err := checkpoint.Open(tiny34)
	require.NoError(t, err)
	defer ck.Close()
	var all []safetensors.Named
	for _, n := range ck.Names() {
		if n != name {
			all = append(all, safetensors.Named{Name: n, Tensor: ck.Get(n)})
		}
	}
	path := filepath.Join(t.TempDir(), "lacking.safetensors")
	require.NoError(t, safetensors.WriteFile(path, all, nil))
	return path
}

func must0(t *testing.T, args ...string) string {
	t.Helper()
	r := command(args...)
	require.Zero(t, r.code, r.err)
	return r.out
}

func firstOf(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	return list[0].Name()
}
