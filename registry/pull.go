package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"syncsam-convert/artifact"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/output"
)

// Pull writes an artifact into a new folder: whole and with the hashes of its reference, or not at all. It gives the digest.
func (r *Repository) Pull(ctx context.Context, dir string, force bool) (ocispec.Descriptor, error) {
	d, m, _, err := r.manifest(ctx)
	if err != nil {
		return d, err
	}
	stage, err := artifact.Stage(dir, force)
	if err != nil {
		return d, err
	}
	defer stage.Discard()
	if err := r.fetch(ctx, m, stage.Dir); err != nil {
		return d, err
	}
	if _, err := artifact.Check(stage.Dir, true); err != nil {
		return d, fmt.Errorf("%s: %w: %w", r.asked, errForeign, err)
	}
	return d, cmp.Or(ctx.Err(), stage.Publish())
}

// manifest resolves the reference, and reads what stands there.
func (r *Repository) manifest(ctx context.Context) (ocispec.Descriptor, *ocispec.Manifest, []byte, error) {
	d, err := r.Resolve(ctx, r.Reference.Reference)
	if err != nil {
		return d, nil, nil, fmt.Errorf("%s: %w", r.asked, err)
	}
	if d.Size > maxManifest {
		return d, nil, nil, fmt.Errorf("%s: manifest: have %d bytes, want at most %d", r.asked, d.Size, maxManifest)
	}
	text, err := content.FetchAll(ctx, r.Manifests(), d)
	if err != nil {
		return d, nil, nil, fmt.Errorf("%s: manifest: %w", r.asked, err)
	}
	m, err := parse(text)
	if err != nil {
		err = fmt.Errorf("%s: %w", r.asked, err)
	}
	return d, m, text, err
}

// parse wants a model's manifest, whose layers are files of one folder.
func parse(text []byte) (*ocispec.Manifest, error) {
	var m ocispec.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if m.ArtifactType != ArtifactType || m.Config.MediaType != ConfigType {
		return nil, fmt.Errorf("%w: have artifactType %q with config %q, want %q with %q", errForeign, m.ArtifactType, m.Config.MediaType, ArtifactType, ConfigType)
	}
	if len(m.Layers) == 0 || len(m.Layers) > maxLayers {
		return nil, fmt.Errorf("layers: have %d, want 1 to %d", len(m.Layers), maxLayers)
	}
	seen := map[string]bool{}
	for _, layer := range m.Layers {
		name, err := fileOf(layer)
		switch {
		case err != nil:
			return nil, err
		case !strings.HasSuffix(layer.MediaType, ".raw"):
			return nil, fmt.Errorf("layers: %s: have %s, want files as they are (.raw)", name, layer.MediaType)
		case layer.Digest.Validate() != nil || layer.Size < 0:
			return nil, fmt.Errorf("layers: %s: have %d bytes with digest %q", name, layer.Size, layer.Digest)
		case seen[strings.ToLower(name)]:
			return nil, fmt.Errorf("layers: %s is there twice", name)
		}
		seen[strings.ToLower(name)] = true
	}
	return &m, nil
}

// fetch writes the layers' files. Each has its size and digest, or it is an error.
func (r *Repository) fetch(ctx context.Context, m *ocispec.Manifest, dir string) error {
	for _, layer := range m.Layers {
		name, err := fileOf(layer)
		if err != nil {
			return err
		}
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o777); err != nil {
			return err
		}
		if err := r.layer(ctx, layer, at); err != nil {
			return fmt.Errorf("%s: %s: %w", r.asked, name, err)
		}
	}
	return nil
}

func (r *Repository) layer(ctx context.Context, layer ocispec.Descriptor, at string) error {
	body, err := r.Blobs().Fetch(ctx, layer)
	if err != nil {
		return err
	}
	defer body.Close()
	return output.Part(at, func(w io.Writer) error {
		checked := content.NewVerifyReader(body, layer)
		n, err := io.Copy(w, checked)
		switch {
		case err != nil:
			return fmt.Errorf("have %d of %d bytes: %w", n, layer.Size, err)
		case n != layer.Size:
			return fmt.Errorf("have %d bytes, want %d", n, layer.Size)
		}
		return checked.Verify()
	})
}

const (
	manifestFile = "oci-manifest.json" // beside the folder: with it the cache proves itself
	folder       = "artifact"
)

// CacheFolder is where Cached keeps artifacts.
func CacheFolder() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder: %w", err)
	}
	return filepath.Join(base, "syncsam-convert", "oci"), nil
}

// Cached gives the artifact's folder in the user's cache, where it is pulled to when it is not there. Every file has the hash that the digest promises,
// each time. A reference by digest that is there needs no registry.
func (r *Repository) Cached(ctx context.Context) (string, error) {
	base, err := CacheFolder()
	if err != nil {
		return "", fmt.Errorf("%s: %w; pull it into a folder", r.asked, err)
	}
	if d, err := r.Reference.Digest(); err == nil {
		if at := filepath.Join(base, d.Encoded()); whole(at, d.Encoded()) {
			return filepath.Join(at, folder), nil
		}
	}
	d, m, text, err := r.manifest(ctx)
	if err != nil {
		return "", err
	}
	at := filepath.Join(base, d.Digest.Encoded())
	if whole(at, d.Digest.Encoded()) {
		return filepath.Join(at, folder), nil
	}
	if err := os.RemoveAll(at); err != nil { // somebody changed it
		return "", err
	}
	stage, err := output.NewFolder(at, nil)
	if err != nil {
		return "", err
	}
	defer stage.Discard()
	if err := r.fetch(ctx, m, filepath.Join(stage.Dir, folder)); err != nil {
		return "", err
	}
	if _, err := artifact.Check(filepath.Join(stage.Dir, folder), true); err != nil {
		return "", fmt.Errorf("%s: %w: %w", r.asked, errForeign, err)
	}
	if err := os.WriteFile(filepath.Join(stage.Dir, manifestFile), text, 0o666); err != nil {
		return "", err
	}
	return filepath.Join(at, folder), cmp.Or(ctx.Err(), stage.Publish())
}

// whole reports whether a cached folder is what its digest says: the same files, no others, each with its hash.
func whole(at, sum string) bool {
	path := filepath.Join(at, manifestFile)
	if have, _, err := artifact.Hash(path); err != nil || have != sum {
		return false
	}
	text, err := mapfile.ReadAll(path, maxManifest)
	if err != nil {
		return false
	}
	m, err := parse(text)
	if err != nil {
		return false
	}
	dir, want := filepath.Join(at, folder), map[string]ocispec.Descriptor{}
	for _, layer := range m.Layers {
		name, _ := fileOf(layer) // parse looked at it
		want[name] = layer
	}
	files := 0
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, file)
		name := filepath.ToSlash(rel)
		layer, known := want[name]
		if !known || !d.Type().IsRegular() {
			return fmt.Errorf("%s: foreign", name)
		}
		have, err := artifact.Describe(dir, name)
		if err == nil && digestOf(have.SHA256) != layer.Digest {
			err = fmt.Errorf("%s: changed", name)
		}
		files++
		return err
	})
	return err == nil && files == len(want)
}
