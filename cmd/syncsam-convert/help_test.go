package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"syncsam-convert/registry"
)

// commands are all of them, by the words that call them.
func commands() map[string]*cobra.Command {
	all := map[string]*cobra.Command{}
	var walk func(c *cobra.Command, words string)
	walk = func(c *cobra.Command, words string) {
		all[words] = c
		for _, sub := range c.Commands() {
			walk(sub, strings.TrimSpace(words+" "+sub.Name()))
		}
	}
	root := newRoot()
	root.InitDefaultCompletionCmd()
	walk(root, "")
	return all
}

// Every command and every flag has its group, help has them all, and no line of it is too long but those to copy.
func TestHelpHasEverything(t *testing.T) {
	groups := map[string]bool{}
	for _, g := range commandGroups {
		for _, name := range strings.Fields(g.names) {
			require.Contains(t, commands(), name, "a group names it")
			groups[name] = true
		}
	}
	used := map[string]bool{}
	for words, c := range commands() {
		require.True(t, words == "" || strings.Contains(words, " ") || groups[words], "%s: name it in commandGroups", words)
		help := must(t, append(strings.Fields(words), "--help")...)
		c.InheritedFlags()
		c.Flags().VisitAll(func(f *pflag.Flag) {
			require.NotEqual(t, -1, groupOf(c, f.Name), "%s --%s: name it in flagGroups", words, f.Name)
			require.Regexp(t, `(?m)^  (    |-\w, )--`+f.Name+`\b`, help, words)
			used[f.Name], used[c.Name()+"/"+f.Name] = true, true
		})
		for _, sub := range c.Commands() {
			require.Contains(t, help, "\n  "+sub.Name(), words)
		}
		for line := range strings.Lines(help) {
			if len(strings.Fields(line)) == 1 {
				continue // a word is not broken
			}
			copied := c.UseLine() + "\n" + c.Example + "\n" + c.Long
			require.True(t, utf8.RuneCountInString(line) <= usualWidth+1 || strings.Contains(copied, strings.TrimSpace(line)), "%s: %s", words, line)
		}
	}
	for _, g := range flagGroups {
		for _, name := range strings.Fields(g.names) {
			require.True(t, used[name] || name == "help" || name == "version", "%s: no command has such a flag", name)
		}
	}
}

// A command that is given nothing shows how it is called; the error stays one line of its own.
func TestBareCommands(t *testing.T) {
	for words, c := range commands() {
		r := command(strings.Fields(words)...)
		if words == "doctor" || words == "help" || strings.HasPrefix(words, "completion ") {
			require.Equal(t, 0, r.code, words)
			continue
		}
		if words == "completion" {
			continue // cobra's own: it prints its help
		}
		require.Equal(t, 2, r.code, words)
		require.Regexp(t, `^syncsam-convert: [^\n]+\n$`, r.err)
		require.Contains(t, strings.Join(strings.Fields(r.out), " "), c.Short, words)
		require.Contains(t, r.out, "Usage:\n  syncsam-convert")
		require.NotContains(t, r.out, "--max-memory", "in short")
		if words != "" {
			require.Empty(t, command(append(strings.Fields(words), "--plain-http")...).out, "%s: it was given something", words)
		}
	}
}

func TestWrapped(t *testing.T) {
	require.Equal(t, []string{"one two three", "four", "", "  a    text of", "       two", "  much-longer", "       text", "end"},
		wrapped("one two\nthree four\n\n  a    text of two\n  much-longer  text\nend", 14))
}

// completed is what a shell is offered.
func completed(t *testing.T, words ...string) (values []string, directive string) {
	t.Helper()
	r := command(append([]string{cobra.ShellCompNoDescRequestCmd}, words...)...)
	require.Equal(t, 0, r.code, r.err)
	all := strings.Split(strings.TrimSpace(r.out), "\n")
	return all[:len(all)-1], all[len(all)-1]
}

func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"build --precision ": "fp32 fp16 int8 auto", "build x.pth --target ": "onnx openvino tensorrt", "build --quantize ": "cnn linear all", "build --engine o": "onnxruntime",
		"build --rounding ": "auto nearest adaptive", "build --one-mask=": "model sam", "build --image-input float": "float-hwc float-chw", "build --client sam": "samexporter",
		"build --family sam-": "sam-hq sam-med2d", "calibrate --calib-method m": "minmax mse", "bench --engine go,": "go,onnxruntime go,tensorrt", "verify --prompts box,p": "box,point1 box,points5",
		"verify --format ": "text github", "verify --table ": "2 3 4 5", "verify --judge ": "equivalence", "export triton --format ": "onnx plan", "export triton --device ": "gpu cpu",
		"plan lint --release 8.6,": "8.6,10 8.6,11", "lint --target onnx,openv": "onnx,openvino", "dataset --layout sa": "sa-med2d sa-med2d-files", "verify --threads ": "", "bench --prompts ": "", "serve --cache ": "",
	} {
		have, directive := completed(t, strings.Split(line, " ")...)
		require.Equal(t, want, strings.Join(have, " "), line)
		require.Equal(t, ":4", directive, "%s: no files", line)
	}
	have, directive := completed(t, "build", "--calib", "")
	require.Empty(t, have)
	require.Equal(t, ":0", directive, "files")
	have, _ = completed(t, "bui")
	require.Equal(t, []string{"build"}, have)
	have, _ = completed(t, "verify", registry.Scheme+"127.0.0.1:1/x:1", "--pro")
	require.Equal(t, []string{"--progress", "--prompts"}, have, "nothing is fetched for a line that is not finished")
	for name, c := range choices {
		require.True(t, name == "bench/prompts" || len(c.values()) > 0, name) // that is a number
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		require.Contains(t, must(t, "completion", shell), "syncsam-convert")
	}
}
