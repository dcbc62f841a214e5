package project

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// A module outside this one compiles, runs and verifies with the public packages alone.
func TestExampleLibrary(t *testing.T) {
	data, err := filepath.Abs("golden/data")
	require.NoError(t, err)
	c := exec.Command("go", "run", ".", data+"/syncsam-tiny-34/syncsam-tiny-34.pth", data+"/calibration", data+"/syncsam-tiny-34")
	c.Dir = "examples/library"
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Regexp(t, regexp.MustCompile(`\nDSC box 0\.8[0-9]+\n$`), string(out))
}
