package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/portable"
	"syncsam-convert/engine"
	"syncsam-convert/internal/trthost"
	"syncsam-convert/ir/tensor"
)

// leastHalf is the SNR that float16 with its float32 islands must leave of the encoder's outputs, in dB.
const leastHalf = 45

// near compares an artifact's encoder with a float one, in every engine.
func near(t *testing.T, float, dir string, least float64) {
	t.Helper()
	want := encoded(t, float, engine.Embedded)
	for _, e := range engines() {
		for name, have := range encoded(t, dir, e) {
			d, err := tensor.Compare(have, want[name])
			require.NoError(t, err)
			t.Logf("%s %s: %.1f dB", e, name, d.SNR)
			require.Greater(t, d.SNR, least, "%s %s", e, name)
		}
	}
}

// A float16 build is half as large and close to float, with calibration and without; it meets its Dice results.
func TestFP16(t *testing.T) {
	float, plain := built(t, tiny34), built(t, tiny34, "--precision", "fp16")
	near(t, float, plain, leastHalf)
	statistics, plan := filepath.Join(t.TempDir(), "s.safetensors"), filepath.Join(t.TempDir(), "plan.txt")
	must(t, "calibrate", tiny34, "--calib", calibration, "-o", statistics)
	audited := built(t, tiny34, "--precision", "fp16", "--calib", statistics, "--plan-out", plan, "--golden", golden34, "--max-dsc-drop", "0.05")
	replayed := built(t, tiny34, "--precision", "fp16", "--plan", plan)
	near(t, float, audited, leastHalf)
	sizes := map[string]int64{}
	kept := map[string]int{}
	for name, dir := range map[string]string{"float": float, "plain": plain, "audited": audited, "replayed": replayed} {
		man, err := artifact.Read(dir)
		require.NoError(t, err)
		sizes[name] = man.Files[0].Bytes
		if name != "float" {
			require.Equal(t, name != "plain", man.Float16.Recorded)
			require.False(t, man.Float16.Audited, "without pictures nothing was run")
			kept[name] = len(man.Float16.Float32)
		}
	}
	require.Less(t, sizes["audited"], sizes["float"]*6/10)
	require.Less(t, kept["audited"], kept["plain"], "known ranges let normalizations be float16")
	require.Equal(t, sizes["audited"], sizes["replayed"], "a plan replays without data")
}

// The TensorRT target adds a plan folder: legal for every release, close to the artifact, reproducible, and with all that a host needs.
func TestTensorRTTarget(t *testing.T) {
	float := built(t, tiny34)
	dir := built(t, tiny34, "--target", "tensorrt", "--precision", "int8", "--calib", calibration, "--profile", "N=2,P=2:3:4")
	again := built(t, tiny34, "--target", "tensorrt", "--precision", "int8", "--calib", calibration, "--profile", "N=2,P=2:3:4")
	plan := filepath.Join(dir, "plan")
	for _, name := range []string{"manifest.json", "plan/encoder.onnx", "plan/decoder.onnx", "plan/recipe.json", "plan/build-plan.sh", "plan/manifest.json"} {
		x, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		y, err := os.ReadFile(filepath.Join(again, name))
		require.NoError(t, err)
		require.Equal(t, x, y, name)
	}
	near(t, float, plan, 24) // int8 activations have 127 steps after a ReLU where uint8 has 255
	for _, name := range []string{"encoder.onnx", "decoder.onnx"} {
		require.Contains(t, must(t, "plan", "lint", filepath.Join(plan, name)), ": 0 findings for TensorRT 8.6, 10, 11")
	}
	r := command("plan", "lint", filepath.Join(dir, "encoder.onnx"), "--json")
	require.Equal(t, 1, r.code, "ONNX Runtime's spelling is not TensorRT's")
	var found []map[string]string
	require.NoError(t, json.Unmarshal([]byte(r.out), &found))
	rules := map[string]int{}
	for _, f := range found {
		rules[f["rule"]]++
	}
	require.Positive(t, rules["uint8"])
	require.Positive(t, rules["zero-point"])
	require.Positive(t, rules["integer-bias"])

	info := must(t, "plan", "info", dir)
	require.Contains(t, info, "2x3x256x256\n")
	require.Contains(t, info, "1x3x2  (1x2x2 to 32x4x2)")
	require.Contains(t, info, "not measured")
	require.Contains(t, must(t, "verify", dir, "--golden", golden34, "--three-way", "--tolerance", "30"), "plan on go")
}

// The script that ships in a plan folder calls trtexec once for each plan, with the flags of the release that it finds.
func TestBuildScript(t *testing.T) {
	plan := filepath.Join(built(t, tiny34, "--target", "tensorrt", "--precision", "fp16"), "plan")
	log := filepath.Join(t.TempDir(), "log")
	fake := filepath.Join(t.TempDir(), "trtexec")
	require.NoError(t, os.WriteFile(fake, []byte("#!/bin/sh\necho \"&&&& RUNNING TensorRT.trtexec [TensorRT v$FAKE] # $0\"\n[ \"$1\" = --help ] || echo \"$@\" >>"+log+"\n"), 0o755))
	for version, flags := range map[string]string{"8601": "--fp16", "101303": "--stronglyTyped", "110401": ""} {
		require.NoError(t, os.RemoveAll(log))
		cmd := exec.Command("sh", filepath.Join(plan, "build-plan.sh"))
		cmd.Env = append(os.Environ(), "TRTEXEC="+fake, "FAKE="+version)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		text, err := os.ReadFile(log)
		require.NoError(t, err)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		require.Len(t, lines, 2)
		require.Contains(t, lines[0], "--onnx=encoder.onnx --saveEngine=encoder.plan")
		require.Contains(t, lines[1], "--maxShapes=point_coords:32x16x2,point_labels:32x16,mask_input:32x1x64x64")
		require.Equal(t, flags != "", strings.HasSuffix(lines[0], flags) && flags != "", lines[0])
	}
	cmd := exec.Command("sh", filepath.Join(plan, "build-plan.sh"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TRTEXEC=/nowhere/trtexec"}
	out, err := cmd.CombinedOutput()
	require.ErrorContains(t, err, "exit status 2")
	require.Contains(t, string(out), "not found")
}

// Plans are trusted only with the sidecar that their build wrote.
func TestPlanCheck(t *testing.T) {
	dir := built(t, tiny34, "--target", "tensorrt", "--precision", "fp16")
	folder := filepath.Join(dir, "plan")
	refused(t, "it is not built yet", "plan", "check", dir)
	man, err := artifact.Read(folder)
	require.NoError(t, err)
	for i, name := range []string{"encoder", "decoder"} {
		path := filepath.Join(folder, name+".plan")
		require.NoError(t, os.WriteFile(path, []byte(name), 0o644))
		refused(t, "without its sidecar", "plan", "check", dir)
		sum, n, err := artifact.Hash(path)
		require.NoError(t, err)
		s := trthost.Sidecar{TensorRT: "10.13.3", GPU: "NVIDIA A100", ComputeCapability: "8.0", Driver: "12.4", ONNX: man.Files[i].SHA256, Plan: sum, Bytes: n}
		require.NoError(t, s.Write(path))
		require.Contains(t, must(t, "plan", "info", path), "TensorRT 10.13.3, NVIDIA A100")
	}
	if _, err := trthost.Find(""); err != nil {
		require.Contains(t, must(t, "plan", "check", folder), "not held against this machine")
		refused(t, "engine tensorrt: ", "verify", dir, "--golden", golden34, "--engine", "tensorrt")
		refused(t, "build-plan.sh", "plan", "build", dir)
		if version := os.Getenv("TENSORRT_VERSION"); version != "" {
			refused(t, "TensorRT "+version, "plan", "build", dir)
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "decoder.plan"), []byte("changed"), 0o644))
	r := command("plan", "check", dir)
	require.Equal(t, 1, r.code, r.err)
	require.Contains(t, r.err, "as its sidecar says")
}

func TestPlanUsage(t *testing.T) {
	refused(t, "plan: no command", "plan")
	refused(t, "it has no recipe.json", "plan", "build", t.TempDir())
	refused(t, "--profile: only with", "build", tiny34, "-o", filepath.Join(t.TempDir(), "a"), "--profile", "N=1")
	refused(t, `--profile: have "Q=1"`, "build", tiny34, "-o", filepath.Join(t.TempDir(), "a"), "--target", "tensorrt", "--profile", "Q=1")
	refused(t, "1 <= MIN <= OPT <= MAX", "build", tiny34, "-o", filepath.Join(t.TempDir(), "a"), "--target", "tensorrt", "--profile", "N=4:1:8")
	refused(t, "--release", "plan", "lint", "--release", "7", filepath.Join(built(t, tiny34), "encoder.onnx"))
	refused(t, "not an ONNX model", "plan", "lint", golden34+"/golden.json")
	refused(t, "--three-way: have 2", "verify", "a", "b", "--golden", golden34, "--three-way")
}

// lint says what is wrong with files for every runtime, those of a folder by name; plan lint is its part for TensorRT.
func TestLint(t *testing.T) {
	dir := built(t, tiny34)
	require.Contains(t, must(t, "lint", dir, "--target", "onnx,openvino,onnxruntime-1.16,reference"), ": 0 findings for onnx, openvino, onnxruntime-1.16, reference")
	r := command("lint", dir, "--target", "opencv")
	require.Equal(t, exitMismatch, r.code)
	require.Contains(t, r.out, "opencv: error: encoder.onnx: ")
	require.Contains(t, r.out, "MatMul (constant-batch)")
	model := filepath.Join(dir, "encoder.onnx")
	var found, older []portable.Finding
	require.NoError(t, json.Unmarshal([]byte(command("lint", model, "--target", "tensorrt", "--json").out), &found))
	require.NoError(t, json.Unmarshal([]byte(command("plan", "lint", model, "--json").out), &older))
	require.Equal(t, older, found)
	refused(t, "want one of onnx, openvino", "lint", model, "--target", "coreml")
	refused(t, "it has no .onnx file", "lint", t.TempDir())
}
