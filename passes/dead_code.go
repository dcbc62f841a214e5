package passes

import "syncsam-convert/ir"

// deadCode drops values that no output needs; inputs stay, for they are the graph's interface.
func deadCode(g *ir.Graph) (int, error) { return g.Sweep(), nil }
