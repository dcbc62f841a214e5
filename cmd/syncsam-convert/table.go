package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"syncsam-convert/artifact"
	"syncsam-convert/golden"
)

// columns are the prompt modes under the names of the paper's tables.
var columns = []struct{ mode, title string }{{"box", "Bbox"}, {"point1", "1 pt"}, {"points5", "5 pts"}}

// paperRows names the row of a family in the paper's tables, by table where they differ.
var paperRows = map[string]map[string]string{
	"sam-vit-b": {"": "SAM"}, "sam-vit-l": {"": "SAM"}, "sam-vit-h": {"": "SAM"}, "medsam": {"": "MedSAM"}, "sam-med2d": {"": "SAM-Med2D"}, "ft-sam": {"": "FT-SAM"},
	"syncsam-34":          {"2": "SyncSAM-SAMed-34", "3": "SyncSAM-IMed-34"},
	"syncsam-50":          {"2": "SyncSAM-SAMed-50", "3": "SyncSAM-IMed-50"},
	"scribbleprompt-unet": {"": "ScribblePrompt-UNet"}, "scribbleprompt-sam": {"": "ScribblePrompt-SAM"}, "imis-net": {"": "IMIS-Net"},
}

// runTable verifies several artifacts by one protocol and prints a table.
func (f *verifyFlags) runTable(cmd *cobra.Command, dirs []string) error {
	if f.table != "" && (f.data == "" || f.golden != "") {
		return fmt.Errorf("--table: needs --data, and no --golden")
	}
	if tables, err := golden.Paper(); err != nil {
		return err
	} else if _, ok := tables[f.table]; !ok && f.table != "" {
		return fmt.Errorf("--table: have %q, want one of %s", f.table, strings.Join(slices.Sorted(maps.Keys(tables)), ", "))
	}
	if f.table == "" && strings.HasPrefix(f.golden, paperScheme) {
		return fmt.Errorf("--golden %s: one row is for one artifact; --table N takes several", f.golden)
	}
	if f.junit != "" || f.html != "" || f.json != "" {
		return fmt.Errorf("--json, --junit, --html: only for one artifact")
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "system")
	for _, c := range columns {
		fmt.Fprintf(w, "\t%s", c.title)
	}
	fmt.Fprintln(w)
	failed := 0
	for _, dir := range dirs {
		man, err := artifact.Read(dir)
		if err != nil {
			return err
		}
		one := *f
		if f.table != "" {
			row := paperRows[man.Family][""]
			if row == "" {
				row = paperRows[man.Family][f.table]
			}
			one.golden = paperScheme + f.table + "/" + row
			if _, _, err := golden.LookupPaper(one.golden[len(paperScheme):]); err != nil { // the table has no such row
				one.golden = unpublished
			}
			if !cmd.Flags().Changed("tolerance") {
				one.tolerance = paperTolerance
			}
		}
		r, err := one.verify(cmd, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		fmt.Fprintf(w, "%s (%s, %s)", filepath.Base(dir), man.Family, man.Precision)
		for _, c := range columns {
			m, ok := r.Modes[c.mode]
			switch {
			case !ok:
				fmt.Fprint(w, "\t-")
			case m.Want == 0:
				fmt.Fprintf(w, "\t%.1f", 100*m.Have)
			default:
				fmt.Fprintf(w, "\t%.1f (%.1f)", 100*m.Have, 100*m.Want)
			}
		}
		fmt.Fprintln(w)
		if !r.Pass {
			failed++
		}
	}
	what := "the golden set's"
	if f.table != "" {
		what = "table " + f.table + " of the paper's"
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "mean DSC in percent; in brackets %s\n", what)
	if failed > 0 {
		return fmt.Errorf("%w: %d of %d systems are below", errMismatch, failed, len(dirs))
	}
	return nil
}
