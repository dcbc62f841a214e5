package quant

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever the text: an error in a line, or a plan whose every number is one, and that is read back as it is written.
func FuzzPlan(f *testing.F) {
	const head = "plan version=2 source=aa scope=cnn method=mse images=3\n"
	for _, lines := range []string{"value \"a\" max=1.5 nonnegative mean=[0.1,-2] channels=[1,1.5] reason=\"mse\"\nfloat \"b\" reason=\"kept\"\npeak \"c\" max=7\n", "value \"a\" max=0\n", "value \"a\" max=-1\n", "value \"a\" max=NaN\n",
		"value \"a\" max=1e39\n", "value \"a\" max=1e-45\n", "value \"a\" max=1 mean=[NaN]\n", "value \"a\" max=1 channels=[-1]\n", "peak \"c\" max=+Inf\n", "# a comment\n\nvalue \"\\xff\" max=1\n"} {
		f.Add(head + lines)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Read(strings.NewReader(text))
		if err != nil {
			return
		}
		for key, v := range p.Values {
			require.NoError(t, v.Check(), key)
		}
		var once, twice bytes.Buffer
		require.NoError(t, p.Write(&once))
		back, err := Read(bytes.NewReader(once.Bytes()))
		require.NoError(t, err, once.String())
		require.NoError(t, back.Write(&twice))
		require.Equal(t, once.String(), twice.String())
	})
}
