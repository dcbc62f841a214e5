package compile

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/onnx"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/clients"
	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/internal/guard"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/internal/output"
	"syncsam-convert/internal/version"
	"syncsam-convert/ir"
	"syncsam-convert/passes"
)

// Write emits the model and its manifest into a folder that is there. Meanwhile a model in float16 is run on some calibration pictures: a NaN or
// an infinity is an error that names the first value that is one.
func (c *Compiled) Write(ctx context.Context, dir string) (*artifact.Manifest, error) {
	return c.write(ctx, dir, c.client)
}

func (c *Compiled) write(ctx context.Context, dir string, client *clients.Plan) (*artifact.Manifest, error) {
	c.o.Progress(Event{Stage: "write"})
	m, names, err := c.forClient(client)
	if err != nil {
		return nil, err
	}
	man := &artifact.Manifest{Tool: version.Get(), Meta: m.Meta, Interface: clients.Interface(client, m), Target: c.Target, Precision: c.Precision, Opset: c.o.Opset, Criterion: c.o.criterion(), Passes: []artifact.Pass{}}
	if client != nil {
		man.Client = c.o.Client
	}
	var audit errgroup.Group
	audit.Go(guard.Func(func() error { return c.audit(ctx) }))
	if err := cmp.Or(c.writeGraphs(ctx, dir, m, names, client, man), audit.Wait()); err != nil {
		return nil, err
	}
	if c.Target == TensorRT {
		if err := c.writeRecipe(dir, m, man); err != nil {
			return nil, err
		}
	}
	if _, err := c.SHA256(); err != nil {
		return nil, err
	}
	man.Source = artifact.Source{SHA256: c.base, Merged: c.merged, Format: c.Checkpoint.Format(), Weights: c.Checkpoint.Wrapper(), Tensors: len(c.Checkpoint.Names()), Parameters: Parameters(c.Checkpoint)}
	if client != nil && client.Profile.TransformersFiles {
		if err := c.writeProcessor(dir, man); err != nil {
			return nil, err
		}
	}
	if man.Build, err = c.o.record(); err != nil {
		return nil, err
	}
	for _, r := range c.run.Results {
		man.Passes = append(man.Passes, artifact.Pass{Name: r.Name, Changed: r.Changed})
	}
	if c.Precision == INT8 && c.Plan != nil {
		man.Quantization = c.quantization()
	}
	if half(c.Target, c.Precision) {
		man.Float16 = c.float16()
	}
	return man, man.Write(dir)
}

// Parameters counts a checkpoint's floating-point elements; tied tensors once.
func Parameters(ck *checkpoint.Checkpoint) int64 {
	n := int64(0)
	for _, name := range ck.Names() {
		if t := ck.Get(name); t.DType().IsFloat() && ck.SharedWith(name) == "" {
			n += t.Len()
		}
	}
	return n
}

func (c *Compiled) quantization() *artifact.Quantization {
	done := c.quantized()
	q := &artifact.Quantization{Method: c.Plan.Method, Images: c.Plan.Images, Rounding: c.rounding, QuantizedNodes: done.Nodes, KeptFloat: []artifact.KeptFloat{}}
	for _, key := range slices.Sorted(maps.Keys(done.Float)) {
		q.KeptFloat = append(q.KeptFloat, artifact.KeptFloat{Node: key, Reason: done.Float[key]})
	}
	if done.All > 0 {
		q.Int8Share = float64(done.Int8) / float64(done.All)
	}
	return q
}

func (c *Compiled) float16() *artifact.Float16 {
	h := &artifact.Float16{Recorded: c.Plan != nil && c.Plan.Peaks != nil, Audited: c.audited > 0, Float32: []artifact.Float32{}}
	for _, r := range c.run.Results {
		for _, report := range r.Reports {
			if done, ok := report.(*passes.Halved); ok {
				h.Values += done.Values
				for _, v := range done.Float32 {
					h.Float32 = append(h.Float32, artifact.Float32(v))
				}
			}
		}
	}
	return h
}

// writeGraphs emits every graph, and hashes each file while the next is written.
func (c *Compiled) writeGraphs(ctx context.Context, dir string, m *ir.Module, names map[string]string, client *clients.Plan, man *artifact.Manifest) error {
	man.Values = map[string]map[string]string{}
	type result struct {
		file artifact.File
		err  error
	}
	var pending []chan result
	for _, g := range m.Graphs {
		if err := ctx.Err(); err != nil {
			return err
		}
		o := onnx.Options{Opset: c.o.Opset, External: c.o.ExternalData, NonFinite: c.o.AllowNonFinite, Metadata: map[string]string{"family": m.Meta.Family, "precision": c.Precision}}
		if client != nil {
			o.Edges = client.Edges(g)
		}
		name := names[g.Name]
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o777); err != nil {
			return err
		}
		written, err := onnx.WriteFile(filepath.Join(dir, name), g, o)
		if err != nil {
			return err
		}
		man.Values[name] = written.Of
		man.Interface.Graphs = append(man.Interface.Graphs, clients.Describe(name, written))
		for _, p := range written.Files {
			done := make(chan result, 1)
			pending = append(pending, done)
			go func() {
				var r result
				r.err = guard.Do(func() (err error) {
					r.file, err = artifact.Describe(dir, path.Join(path.Dir(name), filepath.Base(p)))
					return err
				})
				done <- r
			}()
		}
	}
	var failed error
	for _, p := range pending {
		r := <-p
		if r.err != nil {
			failed = r.err
		}
		man.Files = append(man.Files, r.file)
	}
	return failed
}

// writeRecipe adds to a folder of models for TensorRT what builds plans of them; releases that refuse a model are left out.
func (c *Compiled) writeRecipe(dir string, m *ir.Module, man *artifact.Manifest) error {
	spans, err := c.o.spans()
	if err != nil {
		return err
	}
	hashes := map[string]string{}
	for _, file := range man.Files {
		hashes[file.Name] = file.SHA256
	}
	suits, err := releases(dir, m)
	if err != nil {
		return err
	}
	recipe, err := tensorrt.NewRecipe(m, c.Precision, spans, suits, hashes)
	if err != nil {
		return err
	}
	text, err := recipe.JSON()
	if err != nil {
		return err
	}
	for _, out := range []struct {
		name string
		text []byte
		put  func(path string, write func(io.Writer) error) error
	}{{tensorrt.RecipeName, text, output.Part}, {tensorrt.ScriptName, []byte(recipe.Script()), output.Program}} {
		if err := out.put(filepath.Join(dir, out.name), func(w io.Writer) error {
			_, err := w.Write(out.text)
			return err
		}); err != nil {
			return err
		}
		file, err := artifact.Describe(dir, out.name)
		if err != nil {
			return err
		}
		man.Files = append(man.Files, file)
	}
	return nil
}

// releases lists those of TensorRT that take all of a module's files; none is an error that names what they refuse.
func releases(dir string, m *ir.Module) ([]string, error) {
	var suits []string
	var refused *tensorrt.Finding
	for _, r := range tensorrt.Releases {
		found, err := lint(dir, m, r)
		if err != nil {
			return nil, err
		}
		if found == nil {
			suits = append(suits, r.Name)
		} else {
			refused = found
		}
	}
	if len(suits) == 0 {
		return nil, fmt.Errorf("no release of TensorRT takes the model: %s: node %s: %s (%s)", refused.Release, refused.Node, refused.Problem, refused.Rule)
	}
	return suits, nil
}

// lint gives the first finding for which a release refuses one of a module's files, nil for none.
func lint(dir string, m *ir.Module, r tensorrt.Release) (*tensorrt.Finding, error) {
	for _, g := range m.Graphs {
		file, err := onnxpb.Open(filepath.Join(dir, g.Name+".onnx"))
		if err != nil {
			return nil, err
		}
		findings := tensorrt.Lint(file, r)
		if err := file.Close(); err != nil {
			return nil, err
		}
		for _, found := range findings {
			if found.Severity == tensorrt.Refused {
				return &found, nil
			}
		}
	}
	return nil, nil
}
