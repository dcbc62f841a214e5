package golden

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/artifact"
	"syncsam-convert/engine"
	"syncsam-convert/segment"
)

// PaperScheme starts the name of a published result: "paper:2/SyncSAM-SAMed-50".
const PaperScheme = "paper:"

// PaperTolerance is how many DSC points a mean may be below a published one: those have one decimal and depend on the test set's composition.
const PaperTolerance = 0.5

// A Request says what to verify an artifact against, as the command line and programs ask for it.
type Request struct {
	Golden    string // a golden folder, or PaperScheme TABLE/ROW with Data
	Data      string // a data set's folder, in an arrangement that package dataset knows
	Prompts   string // comma-separated modes; "": all
	Engine    string
	Options   engine.Options
	Tolerance *float64 // DSC points; nil: DefaultTolerance, or PaperTolerance for published results
	Closed    bool
	MaxDrop   *float64
	Keep      int                   // how many items keep pictures for the report
	Progress  func(done, total int) // of masks; total is -1 where it is not known
	want      map[string]float64    // published means, for a table
	title     string
}

func (r Request) published() bool { return strings.HasPrefix(r.Golden, PaperScheme) || r.title != "" }

// settings are those of a verification.
func (r Request) settings() (Settings, error) {
	s := Settings{Tolerance: DefaultTolerance, Closed: r.Closed, MaxDrop: r.MaxDrop, Keep: r.Keep, Modes: Modes}
	if r.published() {
		s.Tolerance = PaperTolerance
	}
	if r.Tolerance != nil {
		if s.Tolerance = *r.Tolerance; !(s.Tolerance >= 0) {
			return s, fmt.Errorf("--tolerance: have %g, want 0 or more DSC points", s.Tolerance)
		}
	}
	if r.Prompts != "" {
		var err error
		if s.Modes, err = ParseModes(r.Prompts); err != nil {
			return s, fmt.Errorf("--prompts: %w", err)
		}
	}
	return s, nil
}

// Run verifies the artifact in a folder.
func (r Request) Run(ctx context.Context, dir string) (*Report, error) {
	s, err := r.settings()
	if err != nil {
		return nil, err
	}
	key, _ := strings.CutPrefix(r.Golden, PaperScheme)
	switch {
	case r.Golden == "" && r.title == "":
		return nil, fmt.Errorf("--golden: missing, want a golden folder or %sTABLE/ROW", PaperScheme)
	case r.published() && r.Data == "":
		return nil, fmt.Errorf("--data: missing: %s%s is compared on your own data set", PaperScheme, key)
	case !r.published() && r.Data != "":
		return nil, fmt.Errorf("--data: only with --golden %sTABLE/ROW", PaperScheme)
	case r.Options.Threads < 0:
		return nil, fmt.Errorf("--threads: have %d, want 0 or more", r.Options.Threads)
	}
	var file *File
	total, want, title := -1, r.want, r.title
	switch {
	case r.title != "":
	case r.published():
		if want, title, err = LookupPaper(key); err != nil {
			return nil, err
		}
	default:
		if info, err := os.Stat(r.Golden); err != nil {
			return nil, err
		} else if !info.IsDir() {
			return nil, fmt.Errorf("%s: not a golden folder", r.Golden)
		}
		if file, err = Read(r.Golden); err != nil {
			return nil, err
		}
		total = len(file.Items)
	}
	p, err := segment.Open(dir, r.Engine, r.Options)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	done := 0
	s.Seen = func() {
		done++
		if r.Progress != nil {
			r.Progress(done, total)
		}
	}
	if file != nil {
		return Verify(ctx, p, file, s)
	}
	return VerifyData(ctx, p, r.Data, want, title, s)
}

// paperRows names the row of a family in the paper's tables, by table where they differ.
var paperRows = map[string]map[string]string{
	"sam-vit-b": {"": "SAM"}, "sam-vit-l": {"": "SAM"}, "sam-vit-h": {"": "SAM"}, "medsam": {"": "MedSAM"}, "sam-med2d": {"": "SAM-Med2D"}, "ft-sam": {"": "FT-SAM"},
	"syncsam-34":          {"2": "SyncSAM-SAMed-34", "3": "SyncSAM-IMed-34"},
	"syncsam-50":          {"2": "SyncSAM-SAMed-50", "3": "SyncSAM-IMed-50"},
	"scribbleprompt-unet": {"": "ScribblePrompt-UNet"}, "scribbleprompt-sam": {"": "ScribblePrompt-SAM"}, "imis-net": {"": "IMIS-Net"},
}

// A Row is one artifact in a table.
type Row struct {
	Name   string // of the artifact's folder, with family and precision
	Report *Report
}

// Table verifies several artifacts by one request: against one golden folder, or each against its family's row in a table of the paper
// ("" for none), where the paper has one.
func Table(ctx context.Context, dirs []string, table string, r Request) ([]Row, error) {
	if table != "" {
		tables, err := Paper()
		if err != nil {
			return nil, err
		}
		if _, ok := tables[table]; !ok {
			return nil, fmt.Errorf("--table: have %q, want one of %s", table, strings.Join(slices.Sorted(maps.Keys(tables)), ", "))
		}
		if r.Data == "" || r.Golden != "" {
			return nil, fmt.Errorf("--table: needs --data, and no --golden")
		}
	} else if r.published() {
		return nil, fmt.Errorf("--golden %s: one row is for one artifact; --table N takes several", r.Golden)
	}
	var rows []Row
	for _, dir := range dirs {
		man, err := artifact.Read(dir)
		if err != nil {
			return nil, err
		}
		one := r
		if table != "" {
			row := paperRows[man.Family][""]
			if row == "" {
				row = paperRows[man.Family][table]
			}
			if one.want, one.title, err = LookupPaper(table + "/" + row); err != nil {
				one.want, one.title = nil, "no published result"
			}
		}
		report, err := one.Run(ctx, dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		rows = append(rows, Row{fmt.Sprintf("%s (%s, %s)", filepath.Base(dir), man.Family, man.Precision), report})
	}
	return rows, nil
}
