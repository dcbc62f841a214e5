package ir

import "fmt"

// Identify gives every value that a frontend computes its key as identity. Passes keep it where they replace a value by one that is the
// same, so that two models of one checkpoint can be compared value by value, whatever was done to each.
func Identify(g *Graph) {
	count := map[string]int{}
	for _, v := range g.Values {
		if v.IsConst() || v.IsInput() {
			continue
		}
		v.Of = v.Name + "/" + v.Op.Name
		count[v.Of]++
		if n := count[v.Of]; n > 1 {
			v.Of = fmt.Sprintf("%s#%d", v.Of, n)
		}
	}
}
