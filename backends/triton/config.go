package triton

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

// dataTypes are Triton's names of element types.
var dataTypes = map[tensor.DType]string{
	tensor.Float32: "TYPE_FP32", tensor.Float16: "TYPE_FP16", tensor.BFloat16: "TYPE_BF16", tensor.Float64: "TYPE_FP64", tensor.Int64: "TYPE_INT64", tensor.Int32: "TYPE_INT32",
	tensor.Int16: "TYPE_INT16", tensor.Int8: "TYPE_INT8", tensor.Uint8: "TYPE_UINT8", tensor.Bool: "TYPE_BOOL",
}

// A text is a message in protobuf's text format, in the making.
type text struct {
	strings.Builder
	depth int
}

func (t *text) line(format string, args ...any) {
	t.WriteString(strings.Repeat("  ", t.depth))
	fmt.Fprintf(t, format+"\n", args...)
}

// message writes a field that is a message.
func (t *text) message(name string, fields func()) {
	t.line("%s {", name)
	t.depth++
	fields()
	t.depth--
	t.line("}")
}

// batched reports whether a graph takes any number of items: the first dimension of all that it takes and gives is the same dynamic one.
func batched(all []onnxpb.Declared) bool {
	return !slices.ContainsFunc(all, func(d onnxpb.Declared) bool {
		return len(d.Dims) < 2 || d.Dims[0].Size >= 0 || d.Dims[0].Name == "" || d.Dims[0].Name != all[0].Dims[0].Name
	})
}

// configure writes a model's configuration.
func configure(name string, man *artifact.Manifest, s source, inputs, outputs []onnxpb.Declared, o Options) (string, error) {
	if err := fits(s, inputs, o); err != nil {
		return "", err
	}
	t := &text{}
	t.WriteString(heading(man, s))
	batch, first := int64(0), 0
	if len(inputs) > 0 && batched(append(slices.Clone(inputs), outputs...)) {
		batch, first = o.MaxBatch, 1
		if s.plan {
			batch = profileOf(s, inputs[0].Name).Max[0]
		}
	}
	t.line("name: %s", strconv.Quote(name))
	t.line("platform: %q", map[bool]string{false: "onnxruntime_onnx", true: "tensorrt_plan"}[s.plan])
	t.line("max_batch_size: %d", batch)
	for _, group := range []struct {
		field string
		all   []onnxpb.Declared
	}{{"input", inputs}, {"output", outputs}} {
		for _, d := range group.all {
			kind, err := dataType(s, d)
			if err != nil {
				return "", err
			}
			t.message(group.field, func() {
				t.line("name: %s", strconv.Quote(d.Name))
				t.line("data_type: %s", kind)
				t.line("dims: [ %s ]", joined(dims(d.Dims[first:])))
			})
		}
	}
	if batch > 1 {
		t.message("dynamic_batching", func() { t.line("max_queue_delay_microseconds: 1000") })
	}
	t.message("instance_group", func() {
		t.line("kind: %s", map[bool]string{false: "KIND_GPU", true: "KIND_CPU"}[o.Device == "cpu"])
		t.line("count: %d", instances(first))
	})
	t.message("model_warmup", func() {
		t.line(`name: "zeros"`)
		t.line("batch_size: 1")
		sizes := sizesOf()
		for _, d := range inputs {
			kind, _ := dataType(s, d) // it had one above
			t.message("inputs", func() {
				t.line("key: %s", strconv.Quote(d.Name))
				t.message("value", func() {
					t.line("data_type: %s", kind)
					t.line("dims: [ %s ]", joined(warm(s, d, sizes)[first:]))
					t.line("zero_data: true")
				})
			})
		}
	})
	for _, p := range [][2]string{{"syncsam.family", man.Family}, {"syncsam.precision", man.Precision}, {"syncsam.source_sha256", man.Source.SHA256}, {"syncsam.model_sha256", s.sum}} {
		t.message("parameters", func() {
			t.line("key: %s", strconv.Quote(p[0]))
			t.message("value", func() { t.line("string_value: %s", strconv.Quote(p[1])) })
		})
	}
	return t.String(), nil
}

// instances is how many of a model run at a time on a device: of the one that gathers batches one, of those that answer a prompt two.
func instances(first int) int {
	if first > 0 {
		return 1
	}
	return 2
}

// dataType is a tensor's. TensorRT before 10 takes int64 as int32.
func dataType(s source, d onnxpb.Declared) (string, error) {
	kind, ok := dataTypes[d.DType]
	if !ok {
		return "", fmt.Errorf("%s: Triton has no type for %s", d.Name, d.DType)
	}
	if s.plan && d.DType == tensor.Int64 && strings.HasPrefix(s.release, "8.") {
		kind = "TYPE_INT32"
	}
	return kind, nil
}

func dims(all []onnxpb.Dim) (out []int64) {
	for _, d := range all {
		out = append(out, d.Size)
	}
	return out
}

// warm is the shape of an input in the warm-up request: what a plan is tuned for, else the default sizes.
func warm(s source, d onnxpb.Declared, sizes map[string]int64) (out []int64) {
	if s.plan {
		return profileOf(s, d.Name).Opt
	}
	for _, dim := range d.Dims {
		size := dim.Size
		if size < 0 {
			size = max(sizes[dim.Name], 1)
		}
		out = append(out, size)
	}
	return out
}

// profileOf is a plan's profile of an input, which fits has found.
func profileOf(s source, input string) tensorrt.Profile {
	return s.profile[slices.IndexFunc(s.profile, func(p tensorrt.Profile) bool { return p.Name == input })]
}

// fits wants a plan's profile to be of the inputs that the model declares, and a plan to run on a GPU.
func fits(s source, inputs []onnxpb.Declared, o Options) error {
	if !s.plan {
		return nil
	}
	if o.Device == "cpu" {
		return errors.New("a plan runs on a GPU alone; --format onnx exports the model itself")
	}
	for _, in := range inputs {
		i := slices.IndexFunc(s.profile, func(p tensorrt.Profile) bool { return p.Name == in.Name })
		if i < 0 {
			return fmt.Errorf("input %q: the recipe has no profile of it", in.Name)
		}
		for _, shape := range [][]int64{s.profile[i].Opt, s.profile[i].Max} {
			if len(shape) != len(in.Dims) || slices.Min(append(shape, 1)) < 1 {
				return fmt.Errorf("input %q: the recipe has the shape %v, want %d sizes", in.Name, shape, len(in.Dims))
			}
		}
	}
	return nil
}

func joined(all []int64) string {
	var out []string
	for _, n := range all {
		out = append(out, strconv.FormatInt(n, 10))
	}
	return strings.Join(out, ", ")
}
