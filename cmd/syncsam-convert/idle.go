package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/calib"
	"syncsam-convert/compile"
	"syncsam-convert/engine"
)

// given is what a command line says: flags by name.
type given struct{ *cobra.Command }

func (g given) of(flag string) string {
	if f := g.Flags().Lookup(flag); f != nil {
		return f.Value.String()
	}
	return ""
}

func (g given) set(flag string) bool { f := g.Flags().Lookup(flag); return f != nil && f.Changed }

func (g given) engine(name string) bool {
	return strings.Contains(","+g.of("engine")+",", ","+name+",")
}

// integers reports whether something may become INT8.
func integers(g given) bool {
	return g.of("precision") == compile.INT8 || g.of("precision") == compile.Auto
}

// idle are the flags that would change nothing: of a command ("" of all), when, and what they need. Flags whose need stands in a library's own check
// (compile.Options, golden.Request) are not here.
var idle = []struct {
	command, flag string
	when          func(g given) bool
	need          string
}{
	{"", "onnxruntime-lib", func(g given) bool { return !g.engine(engine.ONNXRuntime) && g.of("three-way") != "true" }, "--engine " + engine.ONNXRuntime},
	{"", "tensorrt-lib", func(g given) bool { return g.Flags().Lookup("engine") != nil && !g.engine(engine.TensorRT) }, "--engine " + engine.TensorRT},
	{"build", "engine", func(g given) bool {
		return g.of("golden") == "" && (g.of("calib") == "" || calib.IsStatistics(g.of("calib")))
	}, "something to run: --calib with pictures, or --golden"},
	{"build", "calib-method", func(g given) bool { return !integers(g) || g.of("plan") != "" }, "--precision int8 or auto with --calib"},
	{"build", "rounding", func(g given) bool { return !integers(g) }, "--precision int8 or auto"},
	{"build", "margin", func(g given) bool { return g.of("golden") == "" }, "--golden, to whose results it is"},
	{"calibrate", "calib-method", func(g given) bool { return true }, "build, which chooses by it; statistics serve all methods"},
	{"compare", "rows", func(g given) bool { return g.set("json") }, "text, and no --json, which has all"},
	{"verify", "groups", func(g given) bool { return g.set("table") || g.set("three-way") }, "a report, and no --table or --three-way"},
}

// effective refuses flags that would change nothing.
func effective(cmd *cobra.Command, _ []string) error {
	g := given{cmd}
	for _, f := range idle {
		if (f.command == "" || f.command == cmd.Name()) && g.set(f.flag) && f.when(g) {
			return fmt.Errorf("--%s: it would change nothing; it needs %s", f.flag, f.need)
		}
	}
	return nil
}
