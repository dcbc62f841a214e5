//go:build kill || mutate

package main

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// number reads a variable of the environment that a make target sets: SEED, KILLS, CHANGES, BUILDS, INPUTS.
func number(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}
