// Command syncsam-convert compiles medical segmentation checkpoints into verified ONNX artifacts.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"syncsam-convert/backends/tensorrt/plans"
	"syncsam-convert/golden"
	"syncsam-convert/internal/version"

	"github.com/spf13/cobra"

	"syncsam-convert/engine"
)

// Exit codes, as the contract fixes them.
const (
	exitMismatch = 1 // the artifact does not meet its golden results
	exitError    = 2 // bad usage, unreadable or hostile input, a missing engine
)

// What makes the exit status 1 beside a golden.ErrMismatch: two things compared that differ, a model that a target refuses.
var (
	errDiffer  = errors.New("they differ")
	errRefused = errors.New("the target refuses the model")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes one command line and gives its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(stderr, "syncsam-convert: internal error: %v\n%s", r, debug.Stack())
			code = exitError
		}
	}()
	root := newRoot()
	root.SetArgs(bareJSON(args))
	root.SetOut(stdout)
	root.SetErr(stderr)
	_, err := engine.CPU()
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		return 0
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(stderr, "syncsam-convert: %s\n", strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
	if errors.Is(err, golden.ErrMismatch) || errors.Is(err, errDiffer) || errors.Is(err, errRefused) || errors.Is(err, plans.ErrStale) {
		return exitMismatch
	}
	return exitError
}

// bareJSON lets verify's --json stand without a file, as that of all other commands: then it means standard output.
func bareJSON(args []string) []string {
	out := slices.Clone(args)
	for i, a := range out {
		if len(out) > 0 && out[0] == "verify" && a == "--json" && (i+1 == len(out) || strings.HasPrefix(out[i+1], "-") && out[i+1] != "-") {
			out[i] = "--json=-"
		}
	}
	return out
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "syncsam-convert",
		Short:         "Compiles medical segmentation checkpoints into verified ONNX artifacts",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version.Get().String(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return errors.New("no command; see syncsam-convert --help")
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(buildCommand(), verifyCommand(), inspectCommand(), execCommand(), runCommand(), calibrateCommand(), compareCommand(), benchCommand(), planCommand(), datasetCommand(), pictureCommand(), goldenCommand())
	for _, c := range root.Commands() {
		c.DisableFlagsInUseLine = true
	}
	return root
}
