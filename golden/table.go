package golden

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/artifact"
)

// paperRows names the row of a family in the paper's tables, by table where they differ.
var paperRows = map[string]map[string]string{
	"sam-vit-b": {"": "SAM"}, "sam-vit-l": {"": "SAM"}, "sam-vit-h": {"": "SAM"}, "medsam": {"": "MedSAM"}, "sam-med2d": {"": "SAM-Med2D"}, "ft-sam": {"": "FT-SAM"},
	"syncsam-34":          {"2": "SyncSAM-SAMed-34", "3": "SyncSAM-IMed-34"},
	"syncsam-50":          {"2": "SyncSAM-SAMed-50", "3": "SyncSAM-IMed-50"},
	"scribbleprompt-unet": {"": "ScribblePrompt-UNet"}, "scribbleprompt-sam": {"": "ScribblePrompt-SAM"}, "imis-net": {"": "IMIS-Net"},
}

// A Row is one artifact in a table.
type Row struct {
	Name   string  `json:"name"` // of the artifact's folder, with family and precision
	Report *Report `json:"report"`
}

// ThreeWay is an artifact and its plan folder, each held against the same golden results.
type ThreeWay struct {
	Artifact *Report `json:"artifact"`
	Plan     *Report `json:"plan"`
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
		one.several = true
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
