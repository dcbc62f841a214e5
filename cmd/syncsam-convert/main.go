// Command syncsam-convert compiles medical segmentation checkpoints into verified ONNX artifacts.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"syncsam-convert/backends/tensorrt/plans"
	"syncsam-convert/golden"
	"syncsam-convert/internal/early"
	"syncsam-convert/internal/guard"
	"syncsam-convert/internal/memory"
	"syncsam-convert/internal/plain"
	"syncsam-convert/internal/version"
	"syncsam-convert/signature"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
	early.Quiet()
	log.SetOutput(io.Discard)                               // libraries have nothing to say that an error does not
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a pipe that is closed is an error of the write
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes one command line and gives its exit code. All that it prints passes through package plain.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	out, problems := plain.NewWriter(stdout), plain.NewWriter(stderr)
	err := guard.Do(func() error { return execute(ctx, args, out, problems) })
	if failed := out.Close(); failed != nil { // the result did not arrive
		err = errors.Join(err, fmt.Errorf("standard output: %w", failed))
	}
	if err == nil {
		return 0
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	line := strings.NewReplacer("\n\nDid you mean this?\n\t", "; did you mean ", "\n\t", ", ", "\n", "; ").Replace(strings.TrimSpace(err.Error()))
	io.WriteString(stderr, "syncsam-convert: "+plain.Text(line, plain.MostError)+"\n")
	if errors.Is(err, golden.ErrMismatch) || errors.Is(err, errDiffer) || errors.Is(err, errRefused) || errors.Is(err, plans.ErrStale) || errors.Is(err, signature.ErrInvalid) {
		return exitMismatch
	}
	return exitError
}

func execute(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	root := newRoot()
	root.SetArgs(jsonFile(args))
	root.SetOut(stdout)
	root.SetErr(stderr)
	if _, err := engine.CPU(); err != nil {
		return err
	}
	c, err := root.ExecuteContextC(ctx)
	if err != nil && bare(c) {
		printHelp(stdout, c, false)
	}
	return err
}

// jsonFile lets verify's --json be followed by its file, as the contract has it; that of other commands stands before an argument.
func jsonFile(args []string) []string {
	out := []string{} // of nil cobra would take the process's own
	for i := 0; i < len(args); i++ {
		if a := args[i]; args[0] == "verify" && a == "--json" && i+1 < len(args) && (args[i+1] == "-" || !strings.HasPrefix(args[i+1], "-")) {
			out = append(out, "--json="+args[i+1])
			i++
			continue
		}
		out = append(out, args[i])
	}
	return out
}

// more are commands that builds with a tag have.
var more []func() *cobra.Command

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
	root.PersistentPreRunE = before
	root.SetFlagErrorFunc(nearest)
	root.PersistentFlags().Bool("plain-http", false, "reach registries without encryption, for one on this machine")
	root.PersistentFlags().Var(memory.Flag{}, "max-memory", "most memory that what inputs unpack to may take, such as 2GB (default a quarter of the machine's)")
	root.AddCommand(
		buildCommand(),
		verifyCommand(),
		inspectCommand(),
		execCommand(),
		runCommand(),
		calibrateCommand(),
		mergeCommand(),
		compareCommand(),
		benchCommand(),
		planCommand(),
		lintCommand(),
		datasetCommand(),
		pictureCommand(),
		goldenCommand(),
		serveCommand(),
		exportCommand(),
		pushCommand(),
		pullCommand(),
		signCommand(),
		manifestCommand(),
		doctorCommand(),
	)
	for _, command := range more {
		root.AddCommand(command())
	}
	for _, c := range root.Commands() {
		c.DisableFlagsInUseLine = true
	}
	addHelp(root)
	return root
}

// nearest adds the flags to an error about an unknown one that are spelt like it.
func nearest(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	names := &cobra.Command{SuggestionsMinimumDistance: 2}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		names.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	})
	if near := names.SuggestionsFor(unknown.GetSpecifiedName()); len(near) > 0 {
		return fmt.Errorf("%w; did you mean --%s", err, strings.Join(near, ", --"))
	}
	return err
}
