package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/dataset"
)

const volumeFiles = "../../pictures/testdata/volumes"

// volumeSet is a data set of one volume and its labels, as nnU-Net arranges them.
func volumeSet(t *testing.T) string {
	dir := t.TempDir()
	for from, to := range map[string]string{"ct.nii.gz": "imagesTs/case_0000.nii.gz", "labels.nii.gz": "labelsTs/case.nii.gz"} {
		b, err := os.ReadFile(filepath.Join(volumeFiles, from))
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, to)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, to), b, 0o600))
	}
	return dir
}

// A volume's slices are found, indexed, verified and calibrated with; the index gives the same results as the folder.
func TestDataset(t *testing.T) {
	dir, a := volumeSet(t), built(t, tiny34)
	verify := func() map[string]any {
		out := filepath.Join(t.TempDir(), "report.json")
		r := command("verify", a, "--golden", "paper:4/SyncSAM-SAMed-34/CURVAS", "--data", dir, "--prompts", "box", "--json", out)
		require.Equal(t, 1, r.code, r.err)
		text, err := os.ReadFile(out)
		require.NoError(t, err)
		var report map[string]any
		require.NoError(t, json.Unmarshal(text, &report))
		require.NotEmpty(t, report["summary"])
		return report
	}
	listed := verify()
	shown := command("dataset", dir)
	require.Equal(t, 0, shown.code, shown.err)
	require.Regexp(t, "^syncsam-convert: .*: layout nnunet, 9 masks of 3 images\n$", shown.err)
	printed := shown.out
	var index map[string]string
	require.NoError(t, json.Unmarshal([]byte(printed), &index))
	require.Len(t, index, 9)
	require.Equal(t, "imagesTs/case_0000.nii.gz#slice=2", index["labelsTs/case.nii.gz#slice=2&label=3"])

	refused(t, "it has no masks", "dataset", dir, "--min-pixels", "1000", "--write")
	require.NoFileExists(t, filepath.Join(dir, dataset.IndexName))
	require.Contains(t, must(t, "dataset", dir, "--write"), "layout nnunet, 9 masks of 3 images")
	written, err := os.ReadFile(filepath.Join(dir, dataset.IndexName))
	require.NoError(t, err)
	require.Equal(t, printed, string(written))
	require.Equal(t, listed["summary"], verify()["summary"])
	refused(t, "it is there already", "dataset", dir, "--write")
	refused(t, "--min-pixels: have -1", "dataset", dir, "--min-pixels", "-1")
	refused(t, "layout: have \"x\"", "dataset", dir, "--layout", "x")

	for _, source := range []string{dir, filepath.Join(dir, dataset.IndexName), filepath.Join(dir, "imagesTs")} {
		stats := filepath.Join(t.TempDir(), "s.safetensors")
		r := must(t, "calibrate", tiny34, "--calib", source, "-o", stats)
		images := "over 3 images" // slices with labels
		if source == filepath.Join(dir, "imagesTs") {
			images = "over 4 images"
		}
		require.Contains(t, r, images)
	}

	mask := filepath.Join(t.TempDir(), "m.png")
	must(t, "run", a, "--image", filepath.Join(volumeFiles, "window.dcm"), "--point", "4,5", "-o", mask)
	require.FileExists(t, mask)
}
