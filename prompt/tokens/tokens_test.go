package tokens

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOf holds token numbers against those of transformers 5.24's CLIPTokenizer with the same table.
func TestOf(t *testing.T) {
	text, err := os.ReadFile("testdata/clip.json")
	require.NoError(t, err)
	var cases []struct {
		Text string
		IDs  []int64
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Greater(t, len(cases), 40)
	for _, c := range cases {
		ids, err := Of(c.Text)
		require.NoError(t, err)
		require.Equal(t, c.IDs, ids, c.Text)
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{"": "have 0 tokens", " \t": "have 0 tokens", "Leber für": "'ü'", "a\x00": "character", strings.Repeat("a ", 76): "have 76 tokens"} {
		_, err := Of(text)
		require.ErrorContains(t, err, want)
	}
	ids, err := Of(strings.Repeat("a ", 75))
	require.NoError(t, err)
	require.Len(t, ids, Most)
}
