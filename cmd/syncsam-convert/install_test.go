package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The first steps of docs/install.md run as they are, in a clone's folder; what they write goes elsewhere.
func TestFirstSteps(t *testing.T) {
	text, err := os.ReadFile("../../docs/install.md")
	require.NoError(t, err)
	_, steps, found := strings.Cut(string(text), "## First steps")
	require.True(t, found)
	t.Chdir("../..")
	out, n := t.TempDir(), 0
	for line := range strings.Lines(steps) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "syncsam-convert" || !strings.HasPrefix(line, "    ") {
			continue
		}
		for i := range words {
			words[i] = strings.Replace(words[i], "build/first", out, 1)
		}
		r := command(words[1:]...)
		require.Equal(t, 0, r.code, "%s: %s", line, r.err)
		n++
	}
	require.Equal(t, 7, n)
	require.FileExists(t, filepath.Join(out, "mask.png"))
}
