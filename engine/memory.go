package engine

import (
	"fmt"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// Memory plans a run of a file in the embedded engine.
func Memory(path string, inputs map[string]*tensor.Tensor) (*ir.Memory, error) {
	s, err := open(path, Options{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	p, err := s.ready(inputs)
	if err != nil {
		return nil, err
	}
	syms, err := ir.Bind(p.Graph(), inputs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p.Memory(syms)
}
