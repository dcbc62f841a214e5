// Package triton writes model repositories for NVIDIA's Triton Inference Server: a folder for each graph of an artifact, with its configuration.
package triton

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/backends/tensorrt/plans"
	"syncsam-convert/engine"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/internal/output"
	"syncsam-convert/internal/trthost"
	"syncsam-convert/internal/version"
	"syncsam-convert/ir"
)

// ConfigName is the file that configures a model.
const ConfigName = "config.pbtxt"

// Options of an export. Zero values are the defaults.
type Options struct {
	Format   string // "onnx" or "plan"; "": plans where they are built
	Device   string // "gpu" (the default) or "cpu"
	MaxBatch int64  // images that Triton may run at a time, of graphs that take any number; DefaultMaxBatch
	Prefix   string // before the models' names
	Force    bool   // replaces models of these names that an export wrote; other models of the repository stay
	TensorRT string // libnvinfer, where plans are held against this machine's; "" looks for it
}

// DefaultMaxBatch is the largest batch of images, unless a plan says another.
const DefaultMaxBatch = 8

// A Model is one that was written.
type Model struct {
	Name string // its folder
	File string // of the artifact
	Size int64
}

// source is a graph of the artifact, and where its model is.
type source struct {
	name    string // of the graph: encoder
	onnx    string // file that declares its tensors
	file    string // file that Triton runs
	sum     string
	plan    bool
	release string // of TensorRT that built the plan
	profile []tensorrt.Profile
}

// Formats and Devices are what the options of these names take.
var (
	Formats = []string{"onnx", "plan"}
	Devices = []string{"gpu", "cpu"}
)

// Export writes the repository of an artifact whose files are those of its manifest.
func Export(dir, to string, o Options) (models []Model, err error) {
	if o.MaxBatch == 0 {
		o.MaxBatch = DefaultMaxBatch
	}
	switch {
	case o.MaxBatch < 1:
		return nil, fmt.Errorf("largest batch: have %d, want 1 or more", o.MaxBatch)
	case o.Format != "" && !slices.Contains(Formats, o.Format):
		return nil, fmt.Errorf("format: have %q, want %s", o.Format, strings.Join(Formats, " or "))
	case o.Device != "" && !slices.Contains(Devices, o.Device):
		return nil, fmt.Errorf("device: have %q, want %s", o.Device, strings.Join(Devices, " or "))
	case o.Prefix != "" && strings.Trim(o.Prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != "" || strings.HasPrefix(o.Prefix, "."):
		return nil, fmt.Errorf("prefix: have %q, want letters, digits and _-. alone", o.Prefix)
	}
	man, err := engine.OpenArtifact(dir, (*artifact.Manifest).Graphs)
	if err != nil {
		return nil, err
	}
	sources, err := find(dir, man, o)
	if err != nil {
		return nil, err
	}
	var listing output.Listing
	if o.Force {
		listing = func(repository string) (map[string]bool, error) { return written(repository, o.Prefix, sources) }
	}
	folder, err := output.NewFolder(to, listing)
	if err != nil {
		return nil, err
	}
	defer folder.Discard()
	for _, s := range sources {
		m, err := write(folder.Dir, man, s, o)
		if err != nil {
			return nil, err
		}
		models = append(models, m)
	}
	return models, folder.Publish()
}

// find lists the graphs, as plans where these are built and wanted.
func find(dir string, man *artifact.Manifest, o Options) (sources []source, err error) {
	var built map[string]source
	if o.Format != "onnx" {
		if built, err = plansOf(dir, o); err != nil {
			return nil, err
		}
	}
	for _, f := range man.Files {
		if path.Ext(f.Name) != ".onnx" || path.Base(f.Name) != f.Name { // those of the plan folder are found there
			continue
		}
		s := source{name: strings.TrimSuffix(f.Name, ".onnx"), onnx: filepath.Join(dir, f.Name), file: filepath.Join(dir, f.Name), sum: f.SHA256}
		if plan, ok := built[f.Name]; ok {
			s.onnx, s.file, s.sum, s.plan, s.release, s.profile = plan.onnx, plan.file, plan.sum, true, plan.release, plan.profile
		}
		sources = append(sources, s)
	}
	return sources, nil
}

// plansOf are the plans of an artifact by the names of their graphs' files; none where none is built, unless they are asked for. Plans that are not
// those of their models are refused.
func plansOf(dir string, o Options) (map[string]source, error) {
	recipe := filepath.Join(dir, plans.Name, tensorrt.RecipeName)
	if _, err := os.Lstat(recipe); err != nil {
		if o.Format == "plan" {
			return nil, fmt.Errorf("%s: it has no plans; build --target tensorrt and plan build make them", dir)
		}
		return nil, nil
	}
	f, err := plans.Open(dir)
	if err != nil {
		return nil, err
	}
	some := slices.ContainsFunc(f.Recipe.Engines, func(e tensorrt.Engine) bool {
		_, err := os.Lstat(filepath.Join(f.Dir, e.Plan))
		return err == nil
	})
	if !some && o.Format != "plan" {
		return nil, nil
	}
	sidecars := map[string]trthost.Sidecar{}
	if _, err := f.Check(o.TensorRT, func(plan string, s trthost.Sidecar) { sidecars[plan] = s }); err != nil {
		return nil, err
	}
	built := map[string]source{}
	for _, e := range f.Recipe.Engines {
		plan := filepath.Join(f.Dir, e.Plan)
		s := sidecars[plan]
		built[e.ONNX] = source{onnx: filepath.Join(f.Dir, e.ONNX), file: plan, sum: s.Plan, release: s.TensorRT, profile: e.Inputs}
	}
	return built, nil
}

// written are the files that an earlier export of the same models left in a repository.
func written(repository, prefix string, sources []source) (map[string]bool, error) {
	if _, err := os.Lstat(filepath.Join(repository, artifact.ManifestName)); err == nil {
		return nil, fmt.Errorf("%s: it is an artifact, and no model repository", repository)
	}
	files := map[string]bool{}
	for _, s := range sources {
		dir := filepath.Join(repository, prefix+s.name)
		text, err := mapfile.ReadAll(filepath.Join(dir, ConfigName), 1<<20)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !bytes.HasPrefix(text, []byte(mark)) {
			return nil, fmt.Errorf("%s: it was not written by this program, and is not replaced", filepath.Join(dir, ConfigName))
		}
		files[path.Join(prefix+s.name, ConfigName)] = true
		entries, err := os.ReadDir(filepath.Join(dir, "1"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			files[path.Join(prefix+s.name, "1", e.Name())] = true
		}
	}
	return files, nil
}

// write makes one model's folder.
func write(to string, man *artifact.Manifest, s source, o Options) (Model, error) {
	f, err := onnxpb.Open(s.onnx)
	if err != nil {
		return Model{}, err
	}
	defer f.Close()
	inputs, outputs, err := f.Interface()
	if err != nil {
		return Model{}, fmt.Errorf("%s: %w", s.onnx, err)
	}
	name := o.Prefix + s.name
	c, err := configure(name, man, s, inputs, outputs, o)
	if err != nil {
		return Model{}, fmt.Errorf("%s: %w", s.onnx, err)
	}
	in := filepath.Join(to, name, "1")
	if err := os.MkdirAll(in, 0o777); err != nil {
		return Model{}, err
	}
	if err := output.Part(filepath.Join(to, name, ConfigName), func(w io.Writer) error {
		_, err := io.WriteString(w, c)
		return err
	}); err != nil {
		return Model{}, err
	}
	model := "model.onnx"
	if s.plan {
		model = "model.plan"
	}
	size, err := copied(s.file, filepath.Join(in, model), s.sum)
	if err != nil || s.plan {
		return Model{name, s.file, size}, err
	}
	for _, b := range f.Beside() { // under the names by which the model calls them
		i := slices.IndexFunc(man.Files, func(l artifact.File) bool { return l.Name == b })
		if i < 0 {
			return Model{}, fmt.Errorf("%s: %w", b, artifact.ErrUnlisted)
		}
		to := filepath.Join(in, filepath.FromSlash(b))
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return Model{}, err
		}
		n, err := copied(filepath.Join(filepath.Dir(s.onnx), filepath.FromSlash(b)), to, man.Files[i].SHA256)
		if err != nil {
			return Model{}, err
		}
		size += n
	}
	return Model{name, s.file, size}, nil
}

// copied copies a file, whose hash must be the known one.
func copied(from, to, sum string) (size int64, err error) {
	in, err := mapfile.Reader(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	h := sha256.New()
	err = output.Part(to, func(w io.Writer) error {
		size, err = io.Copy(io.MultiWriter(w, h), in)
		return err
	})
	if have := hex.EncodeToString(h.Sum(nil)); err == nil && have != sum {
		err = fmt.Errorf("%s: have sha256 %s, want %s: it changed while it was copied", from, have, sum)
	}
	return size, err
}

// sizesOf are what dynamic dimensions are in a warm-up request: those that a plan is tuned for, else the same defaults.
func sizesOf() map[string]int64 {
	sizes := map[string]int64{}
	for name, span := range tensorrt.Spans() {
		sizes[name] = span.Opt
	}
	sizes[ir.MaskBatch] = 1
	return sizes
}

// mark begins a configuration that this program wrote.
const mark = "# written by syncsam-convert"

func heading(man *artifact.Manifest, s source) string {
	return fmt.Sprintf("%s %s: %s of %s, %s\n", mark, version.Get().Version, filepath.Base(s.file), man.Family, man.Precision)
}
