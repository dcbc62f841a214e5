package compile

import (
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/quant"
)

// The search finds the first step that holds, wherever it is, in few attempts.
func TestFirst(t *testing.T) {
	list := steps(52)
	require.Equal(t, []int{1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27, 33, 41, 51, 52}, list)
	for want := range list {
		tried := 0
		have, err := first(list, func(n int) (bool, error) {
			tried++
			return n >= list[want], nil
		})
		require.NoError(t, err)
		require.Equal(t, list[want], have)
		require.LessOrEqual(t, tried, 9)
	}
	none, err := first(list, func(int) (bool, error) { return false, nil })
	require.NoError(t, err)
	require.Zero(t, none)
}

// What the results do not need goes back to INT8.
func TestGiveBack(t *testing.T) {
	var all []cost
	plan := &quant.Plan{Float: map[string]string{}}
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		all, plan.Float[key] = append(all, cost{key: key}), "accuracy"
	}
	require.NoError(t, giveBack(plan, all, func(p *quant.Plan) (bool, error) {
		return p.Float["b"] != "" && p.Float["e"] != "", nil
	}))
	require.Equal(t, map[string]string{"b": "accuracy", "e": "accuracy"}, plan.Float)
}
