package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/compile"
	"syncsam-convert/internal/onnxpb"
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

// readPlanFolder finds the plan folder in an artifact (or is given it), holds its files against its manifest, and reads its recipe.
func readPlanFolder(dir string) (string, *tensorrt.Recipe, error) {
	if _, err := os.Stat(filepath.Join(dir, compile.PlanFolder, tensorrt.RecipeName)); err == nil {
		dir = filepath.Join(dir, compile.PlanFolder)
	}
	path := filepath.Join(dir, tensorrt.RecipeName)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil, fmt.Errorf("%s: no plan folder: it has no %s; build --target tensorrt makes one", dir, tensorrt.RecipeName)
	}
	if err != nil {
		return "", nil, err
	}
	r, err := tensorrt.ParseRecipe(text)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, e := range r.Engines {
		for _, name := range []string{e.ONNX, e.Plan} {
			if name == "" || name != filepath.Base(name) {
				return "", nil, fmt.Errorf("%s: engines: have file %q, want a name in the folder", path, name)
			}
		}
	}
	man, err := artifact.Read(dir)
	if err != nil {
		return "", nil, err
	}
	return dir, r, man.Verify(dir)
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
			dir, r, err := readPlanFolder(args[0])
			if err != nil {
				return err
			}
			host, err := trthost.Find(library)
			if err != nil {
				return fmt.Errorf("plan build: %w", err)
			}
			flags, err := r.FlagsFor(host.Library.Version)
			if err != nil {
				return err
			}
			var lines io.Writer = io.Discard
			if progress {
				lines = cmd.ErrOrStderr()
			}
			for _, e := range r.Engines {
				plan := filepath.Join(dir, e.Plan)
				if err := host.Build(cmd.Context(), dir, e.Plan, r.Arguments(e, flags), lines); err != nil {
					return err
				}
				sum, size, err := artifact.Hash(plan)
				if err != nil {
					return err
				}
				s := trthost.Sidecar{TensorRT: host.Library.Version, GPU: host.GPU.Name, ComputeCapability: host.GPU.ComputeCapability, Driver: host.GPU.Driver, ONNX: e.SHA256, Plan: sum, Bytes: size}
				if err := s.Write(plan); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes, TensorRT %s, %s\n", plan, size, s.TensorRT, s.GPU)
			}
			return nil
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
	var asJSON bool
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
				if asJSON {
					return writeJSON(out, s)
				}
				fmt.Fprintf(out, "%s: TensorRT %s, %s (compute capability %s), driver for CUDA %s, %d bytes\n  of the model with sha256 %s\n",
					args[0], s.TensorRT, s.GPU, s.ComputeCapability, s.Driver, s.Bytes, s.ONNX)
				return nil
			}
			dir, r, err := readPlanFolder(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(out, r)
			}
			var releases []string
			for _, s := range r.TensorRT {
				releases = append(releases, s.Release)
			}
			fmt.Fprintf(out, "%s: %s, for TensorRT %s\n", dir, r.Precision, strings.Join(releases, ", "))
			for _, e := range r.Engines {
				fmt.Fprintf(out, "\n%s -> %s\n", e.ONNX, e.Plan)
				for _, p := range e.Inputs {
					fmt.Fprintf(out, "  %-22s %s", p.Name, trthost.Shape(p.Opt))
					if !slices.Equal(p.Min, p.Max) {
						fmt.Fprintf(out, "  (%s to %s)", trthost.Shape(p.Min), trthost.Shape(p.Max))
					}
					fmt.Fprintln(out)
				}
				fmt.Fprintf(out, "  estimate for %s (roofline, not measured): %.3f ms, %.2f G operations, %.1f MB\n", r.Device.Name, e.Estimate.Milliseconds, e.Estimate.Operations/1e9, e.Estimate.Bytes/1e6)
				for _, o := range e.Estimate.Ops {
					fmt.Fprintf(out, "    %-20s %-5s %4d  %8.4f ms\n", o.Op, o.Precision, o.Count, o.Milliseconds)
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
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
			dir, r, err := readPlanFolder(args[0])
			if err != nil {
				return err
			}
			lib, here := trthost.FindLibrary(library)
			gpu, gpuErr := trthost.FindGPU()
			if here == nil {
				here = gpuErr
			}
			for _, e := range r.Engines {
				plan := filepath.Join(dir, e.Plan)
				if _, err := os.Stat(plan); errors.Is(err, os.ErrNotExist) {
					return fmt.Errorf("%s: it is not built yet; plan build %s builds it", plan, args[0])
				}
				s, err := trthost.ReadSidecar(plan)
				if err != nil {
					return err
				}
				sum, _, err := artifact.Hash(plan)
				switch {
				case err != nil:
					return err
				case sum != s.Plan:
					return fmt.Errorf("%w: %s: have sha256 %s, want %s as its sidecar says", errDiffer, plan, sum, s.Plan)
				case e.SHA256 != s.ONNX:
					return fmt.Errorf("%w: %s: it was built of another model (sha256 %s) than %s", errDiffer, plan, s.ONNX, e.ONNX)
				case here == nil:
					if err := s.Suits(lib, gpu); err != nil {
						return fmt.Errorf("%w: %s: %w", errDiffer, plan, err)
					}
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: ok, TensorRT %s, %s\n", plan, s.TensorRT, s.GPU)
			}
			if here != nil {
				fmt.Fprintf(cmd.OutOrStdout(), "not held against this machine: %v\n", here)
			}
			return nil
		},
	}
	addLibrary(c, &library)
	return c
}

func planLintCommand() *cobra.Command {
	var asJSON bool
	var releases []string
	var known []string
	for _, r := range tensorrt.Releases {
		known = append(known, r.Name)
	}
	c := &cobra.Command{
		Use:   "lint FILE.onnx",
		Short: "Say what TensorRT refuses of an ONNX file, anyone's, and what it takes at a price",
		Long:  "Holds a model against tables of operators, types, attributes and opsets per release, and against the rules of explicit quantization. Exit status 1 when a release refuses something.",
		Args:  exactly(1, "one FILE.onnx"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := onnxpb.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			all, refused := []tensorrt.Finding{}, 0
			for _, name := range releases {
				i := slices.IndexFunc(tensorrt.Releases, func(r tensorrt.Release) bool { return r.Name == name })
				if i < 0 {
					return fmt.Errorf("--release: have %q, want one of %s", name, strings.Join(known, ", "))
				}
				for _, found := range tensorrt.Lint(f, tensorrt.Releases[i]) {
					all = append(all, found)
					if found.Severity == tensorrt.Refused {
						refused++
					}
				}
			}
			out := cmd.OutOrStdout()
			if asJSON {
				if err := writeJSON(out, all); err != nil {
					return err
				}
			} else {
				for _, found := range all {
					fmt.Fprintf(out, "TensorRT %s: %s: %s: %s (%s): %s; %s\n", found.Release, found.Severity, found.Node, found.Op, found.Rule, found.Problem, found.Way)
				}
				fmt.Fprintf(out, "%s: %d findings for TensorRT %s\n", args[0], len(all), strings.Join(releases, ", "))
			}
			if refused > 0 {
				return fmt.Errorf("%w: %s: TensorRT refuses %d places", errRefused, args[0], refused)
			}
			return nil
		},
	}
	c.Flags().StringSliceVar(&releases, "release", known, "TensorRT releases to ask for")
	c.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return c
}
