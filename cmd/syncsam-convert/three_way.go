package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"syncsam-convert/engine"
	"syncsam-convert/golden"
)

// runThreeWay prints the golden results, the artifact's and its plan folder's side by side: what quantization costs, and what the plan
// costs beyond it. With --engine tensorrt the plans run and the artifact runs on ONNX Runtime; else one engine runs both models.
func (f *verifyFlags) runThreeWay(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("--three-way: have %d artifacts, want one", len(args))
	}
	first := *f
	if f.engine == engine.TensorRT {
		first.engine = engine.ONNXRuntime
	}
	artifact, err := first.verify(cmd, args[0])
	if err != nil {
		return err
	}
	plan, err := f.verify(cmd, filepath.Join(args[0], planFolder))
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%-8s %10s  %22s  %22s\n", "DSC", "golden", "artifact on "+first.engine, "plan on "+f.engine)
	for _, mode := range golden.Modes {
		a, ok := artifact.Modes[mode]
		if !ok {
			continue
		}
		p := plan.Modes[mode]
		fmt.Fprintf(out, "%-8s %10.4f  %12.4f (%+7.3f)  %12.4f (%+7.3f)\n", mode, a.Want, a.Have, 100*(a.Have-a.Want), p.Have, 100*(p.Have-a.Have))
	}
	fmt.Fprintln(out, "differences are in DSC points: the artifact's from the golden result, the plan's from the artifact")
	if err := mismatch(artifact); err != nil {
		return err
	}
	return mismatch(plan)
}
