package shards

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for _, good := range []string{"", "1/1", "7/7", "3/1000"} {
		s, err := Parse(good)
		require.NoError(t, err)
		require.Equal(t, good, s.String())
	}
	for _, bad := range []string{"0/3", "4/3", "1", "1/", "/2", "a/b", "1/2x", "+1/2", "01/2", " 1/2", "1/2/3", "-1/2", "1/99999999"} {
		_, err := Parse(bad)
		require.ErrorContains(t, err, "want i/n", bad)
	}
}

// Each piece of work is in exactly one shard.
func TestTakes(t *testing.T) {
	for n := 1; n < 9; n++ {
		for k := range 40 {
			took := 0
			for i := 1; i <= n; i++ {
				if (Shard{i, n}).Takes(k) {
					took++
				}
			}
			require.Equal(t, 1, took)
		}
	}
	require.True(t, Shard{}.Takes(3))
}

func part(t *testing.T, path string, run map[string]any, s Shard, sum string) Part {
	text, err := Text(run, s)
	require.NoError(t, err)
	p, err := Read(path, text)
	require.NoError(t, err)
	require.Equal(t, s, p.Shard)
	whole, err := p.Text()
	require.NoError(t, err)
	same, err := json.Marshal(run)
	require.NoError(t, err)
	require.Equal(t, string(same), string(whole))
	p.Sum = sum
	return p
}

func TestWhole(t *testing.T) {
	run := map[string]any{"artifact": "a", "modes": []string{"box"}}
	a, b, c := part(t, "a", run, Shard{1, 3}, "1"), part(t, "b", run, Shard{2, 3}, "2"), part(t, "c", run, Shard{3, 3}, "3")
	again := part(t, "again", run, Shard{1, 3}, "1")
	whole, missing, err := Whole([]Part{c, again, a, b, a})
	require.NoError(t, err)
	require.Empty(t, missing)
	require.Equal(t, []string{"again", "b", "c"}, []string{whole[0].Path, whole[1].Path, whole[2].Path})
	require.Len(t, whole, 3)
	_, missing, err = Whole([]Part{b})
	require.NoError(t, err)
	require.EqualError(t, Missing(missing), "shards are missing: 1/3, 3/3")
	for want, parts := range map[string][]Part{
		"d: it is of another run than a: artifact: have \"z\", want \"a\"": {a, part(t, "d", map[string]any{"artifact": "z", "modes": []string{"box"}}, Shard{2, 3}, "2")},
		"d: it is of another run than a: more: have 1, want nothing":       {a, part(t, "d", map[string]any{"artifact": "a", "modes": []string{"box"}, "more": 1}, Shard{2, 3}, "2")},
		"d: have shard 1/4, want a shard of 3 as a has":                    {a, part(t, "d", run, Shard{1, 4}, "1")},
		"d: have a whole run, want a shard of 3 as a has":                  {a, part(t, "d", run, Shard{}, "1")},
		"d: it has other results than a for the same work (shard 1/3)":     {a, part(t, "d", run, Shard{1, 3}, "other")},
	} {
		_, _, err := Whole(parts)
		require.ErrorContains(t, err, want)
	}
	for _, bad := range []string{"", "[]", "null", `{"shard":3}`, `{"shard":"3/2"}`} {
		_, err := Read("f", []byte(bad))
		require.ErrorContains(t, err, "f: ", bad)
	}
}
