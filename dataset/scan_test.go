package dataset

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// peer reads an index with encoding/json.
func peer(text string) (items []Item, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errStop
	}
	for d.More() {
		var pair [2]string
		for i := range pair {
			t, err := d.Token()
			if err != nil {
				return items, err
			}
			var ok bool
			if pair[i], ok = t.(string); !ok || pair[i] == "" && i == 1 {
				return items, errStop
			}
		}
		if pair[0] == "" {
			return items, errStop
		}
		items = append(items, Item{pair[0], pair[1]})
	}
	_, err = d.Token()
	return items, err
}

// The scanner gives what encoding/json gives, of good text and of bad.
func TestScannerIsJSON(t *testing.T) {
	texts := []string{`{}`, ` { } `, `{"a":"b"}`, `{ "a" : "b" ,\n"c":"b"}`, `{"a":"b",}`, `{"a":"b" "c":"d"}`, `{,"a":"b"}`, `{"a"}`, `{"a":1}`, `{"a":null}`, `{"":"b"}`, `{"a":""}`, `[]`, ``, `{`, `{"a`, `{"a":"b`,
		`{"a":"b"`, `{"\u00e9\"\\":"\\\\"}`, `{"\ud800":"x"}`, `{"a\x":"b"}`, "{\"a\tb\":\"c\"}", "{\"\xff\":\"\xfe\xff\"}", `{"é𝄞":"日本"}`, `{"a":"b"} trailing`, `{"\\":"\""}`, `{"a":{"b":"c"}}`, `{"a":["b"]}`, `{'a':'b'}`}
	rng, noise := rand.New(rand.NewPCG(1, 1)), "{}\",:\\abu0 "
	for range 3000 {
		b := []byte(texts[rng.IntN(len(texts))])
		for range rng.IntN(3) {
			if len(b) > 0 {
				b[rng.IntN(len(b))] = noise[rng.IntN(len(noise))]
			}
		}
		texts = append(texts, string(b))
	}
	path := filepath.Join(t.TempDir(), "index.json")
	for _, text := range texts {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		want, bad := peer(text)
		var have []Item
		var failed error
		for item, err := range Items(path) {
			if failed = err; err == nil {
				have = append(have, item)
			}
		}
		require.Equal(t, bad != nil, failed != nil, "%q: have %v, want %v", text, failed, bad)
		require.Equal(t, want, have, text)
	}
}

// A name without an end is refused before it is in memory; a long one that ends is read.
func TestLongNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.json")
	for n, want := range map[int]string{maxPiece / 2: "", 3 * maxPiece: "without an end"} {
		require.NoError(t, os.WriteFile(path, []byte(`{"a": "`+strings.Repeat("x", n)+`"}`), 0o600))
		for item, err := range Items(path) {
			if want == "" {
				require.NoError(t, err)
				require.Len(t, item.Image, n)
			} else {
				require.ErrorContains(t, err, want)
			}
		}
	}
}
