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

// NameOf is the source path in a key of Keys.
func NameOf(key string) string { return key[:max(strings.LastIndex(key, "/"), 0)] }
