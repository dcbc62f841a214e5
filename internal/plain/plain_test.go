package plain

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// hostile are the kinds of characters that change what a terminal, or a reader, does with a line.
var hostile = "\x1b[31m\x00\x07\r\b\x7f\u0085\u009b2J\u202e\u2066\u200b\u2028\ufeff\U000e0041\xff\xc3"

func TestText(t *testing.T) {
	require.Equal(t, `\u001b[31m\u0000\u0007\u000d\u0008\u007f\u0085\u009b2J\u202e\u2066\u200b\u2028\ufeff\udb40\udc41\xff\xc3`, Text(hostile, 1000))
	require.Equal(t, `a\nb\tc`, Text("a\nb\tc", 1000))
	require.Equal(t, "état \ufffd 心", Text("état \ufffd 心", 1000), "what has a shape stays")
	for _, s := range []string{strings.Repeat("x", 1<<20), strings.Repeat("\xff", 1<<20), strings.Repeat("\U000e0041", 1<<16), strings.Repeat("心", 1<<16), strings.Repeat("\x00", 800)} {
		short := Text(s, 900)
		require.LessOrEqual(t, utf8.RuneCountInString(short), 940)
		require.Contains(t, short, "bytes)...")
	}
	require.Equal(t, strings.Repeat("心", 900), Text(strings.Repeat("心", 900), 900), "characters count, not bytes")
}

func TestFprintf(t *testing.T) {
	var b bytes.Buffer
	type name string
	Fprintf(&b, "%s|%v|%d|%-4s|%v|%q\n", "a\nb", errors.New("\x1b"), 7, name("\t"), []string{"\u202e"}, "x\n")
	require.Equal(t, "a\\nb|\\u001b|7|\\t  |[\\u202e]|\"x\\\\n\"\n", b.String())
}

// The stream may be cut anywhere; JSON means the same before and after.
func TestWriter(t *testing.T) {
	want := map[string]string{"心\u202e\u0085\U000e0041\n\x7f": "\x1b\t"}
	text, err := json.Marshal(want)
	require.NoError(t, err)
	for n := 1; n < 9; n++ {
		var b bytes.Buffer
		w := NewWriter(&b)
		for part := text; len(part) > 0; part = part[min(n, len(part)):] {
			_, err := w.Write(part[:min(n, len(part))])
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		var have map[string]string
		require.NoError(t, json.Unmarshal(b.Bytes(), &have))
		require.Equal(t, want, have)
		require.NotRegexp(t, `[\x00-\x1f\x7f-\x{9f}\x{202e}]`, b.String())
	}
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Write([]byte("one\n\ttwo" + hostile))
	require.NoError(t, w.Close())
	require.True(t, strings.HasPrefix(b.String(), "one\n\ttwo\\u001b"))
	require.True(t, strings.HasSuffix(b.String(), `\xff\xc3`))

	full := NewWriter(failing{})
	full.Write([]byte("x"))
	full.Write([]byte("y"))
	require.ErrorContains(t, full.Close(), "no space")
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space") }

var _ io.WriteCloser = (*Writer)(nil)
