package compile

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/internal/guard"
	"syncsam-convert/ir"
)

// An Inspection says what a checkpoint is.
type Inspection struct {
	Family     string         `json:"family"`
	Config     map[string]any `json:"config"`
	Format     string         `json:"format"`
	Layout     string         `json:"layout,omitempty"`  // whose names the keys are, where not the family's own
	Files      int            `json:"files"`             // that the weights are in
	Wrapper    string         `json:"wrapper,omitempty"` // key or prefix that the state dict lies under
	Parameters int64          `json:"parameters"`
	Tensors    int            `json:"tensors"`
	SHA256     string         `json:"sha256"`                       // as in a manifest's source: of the file's bytes; with what is merged, of the hashes of all
	Calibrated string         `json:"calibration_sha256,omitempty"` // of the calibration data, where they are named: as in a manifest's build
	DTypes     map[string]int `json:"dtypes"`                       // tensors by element type
	Modules    []ModuleSize   `json:"modules"`                      // by the first two steps of the key
	Shared     []string       `json:"shared,omitempty"`             // tied tensors, "a = b"
	Globals    []string       `json:"globals,omitempty"`            // pickled classes that were not executed
	Dropped    []string       `json:"dropped,omitempty"`            // what of the tensors was not kept, and tensors that cannot be computed with
	Notes      []string       `json:"notes,omitempty"`              // what was chosen and assumed
}

// ModuleSize is one module's share of a checkpoint.
type ModuleSize struct {
	Name       string `json:"name"`
	Parameters int64  `json:"parameters"`
	Tensors    int    `json:"tensors"`
	DType      string `json:"dtype"` // of its floating-point tensors, or "mixed"
}

// Inspect recognises a checkpoint, counts its parameters and hashes its files, and those of the calibration data. Of the options the checkpoint, what is said of
// its model, and the calibration data count.
func Inspect(o Options) (*Inspection, error) {
	source, err := Open(Options{Checkpoint: o.Checkpoint, Model: o.Model, AllowNonFinite: true})
	if err != nil {
		return nil, err
	}
	defer source.Close()
	var m *ir.Module
	var notes []string
	if err := source.settle(context.Background(), guard.Do(func() (err error) {
		m, notes, err = source.load()
		return err
	})); err != nil {
		return nil, err
	}
	x := describe(source.Checkpoint)
	x.Family, x.Config, x.Notes = m.Meta.Family, m.Meta.Config, notes
	x.Layout, _ = m.Meta.Config["layout"].(string)
	if x.SHA256, err = source.SHA256(); err == nil && o.Calibration != "" {
		x.Calibrated, err = o.calibrationHash()
	}
	return x, err
}

func describe(ck *checkpoint.Checkpoint) *Inspection {
	x := &Inspection{Format: ck.Format(), Wrapper: ck.Wrapper(), Tensors: len(ck.Names()), Parameters: Parameters(ck), DTypes: map[string]int{}, Globals: ck.Globals(),
		Dropped: ck.Dropped(), Files: len(ck.Files())}
	modules := map[string]*ModuleSize{}
	for _, name := range ck.Names() {
		t := ck.Get(name)
		x.DTypes[t.DType().String()]++
		if other := ck.SharedWith(name); other != "" {
			x.Shared = append(x.Shared, name+" = "+other)
			continue
		}
		steps := strings.Split(name, ".")
		key := strings.Join(steps[:min(2, max(1, len(steps)-1))], ".")
		m := modules[key]
		if m == nil {
			m = &ModuleSize{Name: key}
			modules[key] = m
		}
		m.Tensors++
		if !t.DType().IsFloat() {
			continue
		}
		m.Parameters += t.Len()
		if d := t.DType().String(); m.DType == "" {
			m.DType = d
		} else if m.DType != d {
			m.DType = "mixed"
		}
	}
	for _, key := range slices.Sorted(maps.Keys(modules)) {
		x.Modules = append(x.Modules, *modules[key])
	}
	return x
}

// Problems are all keys of a checkpoint that do not fit, where that is the error; the error itself has the first few.
func Problems(err error) []string {
	var misfit *blocks.Misfit
	if errors.As(err, &misfit) {
		return misfit.Problems
	}
	return nil
}
