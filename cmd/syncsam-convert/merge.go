package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"syncsam-convert/calib"
	"syncsam-convert/golden"
	"syncsam-convert/golden/items"
	"syncsam-convert/internal/plain"
)

func mergeCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "merge FILE... -o FILE",
		Short: "Put the files of a run's shards together",
		Long: `Puts together what verify --shard i/n --items FILE or calibrate --shard i/n -o FILE wrote: the result is the file of one run, to the bit, in any
order of the files; a shard that is given twice counts once. Shards of other artifacts, data or flags, unfinished ones and missing ones are
named and nothing is written. What the files are is told by their content. Beside FILE.csv lie FILE.csv.run and FILE.csv.measured, which belong
to it; verify DIR --data DATA --items MERGED --resume then reports and judges without running the model.`,
		Example: "  syncsam-convert merge part-*.csv -o items.csv\n  syncsam-convert merge part-*.safetensors -o statistics.safetensors",
		Args:    atLeast(1, "one FILE or more"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return fmt.Errorf("-o: missing, want the file to write")
			}
			return merge(cmd, args, out)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "file to write: of items .csv or .jsonl")
	writes(c, "output")
	return c
}

func merge(cmd *cobra.Command, files []string, out string) error {
	statistics := calib.IsStatistics(files[0])
	for _, path := range files {
		if _, err := os.Stat(path); err != nil {
			return err
		}
		switch is := calib.IsStatistics(path); {
		case !is && !items.Is(path):
			return fmt.Errorf("%s: have neither a file of items (.csv, .jsonl) nor calibration statistics", path)
		case is != statistics:
			return fmt.Errorf("%s: have another kind of file than %s: want items alone, or calibration statistics alone", path, files[0])
		}
	}
	if statistics {
		s, err := calib.Merge(files)
		if err == nil {
			err = s.WriteFile(out)
		}
		if err == nil {
			plain.Fprintf(cmd.OutOrStdout(), "%s: %d values over %d images\n", out, len(s.Values), s.Images)
		}
		return err
	}
	n, err := golden.Merge(files, out)
	if err == nil {
		plain.Fprintf(cmd.OutOrStdout(), "%s: %d items\n", out, n)
	}
	return err
}
