package ir

import (
	"crypto/sha256"
	"fmt"
)

// Fingerprints are equal for values, of one graph or of several, that compute the same from the same inputs: operators, attributes and
// constants are the same all the way back. Constants are the same when they are one tensor, as in clones.
func Fingerprints(g *Graph) map[*Value][sha256.Size]byte {
	of := make(map[*Value][sha256.Size]byte, len(g.Values))
	for _, v := range g.Values {
		h := sha256.New()
		fmt.Fprintf(h, "%s %v %s", v.Op.Name, v.Attrs, v.Type)
		switch {
		case v.IsConst():
			fmt.Fprintf(h, " %p", v.Const)
		case v.IsInput():
			fmt.Fprintf(h, " %q", v.Name)
		}
		for _, a := range v.Args {
			print := of[a] // zero for absent arguments
			h.Write(print[:])
		}
		of[v] = [sha256.Size]byte(h.Sum(nil))
	}
	return of
}
