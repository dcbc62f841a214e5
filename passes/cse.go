package passes

import (
	"fmt"
	"slices"
	"strings"

	"syncsam-convert/ir"
)

// maxCompared is the largest constant that cse compares by content, in bytes; weights keep their own names.
const maxCompared = 64

// cse replaces a value by an earlier one of the same op, attributes, type and arguments.
func cse(w *Work) error {
	g := w.Graph
	first := map[string]*ir.Value{}
	for _, v := range slices.Clone(g.Values) {
		key, ok := valueKey(v)
		if !ok {
			continue
		}
		same := first[key]
		if same == nil {
			first[key] = v
			continue
		}
		name, from := same.Name, same.From
		if err := g.Replace("cse", v, same); err != nil {
			return err
		}
		same.Name, same.From = name, from // it is what it was
		w.Changed++
	}
	return nil
}

// valueKey is equal for values that compute the same.
func valueKey(v *ir.Value) (string, bool) {
	switch {
	case v.IsInput():
		return "", false
	case v.IsConst():
		if v.Const.NumBytes() > maxCompared {
			return "", false
		}
		return fmt.Sprintf("Constant %s %x", v.Type, v.Const.Bytes()), true
	}
	var key strings.Builder
	fmt.Fprintf(&key, "%s %v %s", v.Op.Name, v.Attrs, v.Type)
	for _, a := range v.Args {
		if a == nil {
			key.WriteString(" _")
			continue
		}
		fmt.Fprintf(&key, " %d", a.ID)
	}
	return key.String(), true
}
