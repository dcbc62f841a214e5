package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/golden"
	"syncsam-convert/internal/plain"
)

func goldenCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "golden",
		Short: "Make golden folders",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("golden: no command; see syncsam-convert golden --help")
		},
	}
	c.AddCommand(goldenMakeCommand())
	for _, sub := range c.Commands() {
		sub.DisableFlagsInUseLine = true
	}
	return c
}

func goldenMakeCommand() *cobra.Command {
	var r golden.Request
	var out string
	var progress bool
	c := &cobra.Command{
		Use:   "make ARTIFACT --data DATA -o GOLDEN",
		Short: "Make a golden folder from a trusted artifact and your own data",
		Long: `Runs an artifact that is trusted over a data set, makes the prompts from its masks, and writes what they give as a golden folder (docs/golden.md)
that build --golden and verify --golden take. The data are copied into it. Items whose result hangs on rounding are marked.`,
		Example: "  syncsam-convert golden make float --data my-data -o my-golden\n  syncsam-convert build new.pth -o new --precision int8 --calib images/ --golden my-golden",
		Args:    exactly(1, "one ARTIFACT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return fmt.Errorf("-o: it is needed")
			}
			b := newBar(cmd, progress)
			defer b.done()
			r.Progress = func(done, total int) { b.at("masks", done, total) }
			f, err := r.Make(cmd.Context(), args[0], out)
			if err != nil {
				return err
			}
			b.done()
			plain.Fprintf(cmd.OutOrStdout(), "%s: %d items\n", out, len(f.Items))
			for _, mode := range golden.Modes {
				if dsc, ok := f.Summary[mode]; ok {
					plain.Fprintf(cmd.OutOrStdout(), "  %-8s DSC %.4f\n", mode, dsc)
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&r.Data, "data", "", "the data set's folder")
	c.Flags().StringVar(&r.Prompts, "prompts", strings.Join(golden.Modes, ","), "prompt modes")
	c.Flags().StringVarP(&out, "output", "o", "", "golden folder to write")
	writes(c, "output")
	addProgress(c, &progress)
	addEngine(c, &r.Engine, &r.Options)
	return c
}
