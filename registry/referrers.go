package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"

	"syncsam-convert/artifact"
	"syncsam-convert/provenance"
	"syncsam-convert/signature"
)

// The annotations that say what a signed statement holds, as cosign and others write them.
const (
	bundleKey    = "dev.sigstore.bundle.content"
	bundleOf     = "dsse-envelope"
	predicateKey = "dev.sigstore.bundle.predicateType"
	epoch        = "1970-01-01T00:00:00Z" // referrers have no time of their own, so that two pushes make the same
	maxReferrers = 256
)

// PushAll is Push, and then what the manifest tells of the artifact as referrers of it: provenance, the result of its verification, and a bill of
// materials. With a key file the statements are signed.
func (r *Repository) PushAll(ctx context.Context, dir, keyFile string, allowUnlisted bool) (*Pushed, error) {
	var signer *signature.Signer
	if keyFile != "" {
		var err error
		if signer, err = signature.NewSigner(keyFile); err != nil {
			return nil, err
		}
	}
	d, done, err := r.Push(ctx, dir, allowUnlisted)
	if err != nil {
		return nil, err
	}
	man, err := artifact.Read(dir)
	if err != nil {
		return nil, err
	}
	s := provenance.Subject{Name: r.name(), SHA256: d.Digest.Encoded()}
	done.Referrers = []string{}
	for _, of := range []struct {
		kind, media string
		make        func(provenance.Subject, *artifact.Manifest) ([]byte, error)
	}{{provenance.BuildType, provenance.StatementType, provenance.Build}, {provenance.ResultType, provenance.StatementType, provenance.Result}, {"", provenance.BOMType, provenance.BOM}} {
		text, err := of.make(s, man)
		if errors.Is(err, provenance.ErrUnverified) {
			continue
		}
		if err != nil {
			return nil, err
		}
		annotations, media := map[string]string{ocispec.AnnotationCreated: epoch}, of.media
		if of.kind != "" {
			annotations["predicateType"] = of.kind
			if signer != nil {
				if text, err = signer.Envelop(text); err != nil {
					return nil, err
				}
				media, annotations[bundleKey], annotations[predicateKey] = signature.BundleType, bundleOf, of.kind
			}
		}
		if err := r.attach(ctx, d, media, text, annotations); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", r.asked, media, err)
		}
		if of.kind == "" {
			of.kind = of.media
		}
		done.Referrers = append(done.Referrers, of.kind)
	}
	return done, nil
}

func (r *Repository) attach(ctx context.Context, to ocispec.Descriptor, media string, text []byte, annotations map[string]string) error {
	blob := content.NewDescriptorFromBytes(media, text)
	there, err := r.Blobs().Exists(ctx, blob)
	if err == nil && !there {
		_, err = oras.PushBytes(ctx, r.Blobs(), media, text)
	}
	if err != nil {
		return err
	}
	to.ArtifactType, to.Annotations = "", nil
	_, err = oras.PackManifest(ctx, r.Repository, oras.PackManifestVersion1_1, media, oras.PackManifestOptions{Subject: &to, Layers: []ocispec.Descriptor{blob}, ManifestAnnotations: annotations})
	return err
}

// CheckStatements wants provenance of the artifact at the reference, signed by the owner of a public key and about this artifact. It gives
// the kinds of the statements that hold, and holds the reference at the digest that they are about; no provenance among them is a signature.ErrInvalid.
func (r *Repository) CheckStatements(ctx context.Context, keyFile string) ([]string, error) {
	if err := signature.CheckPublic(keyFile); err != nil {
		return nil, err
	}
	d, _, _, err := r.manifest(ctx)
	if err != nil {
		return nil, err
	}
	r.Reference.Reference = d.Digest.String() // a tag may move: what is pulled next is what was checked
	var all []ocispec.Descriptor
	// All of them: what a registry's list says of their type is not everywhere what they say themselves.
	if err := r.Referrers(ctx, d, "", func(page []ocispec.Descriptor) error {
		if all = append(all, page...); len(all) > maxReferrers {
			return fmt.Errorf("have more than %d referrers", maxReferrers)
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("%s: referrers: %w", r.asked, err)
	}
	var kinds []string
	var invalid error
	for _, referrer := range all {
		switch kind, err := r.statement(ctx, referrer, d, keyFile); {
		case errors.Is(err, signature.ErrInvalid): // others may sign it, too
			invalid = fmt.Errorf("referrer %s: %w", referrer.Digest, err)
		case err != nil:
			return nil, fmt.Errorf("%s: referrer %s: %w", r.asked, referrer.Digest, err)
		case kind != "":
			kinds = append(kinds, kind)
		}
	}
	if !slices.Contains(kinds, provenance.BuildType) {
		return nil, errors.Join(fmt.Errorf("%w: %s: it has no provenance signed by the key in %s (push --key)", signature.ErrInvalid, r.asked, keyFile), invalid)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds), nil
}

// statement checks one signed statement about an artifact, and gives its kind; "" of a referrer that is something else.
func (r *Repository) statement(ctx context.Context, referrer, about ocispec.Descriptor, keyFile string) (string, error) {
	if referrer.Size > maxManifest {
		return "", fmt.Errorf("have %d bytes, want at most %d", referrer.Size, maxManifest)
	}
	text, err := content.FetchAll(ctx, r.Manifests(), referrer)
	if err != nil {
		return "", err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(text, &m); err == nil && cmp.Or(m.ArtifactType, m.Config.MediaType) != signature.BundleType {
		return "", nil
	} else if err != nil || len(m.Layers) != 1 || m.Layers[0].Size > maxManifest {
		return "", fmt.Errorf("%w: have %d layers, want one statement of at most %d bytes", signature.ErrInvalid, len(m.Layers), maxManifest)
	}
	bundle, err := content.FetchAll(ctx, r.Blobs(), m.Layers[0])
	if err != nil {
		return "", err
	}
	payload, err := signature.Open(bundle, keyFile)
	if err != nil {
		return "", err
	}
	var s struct {
		Kind    string `json:"predicateType"`
		Subject []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(payload, &s); err != nil {
		return "", fmt.Errorf("%w: %w", signature.ErrInvalid, err)
	}
	if len(s.Subject) != 1 || s.Subject[0].Digest["sha256"] != about.Digest.Encoded() {
		return "", fmt.Errorf("%w: the statement is about something else", signature.ErrInvalid)
	}
	return s.Kind, nil
}
