package passes

import (
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// maxFolded is the largest constant that folding materialises, in bytes. Larger ones would grow the file and the compiler's memory.
const maxFolded = 4 << 20

// maxFoldedSum bounds all that is materialised of a graph, in bytes.
const maxFoldedSum = 256 << 20

// foldConstants evaluates values that depend on constants alone.
func foldConstants(w *Work) error {
	sum := int64(0)
	return rewrite(w, "fold-constants", func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		dims, ok := v.Type.Static()
		if len(v.Args) == 0 || !allConst(v.Args) || !ok {
			return nil, nil
		}
		size, err := tensor.Elements(dims)
		if size *= v.Type.DType.Size(); err != nil || size > maxFolded {
			w.Miss(v, "its value is larger than %d MiB", maxFolded>>20)
			return nil, nil
		}
		if sum += size; sum > maxFoldedSum {
			w.Miss(v, "the values of the graph that are folded are larger than %d MiB", maxFoldedSum>>20)
			return nil, nil
		}
		t, err := ir.EvalConst(v)
		if err != nil {
			return nil, err
		}
		return b.Const(t), nil
	})
}
