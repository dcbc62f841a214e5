//go:build parity

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
)

// Accuracy-aware int8: the worst convolutions go back to float until the golden drop holds, and the manifest says which and why.
func TestParityFallBack(t *testing.T) {
	engine := engines()[len(engines())-1]
	dir := filepath.Join(t.TempDir(), "artifact")
	r := command("build", tiny34, "-o", dir, "--precision", "int8", "--calib", calibration, "--engine", engine, "--golden", golden34, "--max-dsc-drop", "0.02")
	require.Equal(t, 0, r.code, r.err)
	require.Regexp(t, `fallback: attempt 1: [0-9]+ layers in float: `, r.err)
	require.Regexp(t, `fallback: [0-9]+ layers stay in float, [0-9]+ % of the multiply-adds are INT8: `, r.err)
	m, err := artifact.Read(dir)
	require.NoError(t, err)
	require.NoError(t, m.Verify(dir))
	require.Contains(t, string(m.Verification), `"pass": true`)
	require.Len(t, append(m.Quantization.QuantizedNodes, make([]string, len(m.Quantization.KeptFloat))...), 52)
	for _, k := range m.Quantization.KeptFloat {
		require.True(t, strings.HasPrefix(k.Reason, "accuracy: "), k.Reason)
	}
	t.Logf("%d of 52 convolutions in float, %.2f of the multiply-adds in INT8", len(m.Quantization.KeptFloat), m.Quantization.Int8Share)
}
