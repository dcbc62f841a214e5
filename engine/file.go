package engine

import (
	"context"
	"fmt"

	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// RunFile runs a model on the tensors of one safetensors file, by the names of its inputs, and writes its outputs by name to another.
func RunFile(ctx context.Context, name, model, in, out string, o Options) ([]safetensors.Named, error) {
	tensors, err := safetensors.Open(in)
	if err != nil {
		return nil, err
	}
	defer tensors.Close()
	s, err := Load(name, model, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	inputs := map[string]*tensor.Tensor{}
	for _, input := range s.Inputs() {
		if inputs[input] = tensors.Get(input); inputs[input] == nil {
			return nil, fmt.Errorf("%s: input %q is missing", in, input)
		}
	}
	results, err := s.Run(ctx, inputs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", model, err)
	}
	var named []safetensors.Named
	for _, output := range s.Outputs() {
		named = append(named, safetensors.Named{Name: output, Tensor: results[output]})
	}
	return named, safetensors.WriteFile(out, named, nil)
}
