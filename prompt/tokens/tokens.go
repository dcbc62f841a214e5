// Package tokens turns English text into the token numbers of CLIP's text model: byte-pair encoding by CLIP's own table of merges.
package tokens

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// CLIP's numbers: 256 bytes, the same at the end of a word, the merges in their order, then the two ends of a text; a text has at most Most.
const (
	symbols = 256
	start   = 49406
	end     = 49407
	Most    = 77
)

//go:embed merges.txt.gz
var packed []byte

// wordEnd marks a symbol that ends a word.
const wordEnd = "</w>"

// ranks say when a pair of symbols is merged: the lowest first.
var ranks = sync.OnceValues(func() (map[[2]string]int, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	out := map[[2]string]int{}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		a, b, _ := strings.Cut(lines.Text(), " ")
		out[[2]string{a, b}] = len(out)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(out) != start-2*symbols {
		return nil, fmt.Errorf("CLIP's merges: have %d, want %d", len(out), start-2*symbols)
	}
	return out, nil
})

var words = regexp.MustCompile(`'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+`)

// Of gives the token numbers of a text, with CLIP's start and end. Letters beyond ASCII are refused: the table's words are English.
func Of(text string) ([]int64, error) {
	for _, r := range text {
		if r > '~' || r < ' ' && r != '\t' {
			return nil, fmt.Errorf("text %q: have the character %q, want English in ASCII", text, r)
		}
	}
	rank, err := ranks()
	if err != nil {
		return nil, err
	}
	ids := []int64{start}
	for _, word := range words.FindAllString(strings.ToLower(text), -1) {
		var parts []string
		for i := range word {
			parts = append(parts, word[i:i+1])
		}
		parts[len(parts)-1] += wordEnd
		for len(parts) > 1 {
			at, best := -1, 0
			for i := range parts[1:] {
				if n, ok := rank[[2]string{parts[i], parts[i+1]}]; ok && (at < 0 || n < best) {
					at, best = i, n
				}
			}
			if at < 0 {
				break
			}
			a, b := parts[at], parts[at+1]
			for i := at; i+1 < len(parts); i++ { // every place of the pair
				if parts[i] == a && parts[i+1] == b {
					parts = slices.Replace(parts, i, i+2, a+b)
				}
			}
		}
		for _, p := range parts {
			ids = append(ids, number(p, rank))
		}
	}
	if ids = append(ids, end); len(ids) == 2 || len(ids) > Most {
		return nil, fmt.Errorf("text %q: have %d tokens, want 1 to %d", text, len(ids)-2, Most-2)
	}
	return ids, nil
}

// Check refuses numbers that are no text of CLIP's: they begin with its start, have its end, and none is past that.
func Check(ids []int64) error {
	if len(ids) < 3 || ids[0] != start || !slices.Contains(ids, end) || slices.Max(ids) > end || slices.Min(ids) < 0 {
		return fmt.Errorf("have %d token numbers, want %d, those of words, %d", len(ids), start, end)
	}
	return nil
}

// number is a symbol's: a byte, or what a merge made.
func number(symbol string, rank map[[2]string]int) int64 {
	bare, ends := strings.CutSuffix(symbol, wordEnd)
	if len(bare) == 1 {
		n := int64(bare[0] - '!') // the printable characters come first
		if ends {
			n += symbols
		}
		return n
	}
	for i := 1; i < len(bare); i++ {
		if n, ok := rank[[2]string{symbol[:i], symbol[i:]}]; ok {
			return int64(2*symbols + n)
		}
	}
	return -1 // no merge made it
}
