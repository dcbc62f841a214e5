package golden

import (
	_ "embed" // paper.json
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

//go:embed paper.json
var paperJSON []byte

// A PaperTable is one of the paper's tables: DSC in percent by row and prompt mode.
type PaperTable struct {
	Title string                        `json:"title"`
	Rows  map[string]map[string]float64 `json:"rows"`
}

// Paper gives the published results: tables 2 to 5 of the SyncSAM paper by number.
func Paper() (map[string]PaperTable, error) {
	var doc struct {
		Tables map[string]PaperTable `json:"tables"`
	}
	err := json.Unmarshal(paperJSON, &doc)
	return doc.Tables, err
}

// PaperTables are the numbers of those tables.
func PaperTables() []string {
	tables, err := Paper()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(tables))
}

// LookupPaper finds published results by TABLE/ROW, "2/SyncSAM-SAMed-50", "4/SAM/STS" or "5/12"; letter case does not matter.
// The error lists what there is.
func LookupPaper(key string) (map[string]float64, string, error) {
	tables, err := Paper()
	if err != nil {
		return nil, "", fmt.Errorf("paper.json: %w", err)
	}
	table, row, _ := strings.Cut(key, "/")
	table = strings.TrimPrefix(strings.ToLower(table), "table")
	t, ok := tables[table]
	if !ok {
		return nil, "", fmt.Errorf("paper:%s: have table %q, want one of %s", key, table, strings.Join(slices.Sorted(maps.Keys(tables)), ", "))
	}
	rows := slices.SortedFunc(maps.Keys(t.Rows), func(a, b string) int {
		if x, err := strconv.Atoi(a); err == nil {
			if y, err := strconv.Atoi(b); err == nil {
				return x - y
			}
		}
		return strings.Compare(a, b)
	})
	for _, name := range rows {
		if strings.EqualFold(name, row) {
			return t.Rows[name], fmt.Sprintf("SyncSAM paper, table %s (%s), row %s", table, t.Title, name), nil
		}
	}
	return nil, "", fmt.Errorf("paper:%s: have row %q, want one of %s", key, row, strings.Join(rows, ", "))
}
