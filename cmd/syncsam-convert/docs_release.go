//go:build release

package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"syncsam-convert/internal/version"
)

func init() { more = append(more, docsCommand) }

// docsCommand writes what release archives hold beside the program. Only a build with the tag release has it.
func docsCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "docs DIR",
		Short:  "Write man pages and completions",
		Hidden: true,
		Args:   exactly(1, "one DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.DisableAutoGenTag = true // it would say today's date
			man, completions := filepath.Join(args[0], "man"), filepath.Join(args[0], "completions")
			for _, dir := range []string{man, completions} {
				if err := os.MkdirAll(dir, 0o777); err != nil {
					return err
				}
			}
			for name, write := range map[string]func(string) error{
				"syncsam-convert.bash": func(to string) error { return root.GenBashCompletionFileV2(to, true) },
				"_syncsam-convert":     root.GenZshCompletionFile, // as zsh looks for it
				"syncsam-convert.fish": func(to string) error { return root.GenFishCompletionFile(to, true) },
				"syncsam-convert.ps1":  root.GenPowerShellCompletionFileWithDesc,
			} {
				if err := write(filepath.Join(completions, name)); err != nil {
					return err
				}
			}
			return doc.GenManTree(root, &doc.GenManHeader{Title: "SYNCSAM-CONVERT", Section: "1", Source: "syncsam-convert " + version.Version, Manual: "syncsam-convert"}, man)
		},
	}
}
