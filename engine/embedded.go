package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"syncsam-convert/frontends/onnx"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/passes"
)

// embedded is a session of the embedded engine, whose program can be watched.
type embedded interface {
	Session
	// ready gives the program for inputs.
	ready(inputs map[string]*tensor.Tensor) (*ir.Program, error)
}

func loadGo(path string, o Options) (Session, error) { return open(path, o) }

// open reads a file once where the IR's symbols tell its shapes, else anew for the inputs of each run.
func open(path string, o Options) (embedded, error) {
	m, err := onnx.Open(path)
	if err == nil {
		p, err := prepare(m.Graph)
		if err != nil {
			m.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		p.Threads = o.Threads
		return &goSession{m, p}, nil
	}
	given, err := onnx.OpenGiven(path)
	if err != nil {
		return nil, Refused(err)
	}
	return &givenSession{given: given, threads: o.Threads}, nil
}

// Refused adds the way out to what the embedded engine's reader refuses; other errors stay as they are.
func Refused(err error) error {
	var r *onnx.Refusal
	if errors.As(err, &r) {
		return fmt.Errorf("%w: the embedded engine does not run it; --engine onnxruntime may", err)
	}
	return err
}

// prepare joins what files spell in primitives, and compiles.
func prepare(g *ir.Graph) (*ir.Program, error) {
	if _, err := passes.All(context.Background(), &ir.Module{Graphs: []*ir.Graph{g}}, passes.Execute(), passes.Input{}, passes.Options{}); err != nil {
		return nil, err
	}
	return ir.Compile(g)
}

// goSession evaluates a file as the ONNX frontend reads it.
type goSession struct {
	model   *onnx.Model
	program *ir.Program
}

func (s *goSession) Inputs() []string { return inputNames(s.model.Graph) }

func inputNames(g *ir.Graph) (names []string) {
	for _, v := range g.Inputs() {
		names = append(names, v.Name)
	}
	return names
}

func (s *goSession) Outputs() []string {
	var names []string
	for _, o := range s.model.Graph.Outputs {
		names = append(names, o.Name)
	}
	return names
}

func (s *goSession) Run(ctx context.Context, inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	return s.program.Run(ctx, inputs)
}

func (s *goSession) ready(map[string]*tensor.Tensor) (*ir.Program, error) { return s.program, nil }
func (s *goSession) Close() error                                         { return s.model.Close() }

// givenSession evaluates a file that holds for given inputs alone; what was made for the last ones serves others that decide the same.
type givenSession struct {
	sync.Mutex
	given   *onnx.Given
	threads int
	shapes  map[string][]int64
	decide  map[string]*tensor.Tensor
	program *ir.Program
}

func (s *givenSession) Inputs() []string  { return s.given.InputNames() }
func (s *givenSession) Outputs() []string { return s.given.OutputNames() }
func (s *givenSession) Close() error      { return s.given.Close() }

func (s *givenSession) Run(ctx context.Context, inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	p, err := s.ready(inputs)
	if err != nil {
		return nil, err
	}
	return p.Run(ctx, inputs)
}

func (s *givenSession) ready(inputs map[string]*tensor.Tensor) (*ir.Program, error) {
	s.Lock()
	defer s.Unlock()
	if s.serves(inputs) {
		return s.program, nil
	}
	m, err := s.given.Read(inputs)
	if err != nil {
		return nil, Refused(err)
	}
	p, err := prepare(m.Graph)
	if err != nil {
		return nil, err
	}
	p.Threads = s.threads
	s.program, s.shapes, s.decide = p, map[string][]int64{}, map[string]*tensor.Tensor{}
	for name, t := range inputs {
		s.shapes[name] = slices.Clone(t.Dims())
		if m.Decide[name] != nil {
			s.decide[name] = tensor.Clone(t)
		}
	}
	return p, nil
}

// serves reports whether the program at hand is one for these inputs.
func (s *givenSession) serves(inputs map[string]*tensor.Tensor) bool {
	if s.program == nil || len(inputs) != len(s.shapes) {
		return false
	}
	for name, t := range inputs {
		if dims, ok := s.shapes[name]; !ok || !slices.Equal(dims, t.Dims()) {
			return false
		}
		if d := s.decide[name]; d != nil && !bytes.Equal(d.Bytes(), t.Bytes()) {
			return false
		}
	}
	return true
}
