// Package tensorrt knows what TensorRT takes: it lints ONNX files, writes the recipe that builds plans of them, and estimates their time.
package tensorrt

import (
	_ "embed"
	"slices"
	"strings"

	"syncsam-convert/internal/onnxpb"
)

// A Release is a TensorRT series as far as rules differ.
type Release struct {
	Name               string
	MinOpset, MaxOpset int64
	typed              bool // strongly typed networks only
	column             int  // of operators.txt
	more               []string
}

// Releases are those that rules are known for. 8.6 and 10: onnx-tensorrt's branches 8.6-GA and 10.1-GA. 11: NVIDIA's "ONNX Opset Guide"
// and "Migrating from TensorRT 10.x to 11.x"; its operators are taken to be those of 10 and Attention, which came with 10.14.
var Releases = []Release{
	{Name: "8.6", MinOpset: 9, MaxOpset: 17, column: 1},
	{Name: "10", MinOpset: 9, MaxOpset: 20, column: 2},
	{Name: "11", MinOpset: 9, MaxOpset: 25, typed: true, column: 2, more: []string{"Attention"}},
}

// ReleaseNames lists the names of Releases.
func ReleaseNames() (names []string) {
	for _, r := range Releases {
		names = append(names, r.Name)
	}
	return names
}

//go:embed operators.txt
var operatorText string

// operators has the types that each release's parser takes for an operator's data; nil where it does not take the operator.
var operators = func() map[string][3][]string {
	all := map[string][3][]string{}
	for line := range strings.Lines(operatorText) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] == "#" {
			continue
		}
		var types [3][]string
		for i, list := range f {
			if i > 0 && list != "-" {
				types[i] = strings.Split(list, ",")
			}
		}
		all[f[0]] = types
	}
	return all
}()

// takes gives the types of an operator's data in a release, false where the operator is not supported.
func (r Release) takes(op string) ([]string, bool) {
	if slices.Contains(r.more, op) {
		return []string{"f32", "f16", "bf16"}, true
	}
	types := operators[op][r.column]
	return types, types != nil
}

// typeNames are ONNX's element types in the words of operators.txt.
var typeNames = map[onnxpb.TensorProto_DataType]string{
	onnxpb.TensorProto_FLOAT: "f32", onnxpb.TensorProto_FLOAT16: "f16", onnxpb.TensorProto_BFLOAT16: "bf16", onnxpb.TensorProto_DOUBLE: "f64",
	onnxpb.TensorProto_INT32: "i32", onnxpb.TensorProto_INT64: "i64", onnxpb.TensorProto_INT8: "i8", onnxpb.TensorProto_UINT8: "u8",
	onnxpb.TensorProto_BOOL: "bool", onnxpb.TensorProto_INT16: "i16", onnxpb.TensorProto_UINT16: "u16", onnxpb.TensorProto_UINT32: "u32",
	onnxpb.TensorProto_UINT64: "u64", onnxpb.TensorProto_STRING: "string",
}
