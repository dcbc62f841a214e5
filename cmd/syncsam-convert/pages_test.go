package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"syncsam-convert/internal/memory"
	"syncsam-convert/passes"
)

const pages = "../../docs/"

// keptPage holds a page to what it must say, or writes it.
func keptPage(t *testing.T, name, want string) {
	if *update {
		require.NoError(t, os.WriteFile(pages+name, []byte(want), 0o644))
	}
	have, err := os.ReadFile(pages + name)
	require.NoError(t, err)
	require.Equal(t, want, string(have), "docs/%s is stale: go test ./cmd/syncsam-convert -run TestPages -update writes it", name)
}

// docs/commands.md is made of the commands: go test ./cmd/syncsam-convert -run TestPages -update writes it.
func TestPagesOfCommands(t *testing.T) {
	memory.Set(0) // another test may have left a limit, which the flag would show
	var page strings.Builder
	page.WriteString("# The commands\n\nMade of the program itself, `syncsam-convert COMMAND --help`, by a test; what is written here by hand is lost.\n")
	root := newRoot()
	writeCommand(&page, root)
	count := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() { // by name
			if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
				writeCommand(&page, sub)
				count++
				walk(sub)
			}
		}
	}
	walk(root)
	require.GreaterOrEqual(t, count, 20)
	keptPage(t, "commands.md", page.String())
}

func writeCommand(page *strings.Builder, c *cobra.Command) {
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	fmt.Fprintf(page, "\n## %s\n\n```text\n%s\n```\n", c.CommandPath(), strings.TrimSpace(text))
	if c.Runnable() && c.HasParent() {
		fmt.Fprintf(page, "\n    %s\n", c.UseLine())
	}
	for line := range strings.Lines(strings.TrimSpace(c.Example)) {
		fmt.Fprintf(page, "    %s\n", strings.TrimSpace(line))
	}
	rows := 0
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		one := pflag.NewFlagSet("", pflag.ContinueOnError)
		one.AddFlag(f)
		name, what, ok := strings.Cut(strings.TrimSpace(one.FlagUsages()), "   ") // empty for a hidden one
		if !ok || f.Name == "help" || f.Name == "version" {
			return
		}
		if rows++; rows == 1 {
			page.WriteString("\n| flag | |\n|---|---|\n")
		}
		fmt.Fprintf(page, "| `%s` | %s |\n", strings.ReplaceAll(name, "|", `\|`), strings.NewReplacer("|", `\|`, "\n", " ").Replace(strings.TrimSpace(what)))
	})
}

// What docs/compiler.md shows of the IR and of the passes is what the compiler does today: -update writes it. Behind a fence stands where a block comes from:
// "ir case PASS GRAPH" is a graph of passes/testdata; "ir stage PASS NAME..." are the values of these names, with what begins with NAME., after a pass
// of an INT8 build of the golden model ("input": before all), without long constants and origins.
func TestPagesOfTheCompiler(t *testing.T) {
	stages := t.TempDir()
	must(t, "build", tiny34, "-o", filepath.Join(t.TempDir(), "a"), "--precision", "int8", "--rounding", "nearest", "--calib", "../../golden/data/calibration", "--dump", stages)
	page, err := os.ReadFile(pages + "compiler.md")
	require.NoError(t, err)
	blocks := 0
	made := regexp.MustCompile("(?ms)^```ir ([^\n]+)\n(.*?)^```\n").ReplaceAllStringFunc(string(page), func(block string) string {
		info := strings.TrimPrefix(strings.SplitN(block, "\n", 2)[0], "```ir ")
		words := strings.Fields(info)
		var text string
		switch words[0] {
		case "case":
			text = graphOf(t, words[1], words[2])
		case "stage":
			text = valuesOf(t, stages, words[1], words[2:])
		}
		require.NotEmpty(t, text, info)
		blocks++
		return "```ir " + info + "\n" + text + "```\n"
	})
	require.GreaterOrEqual(t, blocks, 8)
	var table strings.Builder
	table.WriteString("| pass | what it does | results |\n|---|---|---|\n")
	for _, p := range append(passes.Pipeline(passes.Goal{Int8: true, Half: true, Calibrated: true, Convs: true}), passes.Execute()...) {
		table.WriteString(fmt.Sprintf("| `%s` | %s | %s |\n", p.Name, p.Doc, map[passes.Numerics]string{passes.Exact: "same bits", passes.Rounding: "rounded in another order", passes.Lossy: "less precise, on purpose"}[p.Numerics]))
	}
	table.WriteString("\n| stands before | | because |\n|---|---|---|\n")
	for _, o := range passes.Order {
		table.WriteString(fmt.Sprintf("| `%s` | `%s` | %s |\n", o.Before, o.After, o.Why))
	}
	generated := regexp.MustCompile(`(?s)(<!-- made of the table of passes -->\n).*(<!-- until here -->\n)`)
	require.Regexp(t, generated, made)
	made = generated.ReplaceAllString(made, "${1}\n"+strings.ReplaceAll(table.String(), "$", "$$")+"\n${2}")
	keptPage(t, "compiler.md", made)
}

// graphOf is a graph of a pass's case, without its frame.
func graphOf(t *testing.T, pass, graph string) string {
	text, err := os.ReadFile("../../passes/testdata/" + pass + ".ir")
	require.NoError(t, err)
	_, body, ok := strings.Cut(string(text), "graph "+graph+" {\n")
	require.True(t, ok, graph)
	body, _, _ = strings.Cut(body, "\n}")
	return body + "\n"
}

var (
	longConstant = regexp.MustCompile(`\{(-?[\d.e+-]+, -?[\d.e+-]+), [^}]{30,}\}`)
	origin       = regexp.MustCompile(` of "[^"]*"`)
)

// valuesOf are lines of the encoder's text after a pass.
func valuesOf(t *testing.T, folder, pass string, names []string) string {
	files, err := filepath.Glob(filepath.Join(folder, "*_"+pass+".ir"))
	require.NoError(t, err)
	require.Len(t, files, 1, pass)
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	_, encoder, _ := strings.Cut(string(text), "graph encoder {\n")
	encoder, _, _ = strings.Cut(encoder, "\n}")
	var out strings.Builder
	for line := range strings.Lines(encoder) {
		for _, name := range names {
			if strings.Contains(line, `"`+name+`"`) || strings.Contains(line, `"`+name+`.`) && !strings.Contains(line, ` of "`+name+`.`) {
				out.WriteString(origin.ReplaceAllString(longConstant.ReplaceAllString(line, "{$1, …}"), ""))
				break
			}
		}
	}
	return out.String()
}

// Every page of docs/ stands in its index, and every link of a page leads somewhere.
func TestPagesAreFound(t *testing.T) {
	index, err := os.ReadFile(pages + "README.md")
	require.NoError(t, err)
	files, err := filepath.Glob(pages + "*.md")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		name := filepath.Base(file)
		if name != "README.md" && !strings.HasSuffix(name, ".in.md") {
			require.Contains(t, string(index), "]("+name+")", "the index has no line for it")
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`).FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(filepath.Join(pages, link[1]))
			require.NoError(t, err, "%s: its link leads nowhere", name)
		}
	}
}
