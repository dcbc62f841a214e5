package passes

// deadCode drops values that no output needs; inputs stay, for they are the graph's interface.
func deadCode(w *Work) error {
	w.Changed = w.Graph.Sweep()
	return nil
}
