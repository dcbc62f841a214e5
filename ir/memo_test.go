package ir

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What making a kept value ended with is what everyone gets who asks for it: the second run of a model whose file was cut says so, too.
func TestMemoKeepsAFault(t *testing.T) {
	e, made := &Env{memo: &memo{}}, 0
	for range 3 {
		require.PanicsWithValue(t, "the file was cut", func() {
			e.Memo(func() any {
				made++
				panic("the file was cut")
			})
		})
	}
	require.Equal(t, 1, made)
	e = &Env{memo: &memo{}}
	for range 2 {
		require.Equal(t, 7, e.Memo(func() any { return 7 }))
	}
}
