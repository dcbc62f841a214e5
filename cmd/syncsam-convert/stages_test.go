package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/passes"
)

// Every stage of every kind of build is probed within its numerics, and can be switched off, stopped after, dumped and explained.
func TestEveryStage(t *testing.T) {
	stats := filepath.Join(t.TempDir(), "s.safetensors")
	must(t, "calibrate", tiny34, "--calib", calibration, "--quantize", "all", "-o", stats)
	int8 := []string{"--precision", "int8", "--calib", calibration, "--quantize", "all"}
	tried := map[string]bool{} // stages that were left out, and stopped after, for some goal
	for _, c := range []struct {
		name  string
		goal  passes.Goal
		flags []string
	}{
		{"fp32", passes.Goal{}, nil},
		{"fp16", passes.Goal{Half: true}, []string{"--precision", "fp16"}},
		{"fp16 calibrated", passes.Goal{Half: true, Calibrated: true}, []string{"--precision", "fp16", "--calib", calibration}},
		{"int8", passes.Goal{Int8: true, Calibrated: true, Convs: true}, int8},
		{"tensorrt", passes.Goal{Int8: true, Calibrated: true, Convs: true, Narrow: true}, append([]string{"--target", "tensorrt"}, int8...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stages []string
			for _, p := range passes.Pipeline(c.goal) {
				stages = append(stages, p.Name)
			}
			dump, dir := t.TempDir(), filepath.Join(t.TempDir(), "a")
			r := command(append([]string{"build", tiny34, "-o", dir, "-d", "check", "-d", "all/time", "--dump", dump}, c.flags...)...)
			require.Equal(t, 0, r.code, r.err)
			man, err := artifact.Read(dir)
			require.NoError(t, err)
			var listed []string
			for _, p := range man.Passes {
				listed = append(listed, p.Name)
			}
			require.Equal(t, stages, listed)
			for i, name := range stages {
				require.Contains(t, r.err, fmt.Sprintf("pass %-17s encoder    image_embeddings differs by", name))
				require.FileExists(t, filepath.Join(dump, fmt.Sprintf("%02d_%s.ir", i+1, name)))
			}
			if c.name == "tensorrt" {
				require.Contains(t, r.err, "pass cast-half         decoder    low_res_masks differs by")
				plan, err := artifact.Read(filepath.Join(dir, "plan"))
				require.NoError(t, err)
				require.Equal(t, "cast-half", plan.Passes[len(plan.Passes)-1].Name)
				require.FileExists(t, filepath.Join(dump, "plan", fmt.Sprintf("%02d_cast-half.ir", len(plan.Passes))))
			}
			flags := slices.Clone(c.flags)
			if at := slices.Index(flags, calibration); at >= 0 {
				flags[at] = stats
			}
			for i, name := range stages {
				if i < slices.Index(stages, "dead-code") || tried[name] { // those are in TestEachPassOff
					continue
				}
				tried[name] = true
				off := filepath.Join(t.TempDir(), "off")
				r := command(append([]string{"build", tiny34, "-o", off, "-d", name + "/off", "--why", name}, flags...)...)
				require.Equal(t, 0, r.code, "without %s: %s", name, r.err)
				man, err := artifact.Read(off)
				require.NoError(t, err)
				require.False(t, slices.ContainsFunc(man.Passes, func(p artifact.Pass) bool { return p.Name == name }))
				until := filepath.Join(t.TempDir(), "until")
				if name == passes.AdaptiveRounding { // statistics are no pictures
					continue
				}
				must(t, append([]string{"build", tiny34, "-o", until, "--stop-after", fmt.Sprint(i + 1)}, flags...)...)
				man, err = artifact.Read(until)
				require.NoError(t, err)
				require.Equal(t, name, man.Passes[len(man.Passes)-1].Name)
			}
		})
	}
	refused(t, "--why: have \"cast-half\"", "build", tiny34, "-o", filepath.Join(t.TempDir(), "a"), "--why", "cast-half")
	require.True(t, strings.HasPrefix(must(t, "--version"), "syncsam-convert version "))
}
