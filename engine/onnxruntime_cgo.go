//go:build cgo

package engine

import (
	"context"
	"fmt"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"syncsam-convert/ir/tensor"
)

// environment is ONNX Runtime's: one per process.
var environment struct {
	sync.Mutex
	library string
}

func startEnvironment(given string) error {
	environment.Lock()
	defer environment.Unlock()
	path, err := FindLibrary(given)
	if err != nil {
		return err
	}
	if environment.library != "" {
		if environment.library != path {
			return fmt.Errorf("engine onnxruntime: %s is loaded already, cannot load %s", environment.library, path)
		}
		return nil
	}
	ort.SetSharedLibraryPath(path)
	if err := ort.InitializeEnvironment(ort.WithLogLevelWarning()); err != nil {
		return fmt.Errorf("engine onnxruntime: %s: %w", path, err)
	}
	environment.library = path
	return nil
}

type ortSession struct {
	path            string
	session         *ort.DynamicAdvancedSession
	inputs, outputs []string
}

func loadORT(path string, o Options) (Session, error) {
	if err := startEnvironment(o.Library); err != nil {
		return nil, err
	}
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer options.Destroy()
	if o.Threads > 0 {
		if err := options.SetIntraOpNumThreads(o.Threads); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	in, out, err := ort.GetInputOutputInfoWithOptions(path, options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if o.Trace != "" {
		if err := options.EnableProfiling(o.Trace); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	s := &ortSession{path: path}
	for _, i := range in {
		s.inputs = append(s.inputs, i.Name)
	}
	for _, o := range out {
		s.outputs = append(s.outputs, o.Name)
	}
	if s.session, err = ort.NewDynamicAdvancedSession(path, s.inputs, s.outputs, options); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (s *ortSession) Inputs() []string  { return s.inputs }
func (s *ortSession) Outputs() []string { return s.outputs }
func (s *ortSession) Close() error      { return s.session.Destroy() }

// elementTypes pairs the element types of both sides.
var elementTypes = map[tensor.DType]ort.TensorElementDataType{
	tensor.Float32: ort.TensorElementDataTypeFloat, tensor.Float16: ort.TensorElementDataTypeFloat16, tensor.BFloat16: ort.TensorElementDataTypeBFloat16,
	tensor.Float64: ort.TensorElementDataTypeDouble, tensor.Int64: ort.TensorElementDataTypeInt64, tensor.Int32: ort.TensorElementDataTypeInt32,
	tensor.Int16: ort.TensorElementDataTypeInt16, tensor.Int8: ort.TensorElementDataTypeInt8, tensor.Uint8: ort.TensorElementDataTypeUint8, tensor.Bool: ort.TensorElementDataTypeBool,
}

func (s *ortSession) Run(ctx context.Context, inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for name := range inputs {
		if !Has(s, name) {
			return nil, fmt.Errorf("%s: there is no input %q", s.path, name)
		}
	}
	var values []ort.Value
	defer func() {
		for _, v := range values {
			v.Destroy()
		}
	}()
	for _, name := range s.inputs {
		t := inputs[name]
		if t == nil {
			return nil, fmt.Errorf("%s: input %q is missing", s.path, name)
		}
		if t.Len() == 0 {
			return nil, fmt.Errorf("%s: input %q: %s has no elements, which the binding to ONNX Runtime does not pass on; --engine go does", s.path, name, t.Type())
		}
		v, err := ort.NewCustomDataTensor(ort.NewShape(t.Dims()...), append([]byte(nil), t.Bytes()...), elementTypes[t.DType()])
		if err != nil {
			return nil, fmt.Errorf("%s: input %q: %w", s.path, name, err)
		}
		values = append(values, v)
	}
	results := make([]ort.Value, len(s.outputs))
	if err := s.session.Run(values, results); err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	out := map[string]*tensor.Tensor{}
	for i, v := range results {
		t, err := fromORT(v)
		v.Destroy()
		if err != nil {
			return nil, fmt.Errorf("%s: output %q: %w", s.path, s.outputs[i], err)
		}
		out[s.outputs[i]] = t
	}
	return out, nil
}

// fromORT copies a result, whose memory is ONNX Runtime's.
func fromORT(v ort.Value) (*tensor.Tensor, error) {
	dims := []int64(v.GetShape())
	switch v := v.(type) {
	case *ort.Tensor[float32]:
		return tensor.FromFloat32(dims, append([]float32{}, v.GetData()...)), nil
	case *ort.Tensor[float64]:
		return tensor.FromFloat64(dims, append([]float64{}, v.GetData()...)), nil
	case *ort.Tensor[int64]:
		return tensor.FromInt64(dims, append([]int64{}, v.GetData()...)), nil
	case *ort.Tensor[int32]:
		return tensor.FromInt32(dims, append([]int32{}, v.GetData()...)), nil
	case *ort.Tensor[int8]:
		return tensor.FromInt8(dims, append([]int8{}, v.GetData()...)), nil
	case *ort.Tensor[uint8]:
		return tensor.FromUint8(dims, append([]uint8{}, v.GetData()...)), nil
	case *ort.Tensor[bool]:
		return tensor.FromBool(dims, v.GetData()), nil
	case *ort.CustomDataTensor:
		for d, e := range elementTypes {
			if e == ort.TensorElementDataType(v.DataType()) {
				return tensor.New(d, dims, append([]byte{}, v.GetData()...))
			}
		}
	case *ort.Scalar[float32]:
		return tensor.Scalar(v.GetData()), nil
	}
	return nil, fmt.Errorf("a value of type %T is not supported", v)
}

func versionORT(o Options) (string, error) {
	if err := startEnvironment(o.Library); err != nil {
		return "", err
	}
	return ort.GetVersion(), nil
}
