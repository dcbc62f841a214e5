package main

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"syncsam-convert/internal/plain"
)

// A group is what help shows under a title.
type group struct{ title, names string }

// commandGroups are the commands as the root's help has them.
var commandGroups = []group{
	{"From a checkpoint to an artifact", "build inspect calibrate"},
	{"Proof", "verify compare golden merge"},
	{"Masks and tensors", "run picture dataset exec serve"},
	{"Other runtimes", "lint plan export bench"},
	{"Shipping", "sign push pull manifest"},
	{"This program", "doctor completion help"},
}

// flagGroups are the flags as every command's help has them: a name, or COMMAND/NAME where it means something else there.
var flagGroups = []group{
	{"Input", "data image calib inputs family weights merge image-size layout split volume ignore min-pixels mask groups calibrate/shard all allow-nonfinite unverified"},
	{"Prompts", "box point prompt text text-ids prompts slices propagate grow"},
	{"Model", "target release opset external-data profile client image-input one-mask decoder-postprocess"},
	{"Precision", "precision quantize calib-method rounding keep-float fallback-budget plan"},
	{"Verification", "golden tolerance max-dsc-drop judge min-dsc margin moved-by baseline table three-way closed-loop layers shard resume"},
	{"Measurement", "vs rounds batch bench/prompts points memory"},
	{"Server", "listen parallel max-request cache triton/format device max-batch prefix"},
	{"Signature", "key"},
	{"Output", "output outputs force json html junit items overlay svg plan-out format write rows quiet progress no-descriptions"},
	{"Engine", "engine onnxruntime-lib tensorrt-lib threads"},
	{"Debugging", "debug why dump stop-after"},
	{"Every command", "max-memory plain-http help version"},
}

// groupOf is the group of a command's flag; -1: it has none.
func groupOf(c *cobra.Command, flag string) int {
	for _, name := range []string{c.Name() + "/" + flag, flag} {
		for i, g := range flagGroups {
			if slices.Contains(strings.Fields(g.names), name) {
				return i
			}
		}
	}
	return -1
}

// Widths of help, in characters: where nobody knows the terminal's, and those that can be read.
const (
	usualWidth = 80
	leastWidth = 40
	mostWidth  = 120
)

func width(w io.Writer) int {
	if f := plain.Terminal(w); f != nil {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return min(max(n, leastWidth), mostWidth)
		}
	}
	return usualWidth
}

// addHelp gives every command its help, and shell completion the values of flags.
func addHelp(root *cobra.Command) {
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { printHelp(c.OutOrStdout(), c, true) })
	root.SetUsageFunc(func(c *cobra.Command) error { printHelp(c.OutOrStderr(), c, false); return nil })
	root.InitDefaultHelpCmd()
	complete(root)
}

// bare reports whether a command was given nothing at all, and wants something.
func bare(c *cobra.Command) bool {
	return c.Flags().NFlag() == 0 && c.Flags().NArg() == 0 && (c.HasAvailableSubCommands() || c.ValidateArgs(nil) != nil)
}

// printHelp writes a command's help, or in short: without the flags.
func printHelp(w io.Writer, c *cobra.Command, whole bool) {
	n, about := width(w), c.Short
	if whole && c.Long != "" {
		about = c.Long
	}
	put(w, wrapped(about, n))
	plain.Fprintf(w, "\nUsage:\n")
	if c.HasAvailableSubCommands() {
		plain.Fprintf(w, "  %s COMMAND\n", c.CommandPath())
	} else {
		plain.Fprintf(w, "  %s\n", c.UseLine())
	}
	if c.HasExample() {
		plain.Fprintf(w, "\nExamples:\n")
		put(w, strings.Split(c.Example, "\n")) // lines to copy are not broken
	}
	if c.HasAvailableSubCommands() {
		printCommands(w, c, n)
	}
	if whole {
		printFlags(w, c, n)
	}
	if c.HasAvailableSubCommands() {
		plain.Fprintf(w, "\n%s COMMAND --help says more about a command.\n", c.CommandPath())
	} else if !whole {
		plain.Fprintf(w, "\n%s --help lists the flags.\n", c.CommandPath())
	}
}

func put(w io.Writer, lines []string) {
	for _, line := range lines {
		plain.Fprintf(w, "%s\n", line)
	}
}

func printCommands(w io.Writer, c *cobra.Command, n int) {
	short, own := map[string]string{}, group{title: "Commands"}
	for _, sub := range c.Commands() {
		short[sub.Name()] = sub.Short
		own.names += " " + sub.Name()
	}
	groups := []group{own}
	if !c.HasParent() {
		groups = commandGroups
	}
	for _, g := range groups {
		plain.Fprintf(w, "\n%s:\n", g.title)
		for _, name := range strings.Fields(g.names) {
			put(w, beside("  "+name, short[name], 14, n))
		}
	}
}

func printFlags(w io.Writer, c *cobra.Command, n int) {
	c.InitDefaultHelpFlag()
	c.InitDefaultVersionFlag()
	c.InheritedFlags() // puts those of all commands among its own
	for i, g := range flagGroups {
		var out []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if groupOf(c, f.Name) == i && !f.Hidden {
				out = append(out, usage(f, n)...)
			}
		})
		if len(out) > 0 {
			plain.Fprintf(w, "\n%s:\n", g.title)
			put(w, out)
		}
	}
}

// usage is a flag, what it takes, and what it does.
func usage(f *pflag.Flag, n int) []string {
	kind, about := pflag.UnquoteUsage(f)
	kind = strings.TrimSuffix(kind, "Array") // stringArray: given more than once
	head := "      --" + f.Name
	if f.Shorthand != "" {
		head = "  -" + f.Shorthand + ", --" + f.Name
	}
	switch {
	case f.NoOptDefVal != "" && f.Value.Type() != "bool":
		head += "[=" + kind + "]"
	case kind != "":
		head += " " + kind
	}
	if d := f.DefValue; !slices.Contains([]string{"", "0", "0s", "-1", "false", "[]"}, d) && !strings.Contains(about, "(default") {
		about += " (default " + d + ")"
	}
	return beside(head, about, 29, n)
}

// beside puts a text into the columns from one on, right of its head, or below where the head reaches into it.
func beside(head, text string, column, n int) []string {
	column = min(column, n/2)
	out := filled(strings.Fields(text), strings.Repeat(" ", column), n)
	switch {
	case len(out) == 0:
		return []string{head}
	case len(head) < column:
		out[0] = head + out[0][len(head):]
		return out
	}
	return append([]string{head}, out...)
}

// wrapped breaks text into lines of n characters at most. Lines that follow each other are one paragraph; one that begins with a space stands for itself, and
// of one that is a name, spaces and a text the text stays in its columns.
func wrapped(text string, n int) (out []string) {
	var paragraph []string
	flush := func() {
		out = append(out, filled(paragraph, "", n)...)
		paragraph = nil
	}
	for _, line := range strings.Split(strings.ReplaceAll(text, "\t", "    "), "\n") {
		body := strings.TrimLeft(line, " ")
		indent := len(line) - len(body)
		switch name, rest, columns := strings.Cut(body, "  "); {
		case body == "":
			flush()
			out = append(out, "")
		case indent == 0:
			paragraph = append(paragraph, strings.Fields(line)...)
		case columns:
			flush()
			out = append(out, beside(line[:indent]+name, rest, len(line)-len(strings.TrimLeft(rest, " ")), n)...)
		default:
			flush()
			out = append(out, filled(strings.Fields(body), line[:indent], n)...)
		}
	}
	flush()
	return out
}

// filled puts words into lines of n characters at most, where a word is not longer.
func filled(words []string, indent string, n int) (out []string) {
	for len(words) > 0 {
		line := indent + words[0]
		for words = words[1:]; len(words) > 0 && len([]rune(line))+1+len([]rune(words[0])) <= n; words = words[1:] {
			line += " " + words[0]
		}
		out = append(out, line)
	}
	return out
}
