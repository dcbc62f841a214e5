package ir

import (
	"fmt"
	"strings"
)

// Keys names every computed value of a graph: source path and operator, numbered where that is not unique. The same
// checkpoint and passes give the same keys.
func Keys(g *Graph) map[*Value]string {
	keys, count := map[*Value]string{}, map[string]int{}
	for _, v := range g.Values {
		if v.IsConst() {
			continue
		}
		base := v.Name + "/" + v.Op.Name
		count[base]++
		if n := count[base]; n > 1 {
			base = fmt.Sprintf("%s#%d", base, n)
		}
		keys[v] = base
	}
	return keys
}

// Identify gives every value that a frontend computes its key as identity. Passes keep it where they replace a value by one that is the
// same, so that two models of one checkpoint can be compared value by value, whatever was done to each.
func Identify(g *Graph) {
	for v, key := range Keys(g) {
		if !v.IsInput() {
			v.Of = key
		}
	}
}

// NameOf is the source path in a key of Keys.
func NameOf(key string) string { return key[:max(strings.LastIndex(key, "/"), 0)] }
