package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/frontends/checkpoint"
)

// inspection is what inspect prints.
type inspection struct {
	Family     string         `json:"family"`
	Config     map[string]any `json:"config"`
	Format     string         `json:"format"`
	Layout     string         `json:"layout,omitempty"`  // whose names the keys are, where not the family's own
	Files      int            `json:"files"`             // that the weights are in
	Wrapper    string         `json:"wrapper,omitempty"` // key or prefix that the state dict lies under
	Parameters int64          `json:"parameters"`
	Tensors    int            `json:"tensors"`
	DTypes     map[string]int `json:"dtypes"`            // tensors by element type
	Modules    []module       `json:"modules"`           // by the first two steps of the key
	Shared     []string       `json:"shared,omitempty"`  // tied tensors, "a = b"
	Globals    []string       `json:"globals,omitempty"` // pickled classes that were not executed
	Dropped    []string       `json:"dropped,omitempty"` // what of the tensors was not kept, and tensors that cannot be computed with
}

type module struct {
	Name       string `json:"name"`
	Parameters int64  `json:"parameters"`
	Tensors    int    `json:"tensors"`
	DType      string `json:"dtype"`
}

func inspectCommand() *cobra.Command {
	var asJSON bool
	var model modelFlags
	c := &cobra.Command{
		Use:   "inspect CHECKPOINT",
		Short: "Show a checkpoint's family, configuration and parameters",
		Args:  exactly(1, "one CHECKPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ck, err := checkpoint.Open(args[0])
			if err != nil {
				return err
			}
			defer ck.Close()
			m, err := model.load(cmd, ck, args[0])
			if err != nil {
				return err
			}
			x := inspect(ck)
			x.Family, x.Config = m.Meta.Family, m.Meta.Config
			x.Layout, _ = m.Meta.Config["layout"].(string)
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", " ")
				return e.Encode(x)
			}
			x.print(cmd.OutOrStdout())
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	model.register(c)
	return c
}

func inspect(ck *checkpoint.Checkpoint) *inspection {
	x := &inspection{Format: ck.Format(), Wrapper: ck.Wrapper(), Tensors: len(ck.Names()), Parameters: parameters(ck), DTypes: map[string]int{},
		Globals: ck.Globals(), Dropped: ck.Dropped(), Files: len(ck.Files())}
	modules := map[string]*module{}
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
			m = &module{Name: key}
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

func (x *inspection) print(w io.Writer) {
	fmt.Fprintf(w, "family      %s\nformat      %s\n", x.Family, x.Format)
	if x.Layout != "" {
		fmt.Fprintf(w, "layout      %s\n", x.Layout)
	}
	if x.Files > 1 {
		fmt.Fprintf(w, "files       %d\n", x.Files)
	}
	if x.Wrapper != "" {
		fmt.Fprintf(w, "wrapper     %s\n", x.Wrapper)
	}
	fmt.Fprintf(w, "parameters  %d\ntensors     %d\n", x.Parameters, x.Tensors)
	for _, k := range slices.Sorted(maps.Keys(x.Config)) {
		fmt.Fprintf(w, "  %-20s %v\n", k, x.Config[k])
	}
	fmt.Fprintln(w, "modules")
	for _, m := range x.Modules {
		fmt.Fprintf(w, "  %-44s %12d parameters %5d tensors  %s\n", m.Name, m.Parameters, m.Tensors, m.DType)
	}
	for _, s := range x.Shared {
		fmt.Fprintf(w, "shared      %s\n", s)
	}
	for _, d := range x.Dropped {
		fmt.Fprintf(w, "dropped     %s\n", d)
	}
	for _, g := range x.Globals {
		fmt.Fprintf(w, "not executed %s\n", g)
	}
}
