package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"syncsam-convert/backends/onnx"
	"syncsam-convert/backends/portable"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/backends/triton"
	"syncsam-convert/calib"
	"syncsam-convert/clients"
	"syncsam-convert/compile"
	"syncsam-convert/dataset"
	"syncsam-convert/engine"
	"syncsam-convert/frontends"
	"syncsam-convert/golden"
)

// choices are the values of flags that a shell completes: of every command, or of COMMAND/FLAG.
var choices = map[string]struct {
	values func() []string
	list   bool // several, with a comma between
}{
	"engine": {values: engine.Names}, "bench/engine": {engine.Names, true}, "doctor/engine": {engine.Names, true},
	"family": {values: frontends.Names}, "client": {values: clients.Names}, "image-input": {values: clients.ImageInputs}, "one-mask": {values: clients.OneMasks},
	"target": {values: of(compile.Targets)}, "lint/target": {portable.Targets, true}, "release": {tensorrt.ReleaseNames, true}, "opset": {values: opsets},
	"precision": {values: of(compile.Precisions)}, "rounding": {values: of(compile.Roundings)}, "quantize": {values: of(compile.Quantities)}, "calib-method": {values: calib.MethodNames},
	"prompts": {of(golden.Modes), true}, "bench/prompts": {}, "judge": {values: of([]string{golden.JudgeEquivalence})}, "table": {values: golden.PaperTables}, "format": {values: of(formats)},
	"layout": {values: dataset.Layouts}, "triton/format": {values: of(triton.Formats)}, "device": {values: of(triton.Devices)},
}

func of(all []string) func() []string { return func() []string { return all } }

func opsets() (out []string) {
	for n := onnx.MinOpset; n <= onnx.MaxOpset; n++ {
		out = append(out, strconv.Itoa(n))
	}
	return out
}

// complete tells the shell what flags take: the choices; no file where a number is wanted; files of all others.
func complete(c *cobra.Command) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		choice, ok := choices[c.Name()+"/"+f.Name]
		if !ok {
			choice, ok = choices[f.Name]
		}
		if !ok && strings.HasPrefix(f.Value.Type(), "string") {
			return
		}
		_ = c.RegisterFlagCompletionFunc(f.Name, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			if choice.values == nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			before := ""
			if i := strings.LastIndex(typed, ","); choice.list && i >= 0 {
				before = typed[:i+1]
			}
			var out []string
			for _, v := range choice.values() {
				if !slices.Contains(strings.Split(before, ","), v) && strings.HasPrefix(before+v, typed) {
					out = append(out, before+v)
				}
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		})
	})
	for _, sub := range c.Commands() {
		complete(sub)
	}
}
