//go:build unix

package main

import (
	"bytes"
	"crypto/elliptic"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/internal/keys"
)

const tutorial = "../../docs/tutorial.md"

// fences are a page's code blocks: the words behind the fence, the text.
var fences = regexp.MustCompile("(?ms)^```([a-z ]+)\n(.*?)^```\n")

// The tutorial's command lines run as they stand, in the order of the page, in a folder like a clone after make build; a block of text behind them is what
// they print. -update writes it. TUTORIAL=all runs blocks that need openssl or a network, too (make test-tutorial).
func TestTutorial(t *testing.T) {
	page, err := os.ReadFile(tutorial)
	require.NoError(t, err)
	all := os.Getenv("TUTORIAL") == "all"
	clone := t.TempDir()
	self, err := filepath.Abs(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(clone, "bin"), 0o755))
	require.NoError(t, os.Symlink(self, filepath.Join(clone, "bin", "syncsam-convert")))
	for _, name := range []string{"golden", "examples"} {
		from, err := filepath.Abs(filepath.Join("../..", name))
		require.NoError(t, err)
		require.NoError(t, os.Symlink(from, filepath.Join(clone, name)))
	}
	var printed string
	ran := 0
	made := fences.ReplaceAllStringFunc(string(page), func(block string) string {
		part := fences.FindStringSubmatch(block)
		words, text := strings.Fields(part[1]), part[2]
		switch {
		case words[0] == "text":
			if !*update {
				require.Equal(t, text, printed, "%s: go test ./cmd/syncsam-convert -run TestTutorial -update writes what is printed", tutorial)
			}
			return "```text\n" + printed + "```\n"
		case words[0] != "sh":
			t.Fatalf("%s: a block of %q", tutorial, part[1])
		case !all && words[len(words)-1] == "keys":
			_, _, err := keys.Write(filepath.Join(clone, "tutorial"), elliptic.P256())
			require.NoError(t, err)
			return block
		case !all && words[len(words)-1] == "network":
			return block
		}
		c := exec.Command("sh", "-e", "-c", text)
		c.Dir, c.Env = clone, append(os.Environ(), asProgram+"=1")
		var out, problems bytes.Buffer
		c.Stdout, c.Stderr = &out, &problems
		require.NoError(t, c.Run(), "%s\n%s%s", text, out.String(), problems.String())
		t.Logf("%s%s", text, out.String())
		printed = out.String()
		ran++
		return block
	})
	require.GreaterOrEqual(t, ran, 7)
	if *update {
		require.NoError(t, os.WriteFile(tutorial, []byte(made), 0o644))
	}
}
