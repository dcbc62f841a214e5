package memory

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLimit(t *testing.T) {
	defer Set(0)
	whole := Limit()
	require.GreaterOrEqual(t, whole, int64(least))
	for text, want := range map[string]int64{"64MB": 64 << 20, "2GB": 2 << 30, "2gib": 2 << 30, "1.5 GB": 3 << 29, "1tb": 1 << 40, "2147483648": 2 << 30} {
		require.NoError(t, Flag{}.Set(text), text)
		require.Equal(t, want, Limit(), text)
	}
	for _, text := range []string{"", "x", "-1GB", "0", "63MB", "NaN", "1e300GB", "InfGB"} {
		require.ErrorContains(t, Flag{}.Set(text), "want a size of at least 64 MB", text)
	}
	require.NoError(t, Flag{}.Set("100MB"))
	require.Equal(t, "100MB", Flag{}.String())
	require.NoError(t, Fits("x", 50<<20, 2))
	require.EqualError(t, Fits("x", 51<<20, 2), "x: it would take 51 MB of memory, want at most 50 MB; --max-memory allows more")
	require.Error(t, Fits("x", -1, 2), "a product that overflowed")
	Set(0)
	require.Equal(t, whole, Limit())
	require.Empty(t, Flag{}.String())
}

// The collector is as it was when the last of several tight runs has ended; a user's GOGC stays.
func TestTight(t *testing.T) {
	percentNow := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	t.Setenv("GOGC", "")
	before := percentNow()
	first, second := Tight(), Tight()
	require.Equal(t, percent, percentNow())
	first()
	first()
	require.Equal(t, percent, percentNow())
	second()
	require.Equal(t, before, percentNow())
	t.Setenv("GOGC", "70")
	Tight()()
	require.Equal(t, before, percentNow())
}
