package serve

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"syncsam-convert/engine"
	"syncsam-convert/internal/guard"
	"syncsam-convert/internal/memory"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

// A Spec is what a model says of one of its tensors.
type Spec struct {
	Name     string
	Datatype string
	Also     []string // other datatypes that are taken, too
	Dims     []onnxpb.Dim
	Optional bool
}

// shape is the protocol's form of the dimensions.
func (s Spec) shape() []int64 {
	out := []int64{}
	for _, d := range s.Dims {
		out = append(out, d.Size)
	}
	return out
}

func namesOf(specs []Spec) string {
	var names []string
	for _, s := range specs {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// A Model is what the protocol calls one. It may be used from several goroutines.
type Model interface {
	// Platform says what runs it.
	Platform() string
	Inputs() []Spec
	Outputs() []Spec
	// Check refuses, before any work, inputs that the model does not have, or that its tensors do not fit.
	Check(in map[string]*Value) error
	// Infer gives at least the wanted outputs, and what else is to be said of them.
	Infer(ctx context.Context, in map[string]*Value, want []string) (out map[string]*Value, parameters map[string]any, err error)
}

// tensors reads the inputs and outputs of an ONNX file, in its order.
func tensors(path string) (inputs, outputs []Spec, err error) {
	f, err := onnxpb.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	in, out, err := f.Interface()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	specs := func(all []onnxpb.Declared) (s []Spec) {
		for _, d := range all {
			s = append(s, Spec{Name: d.Name, Datatype: DataType(d.DType), Dims: d.Dims})
		}
		return s
	}
	return specs(in), specs(out), nil
}

// graph is a model that is one ONNX file.
type graph struct {
	session         engine.Session
	engine          string
	inputs, outputs []Spec
	parallel        int64 // such runs share the memory
}

func (g *graph) Platform() string { return platform(g.engine) }

// platform is the protocol's name of what runs a model.
func platform(engineName string) string {
	switch engineName {
	case engine.ONNXRuntime:
		return "onnxruntime_onnx"
	case engine.TensorRT:
		return "tensorrt_plan"
	}
	return "syncsam_onnx"
}

func (g *graph) Inputs() []Spec  { return g.inputs }
func (g *graph) Outputs() []Spec { return g.outputs }

func (g *graph) Check(in map[string]*Value) error {
	sizes, err := fit(in, g.inputs)
	if err != nil {
		return err
	}
	// The embedded engine plans its own memory; of all engines the results must fit, and what they are made of. What is not much more than the least
	// that the model gives is always tried.
	const made, much = 16, 4
	if total := g.results(sizes); total > much*g.results(nil) {
		if err := memory.Fits("the request's results", made*min(total, math.MaxInt64/made), g.parallel); err != nil {
			return &Error{http.StatusRequestEntityTooLarge, err}
		}
	}
	return nil
}

// results is how many bytes a model gives where its named dimensions have these sizes, 1 where they have none.
func (g *graph) results(sizes map[string]int64) (total int64) {
	for _, o := range g.outputs {
		n := datatypes[o.Datatype].Size()
		for _, d := range o.Dims {
			size := d.Size
			if size < 0 {
				size = max(sizes[d.Name], 1)
			}
			if size > 0 && n > math.MaxInt32*int64(1<<16)/size {
				return math.MaxInt64
			}
			n *= size
		}
		total += n
	}
	return total
}

func (g *graph) Infer(ctx context.Context, in map[string]*Value, _ []string) (map[string]*Value, map[string]any, error) {
	inputs, out := map[string]*tensor.Tensor{}, map[string]*Value{}
	for name, v := range in {
		inputs[name] = v.Numbers
	}
	results, err := running(func() (map[string]*tensor.Tensor, error) { return g.session.Run(ctx, inputs) })
	if err != nil {
		return nil, nil, err
	}
	for name, t := range results {
		out[name] = numbers(t)
	}
	return out, nil, nil
}

// running is what an engine gives for inputs that a request named: what it refuses is the request's fault, unless it broke down.
func running[T any](run func() (T, error)) (out T, err error) {
	broken := guard.Do(func() error {
		out, err = run()
		return nil
	})
	switch {
	case broken != nil:
		return out, broken
	case err != nil && !errors.Is(err, context.Canceled):
		return out, &Error{http.StatusBadRequest, err}
	}
	return out, err
}

// fit wants every input that a model needs, and no other, with its datatype and dimensions; it gives the sizes of those that have names.
func fit(in map[string]*Value, specs []Spec) (map[string]int64, error) {
	sizes := map[string]int64{}
	for name := range in {
		if !slices.ContainsFunc(specs, func(s Spec) bool { return s.Name == name }) {
			return nil, bad("input %q: there is none, want %s", name, namesOf(specs))
		}
	}
	for _, s := range specs {
		v := in[s.Name]
		switch {
		case v == nil && s.Optional:
			continue
		case v == nil:
			return nil, bad("input %q: it is missing", s.Name)
		case v.datatype() != s.Datatype && !slices.Contains(s.Also, v.datatype()):
			return nil, bad("input %q: have datatype %s, want %s", s.Name, v.datatype(), s.Datatype)
		case len(v.Dims) != len(s.Dims):
			return nil, bad("input %q: have shape %v, want %v", s.Name, v.Dims, s.shape())
		}
		for i, d := range s.Dims {
			if d.Size >= 0 && v.Dims[i] != d.Size {
				return nil, bad("input %q: have shape %v, want %v", s.Name, v.Dims, s.shape())
			}
			if d.Size >= 0 || d.Name == "" {
				continue
			}
			if was, ok := sizes[d.Name]; ok && was != v.Dims[i] {
				return nil, bad("input %q: have shape %v, but dimension %d, %s, is %d of another input", s.Name, v.Dims, i, d.Name, was)
			}
			sizes[d.Name] = v.Dims[i]
		}
	}
	return sizes, nil
}
