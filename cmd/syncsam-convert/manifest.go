package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"syncsam-convert/artifact"
	"syncsam-convert/internal/plain"
	"syncsam-convert/provenance"
	"syncsam-convert/signature"
)

func manifestCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "manifest",
		Short: "Check an artifact's files and signature; print its provenance and bill of materials",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("manifest: no command; see syncsam-convert manifest --help")
		},
	}
	c.AddCommand(manifestCheckCommand(),
		statementCommand("provenance", "Print how an artifact was built, as an in-toto statement of SLSA provenance", provenance.Build),
		statementCommand("result", "Print how an artifact was verified, as an in-toto statement of a test result", provenance.Result),
		statementCommand("bom", "Print an artifact's CycloneDX bill of materials", provenance.BOM))
	for _, sub := range c.Commands() {
		sub.DisableFlagsInUseLine = true
	}
	return c
}

func manifestCheckCommand() *cobra.Command {
	var key string
	var all bool
	c := &cobra.Command{
		Use:   "check DIR [--key PUB.pem]",
		Short: "Hash an artifact's files again and check its signature, offline",
		Long: `Hashes every file of an artifact again and compares it with the manifest and, where there is one, with the signature model.sig. With --key the
signature must be there and be by that key. Exit status 1 when something does not hold, or a file is there that the manifest does not list.`,
		Args: exactly(1, "one DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, signed, err := signature.Check(args[0], key, all)
			if err != nil {
				return err
			}
			plain.Fprintf(cmd.OutOrStdout(), "%s: %d files have the hashes of the manifest; signature: %s\n", args[0], len(names), signed)
			return nil
		},
	}
	c.Flags().StringVar(&key, "key", "", "public key (PEM) that must have signed it")
	c.Flags().BoolVar(&all, "all", false, "allow files that the manifest does not list, such as built plans")
	return c
}

func statementCommand(name, short string, of func(provenance.Subject, *artifact.Manifest) ([]byte, error)) *cobra.Command {
	return &cobra.Command{
		Use:   name + " DIR",
		Short: short,
		Args:  exactly(1, "one DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := artifact.Read(args[0])
			if err != nil {
				return err
			}
			sum, _, err := artifact.Hash(filepath.Join(args[0], artifact.ManifestName))
			if err != nil {
				return err
			}
			text, err := of(provenance.Subject{Name: artifact.ManifestName, SHA256: sum}, m)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			_, err = cmd.OutOrStdout().Write(append(text, '\n'))
			return err
		},
	}
}
