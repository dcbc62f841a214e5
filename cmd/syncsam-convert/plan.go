package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/backends/portable"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/backends/tensorrt/plans"
	"syncsam-convert/internal/plain"
	"syncsam-convert/internal/trthost"
)

func planCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "plan",
		Short: "Build, inspect and check TensorRT plans; lint ONNX files for TensorRT",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("plan: no command; see syncsam-convert plan --help")
		},
	}
	c.AddCommand(planBuildCommand(), planInfoCommand(), planCheckCommand(), planLintCommand())
	for _, sub := range c.Commands() {
		sub.DisableFlagsInUseLine = true
	}
	return c
}

func planBuildCommand() *cobra.Command {
	var library string
	var progress bool
	c := &cobra.Command{
		Use:   "build DIR",
		Short: "Build the plans of a plan folder on this machine's GPU",
		Long: `Builds every plan that the recipe of DIR (an artifact of build --target tensorrt, or its plan folder) describes, with this machine's
TensorRT and GPU, and writes beside each what it is bound to. The timing cache is kept. Without TensorRT, a driver or trtexec the exit status is 2.`,
		Args: exactly(1, "one DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := plans.Open(args[0])
			if err != nil {
				return err
			}
			var lines io.Writer = io.Discard
			if progress {
				lines = cmd.ErrOrStderr()
			}
			return f.Build(cmd.Context(), library, lines, func(plan string, s trthost.Sidecar) {
				plain.Fprintf(cmd.OutOrStdout(), "%s: %d bytes, TensorRT %s, %s\n", plan, s.Bytes, s.TensorRT, s.GPU)
			})
		},
	}
	addLibrary(c, &library)
	c.Flags().BoolVar(&progress, "progress", false, "show what TensorRT reports")
	return c
}

func addLibrary(c *cobra.Command, library *string) {
	c.Flags().StringVar(library, "tensorrt-lib", "", "TensorRT's libnvinfer (default: $"+trthost.LibraryVariable+", then what the system's loader finds)")
}

func planInfoCommand() *cobra.Command {
	var asJSON string
	c := &cobra.Command{
		Use:   "info DIR|FILE",
		Short: "Show a plan folder's recipe and estimates, or what a plan file is bound to",
		Args:  exactly(1, "one DIR or FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if info, err := os.Stat(args[0]); err != nil {
				return err
			} else if !info.IsDir() {
				s, err := trthost.ReadSidecar(args[0])
				if err != nil {
					return err
				}
				if asJSON != "" {
					return putJSON(cmd, asJSON, s)
				}
				plain.Fprintf(out, "%s: TensorRT %s, %s (compute capability %s), driver for CUDA %s, %d bytes\n  of the model with sha256 %s\n",
					args[0], s.TensorRT, s.GPU, s.ComputeCapability, s.Driver, s.Bytes, s.ONNX)
				return nil
			}
			f, err := plans.Open(args[0])
			if err != nil {
				return err
			}
			if asJSON != "" {
				return putJSON(cmd, asJSON, f.Recipe)
			}
			printRecipe(out, f)
			return nil
		},
	}
	addJSON(c, &asJSON, "it")
	return c
}

func printRecipe(out io.Writer, f *plans.Folder) {
	r := f.Recipe
	var releases []string
	for _, s := range r.TensorRT {
		releases = append(releases, s.Release)
	}
	plain.Fprintf(out, "%s: %s, for TensorRT %s\n", f.Dir, r.Precision, strings.Join(releases, ", "))
	for _, e := range r.Engines {
		plain.Fprintf(out, "\n%s -> %s\n", e.ONNX, e.Plan)
		for _, p := range e.Inputs {
			plain.Fprintf(out, "  %-22s %s", p.Name, trthost.Shape(p.Opt))
			if !slices.Equal(p.Min, p.Max) {
				plain.Fprintf(out, "  (%s to %s)", trthost.Shape(p.Min), trthost.Shape(p.Max))
			}
			plain.Fprintf(out, "\n")
		}
		plain.Fprintf(out, "  estimate for %s (roofline, not measured): %.3f ms, %.2f G operations, %.1f MB\n", r.Device.Name, e.Estimate.Milliseconds, e.Estimate.Operations/1e9, e.Estimate.Bytes/1e6)
		for _, o := range e.Estimate.Ops {
			plain.Fprintf(out, "    %-20s %-5s %4d  %8.4f ms\n", o.Op, o.Precision, o.Count, o.Milliseconds)
		}
	}
}

func planCheckCommand() *cobra.Command {
	var library string
	c := &cobra.Command{
		Use:   "check DIR",
		Short: "Check that a folder's plans are those that were built, of its models, for this machine",
		Long: `Compares every file with its recorded hash, every plan with the model it was built of, and with this machine's TensorRT and GPU where it
has them. Exit status 1 when something does not fit.`,
		Args: exactly(1, "one DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := plans.Open(args[0])
			if err != nil {
				return err
			}
			here, err := f.Check(library, func(plan string, s trthost.Sidecar) {
				plain.Fprintf(cmd.OutOrStdout(), "%s: ok, TensorRT %s, %s\n", plan, s.TensorRT, s.GPU)
			})
			if err != nil {
				return err
			}
			if here != nil {
				plain.Fprintf(cmd.OutOrStdout(), "not held against this machine: %v\n", here)
			}
			return nil
		},
	}
	addLibrary(c, &library)
	return c
}

func planLintCommand() *cobra.Command {
	c := lintCommand()
	c.Use, c.Args = "lint FILE.onnx", exactly(1, "one FILE.onnx")
	c.Short = "Say what TensorRT refuses of an ONNX file, anyone's, and what it takes at a price"
	c.Long = "Holds a model against tables of operators, types, attributes and opsets per release, and against the rules of explicit quantization. Exit status 1 when a release refuses something."
	c.ResetFlags()
	var releases []string
	var asJSON string
	known := tensorrt.ReleaseNames()
	c.Flags().StringSliceVar(&releases, "release", known, "TensorRT releases to ask for")
	addJSON(c, &asJSON, "the findings")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var targets []string
		for _, name := range releases {
			if !slices.Contains(known, name) {
				return fmt.Errorf("--release: have %q, want one of %s", name, strings.Join(known, ", "))
			}
			targets = append(targets, portable.TensorRT(name))
		}
		return lint(cmd, args[0], targets, asJSON)
	}
	return c
}

func lintCommand() *cobra.Command {
	var targets []string
	var asJSON string
	c := &cobra.Command{
		Use:   "lint FILE.onnx|DIR",
		Short: "Say what runtimes refuse or read wrongly of ONNX files, anyone's",
		Long: "Holds models against the operators and attributes that are tried in every runtime (onnx), the forms that runtimes are known to read wrongly, and TensorRT's tables. " +
			"Exit status 1 when a target refuses something or computes it wrongly.",
		Example: "  syncsam-convert lint exported.onnx --target openvino,opencv",
		Args:    exactly(1, "one FILE.onnx or DIR"),
		RunE:    func(cmd *cobra.Command, args []string) error { return lint(cmd, args[0], targets, asJSON) },
	}
	c.Flags().StringSliceVar(&targets, "target", portable.Targets(), "what to hold it against")
	addJSON(c, &asJSON, "the findings")
	return c
}

func lint(cmd *cobra.Command, path string, targets []string, asJSON string) error {
	found, err := portable.Lint(path, targets)
	if err != nil {
		return err
	}
	if asJSON != "" {
		err = putJSON(cmd, asJSON, found)
	} else {
		portable.Print(cmd.OutOrStdout(), path, found, targets)
	}
	if n := portable.Errors(found); n > 0 && err == nil {
		return fmt.Errorf("%w: %s: %d places are refused, or computed wrongly", errRefused, path, n)
	}
	return err
}
