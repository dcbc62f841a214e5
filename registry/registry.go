// Package registry moves artifacts to and from OCI registries: one layer a file, in the media types of the CNCF ModelPack specification, so that tools
// which know it, or know OCI alone, take them as they are. Everything is addressed by its hash, and checked by it.
package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/retry"

	"syncsam-convert/artifact"
)

// Scheme is what a reference has before it where a folder could stand.
const Scheme = "oci://"

// The media types of the ModelPack specification (github.com/modelpack/model-spec, docs/spec.md).
const (
	ArtifactType = "application/vnd.cncf.model.manifest.v1+json"
	ConfigType   = "application/vnd.cncf.model.config.v1+json"
	weightType   = "application/vnd.cncf.model.weight.v1.raw"
	settingType  = "application/vnd.cncf.model.weight.config.v1.raw"
	fileKey      = "org.cncf.model.filepath"
)

// Bounds of what comes from a stranger.
const (
	maxManifest = 4 << 20
	maxLayers   = 512
)

// A Repository is one name in a registry, with a tag or a digest.
type Repository struct {
	*remote.Repository
	asked string
}

// Open makes a client of REGISTRY/NAME[:TAG|@DIGEST], with or without the scheme. Credentials are those of Docker's configuration. Nothing is sent yet.
func Open(ref string, plainHTTP bool) (*Repository, error) {
	r, err := remote.NewRepository(strings.TrimPrefix(ref, Scheme))
	if err != nil {
		return nil, fmt.Errorf("%s: want REGISTRY/NAME[:TAG|@DIGEST]: %w", ref, err)
	}
	client := &auth.Client{Client: &http.Client{Transport: retry.NewTransport(impatient{http.DefaultTransport})}, Cache: auth.NewCache()}
	client.SetUserAgent("syncsam-convert")
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("the configuration of Docker: %w", err)
	}
	client.Credential = credentials.Credential(store)
	r.Client, r.PlainHTTP, r.SkipReferrersGC = client, plainHTTP, true // registries need not allow deleting
	if r.Reference.Reference == "" {
		r.Reference.Reference = "latest"
	}
	return &Repository{r, strings.TrimPrefix(ref, Scheme)}, nil
}

// name is the repository without tag and digest.
func (r *Repository) name() string { return r.Reference.Registry + "/" + r.Reference.Repository }

// A Pushed is what a push did, in bytes of layers.
type Pushed struct {
	Digest    string   `json:"digest"`
	Reference string   `json:"reference"` // by digest
	Layers    int      `json:"layers"`
	Sent      int64    `json:"sent_bytes"`
	There     int64    `json:"there_bytes"` // the registry had them
	Referrers []string `json:"referrers"`   // kinds of the statements about it
}

// Push sends an artifact whose files are all as its manifest says. What the registry has is not sent again. Two pushes of one artifact have one digest.
func (r *Repository) Push(ctx context.Context, dir string, allowUnlisted bool) (ocispec.Descriptor, *Pushed, error) {
	names, err := artifact.Check(dir, allowUnlisted)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	if _, err := r.Reference.Digest(); err == nil {
		return ocispec.Descriptor{}, nil, fmt.Errorf("%s: have a digest, want a tag: the digest comes of what is pushed", r.asked)
	}
	man, err := artifact.Read(dir)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	done := &Pushed{Layers: len(names)}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: ArtifactType}
	for _, name := range names {
		layer, err := describe(dir, name)
		if err != nil {
			return ocispec.Descriptor{}, nil, err
		}
		m.Layers = append(m.Layers, layer)
		sent, err := r.send(ctx, layer, func() (io.ReadCloser, error) { return os.Open(filepath.Join(dir, filepath.FromSlash(name))) })
		if err != nil {
			return ocispec.Descriptor{}, nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
		if sent {
			done.Sent += layer.Size
		} else {
			done.There += layer.Size
		}
	}
	config, err := json.Marshal(modelConfig(man, m.Layers))
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	m.Config = content.NewDescriptorFromBytes(ConfigType, config)
	if _, err := r.send(ctx, m.Config, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(config))), nil }); err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	d := content.NewDescriptorFromBytes(m.MediaType, text)
	d.ArtifactType = ArtifactType
	if err := r.Manifests().PushReference(ctx, d, strings.NewReader(string(text)), r.Reference.Reference); err != nil {
		return d, nil, fmt.Errorf("%s: %w", r.asked, err)
	}
	done.Digest, done.Reference = d.Digest.String(), r.name()+"@"+d.Digest.String()
	return d, done, nil
}

// send uploads a blob that the registry has not.
func (r *Repository) send(ctx context.Context, d ocispec.Descriptor, open func() (io.ReadCloser, error)) (bool, error) {
	there, err := r.Blobs().Exists(ctx, d)
	if err != nil || there {
		return false, err
	}
	f, err := open()
	if err != nil {
		return false, err
	}
	defer f.Close()
	return true, r.Blobs().Push(ctx, d, f)
}

// describe is a file as a layer. Times and modes are left out, so that the same files give the same digest.
func describe(dir, name string) (ocispec.Descriptor, error) {
	file, err := artifact.Describe(dir, name)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	kind := weightType
	switch path.Ext(name) {
	case ".json", ".sig", ".sh", ".cache", ".txt":
		kind = settingType
	}
	return ocispec.Descriptor{MediaType: kind, Digest: digestOf(file.SHA256), Size: file.Bytes,
		Annotations: map[string]string{fileKey: name, ocispec.AnnotationTitle: name}}, nil
}

// fileOf is where a layer goes in the folder.
func fileOf(layer ocispec.Descriptor) (string, error) {
	name := layer.Annotations[fileKey]
	if name == "" {
		name = layer.Annotations[ocispec.AnnotationTitle]
	}
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, `\:`) || !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", fmt.Errorf("%s: layer %s: have file name %q, want a name inside the artifact", fileKey, layer.Digest, name)
	}
	return name, nil
}

// errForeign says that a reference is of something else.
var errForeign = errors.New("it is not an artifact of this program")
