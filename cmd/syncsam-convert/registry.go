package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"syncsam-convert/internal/plain"
	"syncsam-convert/registry"
	"syncsam-convert/signature"
)

// inPlace are the commands that write into their folder: a copy in the cache is not theirs to change.
var inPlace = map[string]bool{"sign": true, "plan build": true}

// before is what comes before every command: flags without effect are refused, references to registries become folders, outputs are held
// apart from inputs.
func before(cmd *cobra.Command, args []string) error {
	if cmd.Name() == cobra.ShellCompRequestCmd { // a line that is not finished: nothing is fetched for it
		return nil
	}
	for _, step := range []func(*cobra.Command, []string) error{effective, local, apart} {
		if err := step(cmd, args); err != nil {
			return err
		}
	}
	return nil
}

// local puts the cached folder of an artifact in a registry wherever a command is given oci://REF: in arguments, and in flags that name inputs.
func local(cmd *cobra.Command, args []string) error {
	plainHTTP, err := cmd.Flags().GetBool("plain-http")
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
	cached := func(ref string) (string, error) {
		if inPlace[name] {
			return "", fmt.Errorf("%s: %s writes into its folder; pull it into one first", ref, name)
		}
		r, err := registry.Open(ref, plainHTTP)
		if err != nil {
			return "", err
		}
		return r.Cached(cmd.Context())
	}
	for i, a := range args {
		if strings.HasPrefix(a, registry.Scheme) && !(name == "push" && i == 1 || name == "pull") {
			if args[i], err = cached(a); err != nil {
				return err
			}
		}
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		ref := f.Value.String()
		if err != nil || !strings.HasPrefix(ref, registry.Scheme) {
			return
		}
		if _, writes := f.Annotations["writes"]; writes {
			err = fmt.Errorf("--%s: have %s, want a path; push puts an artifact into a registry", f.Name, ref)
			return
		}
		var dir string
		if dir, err = cached(ref); err == nil {
			err = f.Value.Set(dir)
		}
	})
	return err
}

func pushCommand() *cobra.Command {
	var quiet, all bool
	var key, json string
	c := &cobra.Command{
		Use:   "push DIR REGISTRY/NAME[:TAG]",
		Short: "Push an artifact to an OCI registry",
		Long: `Checks every file of an artifact against its manifest and sends it to a registry, one layer a file, in the media types of the CNCF ModelPack
specification; then, as referrers of it, how it was built (SLSA provenance), how it was verified, and a CycloneDX bill of materials. Layers that the
registry has are not sent again. With --key the statements are signed. Credentials are those of Docker's configuration.`,
		Example: "  syncsam-convert push artifact registry.example.org/models/syncsam:1.4\n  syncsam-convert push artifact localhost:5000/syncsam:dev --plain-http --quiet",
		Args:    exactly(2, "DIR and REGISTRY/NAME[:TAG]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			plainHTTP, _ := cmd.Flags().GetBool("plain-http")
			r, err := registry.Open(args[1], plainHTTP)
			if err != nil {
				return err
			}
			done, err := r.PushAll(cmd.Context(), args[0], key, all)
			switch out := cmd.OutOrStdout(); {
			case err != nil:
				return err
			case json != "":
				return putJSON(cmd, json, done)
			case quiet:
				plain.Fprintf(out, "%s\n", done.Digest)
			default:
				plain.Fprintf(out, "%d layers: sent %d bytes, %d bytes were there\nreferrers: %s\n%s\n", done.Layers, done.Sent, done.There, strings.Join(done.Referrers, ", "), done.Reference)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&quiet, "quiet", false, "print the digest alone")
	addJSON(c, &json, "what was done")
	c.Flags().BoolVar(&all, "all", false, "push files of the folder that the manifest does not list, too")
	c.Flags().StringVar(&key, "key", "", "private key (PEM) to sign the statements with")
	return c
}

func pullCommand() *cobra.Command {
	var out, key string
	var force, quiet bool
	c := &cobra.Command{
		Use:   "pull REGISTRY/NAME[:TAG|@DIGEST] -o DIR",
		Short: "Pull an artifact from an OCI registry",
		Long: `Writes an artifact from a registry into a new folder: whole, and with the hashes that its reference promises, or not at all. With --key the
signatures of its statements (provenance, verification, bill of materials) must hold, too; exit status 1 when one does not.`,
		Example: "  syncsam-convert pull registry.example.org/models/syncsam:1.4 -o artifact\n  syncsam-convert verify oci://localhost:5000/syncsam@sha256:... --plain-http --golden golden/data/syncsam-tiny-34",
		Args:    exactly(1, "one REGISTRY/NAME[:TAG|@DIGEST]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return errors.New("-o: it is needed")
			}
			plainHTTP, _ := cmd.Flags().GetBool("plain-http")
			r, err := registry.Open(args[0], plainHTTP)
			if err != nil {
				return err
			}
			if key != "" {
				found, err := r.CheckStatements(cmd.Context(), key)
				if err != nil {
					return err
				}
				if !quiet {
					plain.Fprintf(cmd.OutOrStdout(), "signed: %s\n", strings.Join(found, ", "))
				}
			}
			d, err := r.Pull(cmd.Context(), out, force)
			if err != nil {
				return err
			}
			if !quiet {
				plain.Fprintf(cmd.OutOrStdout(), "%s: ", out)
			}
			plain.Fprintf(cmd.OutOrStdout(), "%s\n", d.Digest)
			return nil
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "artifact folder to write")
	writes(c, "output")
	c.Flags().BoolVar(&force, "force", false, "replace an artifact that stands at -o")
	c.Flags().BoolVar(&quiet, "quiet", false, "print the digest alone")
	c.Flags().StringVar(&key, "key", "", "public key (PEM) that must have signed the statements")
	return c
}

func signCommand() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use:     "sign DIR --key KEY.pem",
		Short:   "Sign an artifact",
		Long:    "Signs every file of a folder in OpenSSF Model Signing's format and writes the signature beside them, model.sig. The key is elliptic (P-256, P-384, P-521), in a PEM file without a password.",
		Example: "  openssl ecparam -name prime256v1 -genkey -noout -out key.pem\n  openssl ec -in key.pem -pubout -out pub.pem\n  syncsam-convert sign artifact --key key.pem\n  syncsam-convert manifest check artifact --key pub.pem",
		Args:    exactly(1, "one DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if key == "" {
				return errors.New("--key: it is needed: a PEM file of a private key")
			}
			at, err := signature.Sign(args[0], key)
			if err == nil {
				plain.Fprintf(cmd.OutOrStdout(), "%s\n", at)
			}
			return err
		},
	}
	c.Flags().StringVar(&key, "key", "", "private key (PEM)")
	return c
}
