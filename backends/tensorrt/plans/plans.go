// Package plans builds the plans of a plan folder on this machine, and checks them. A folder may come from a stranger: nothing of it is used
// before its manifest lists it with the right hash, and nothing is written through a link.
package plans

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/trthost"
)

// Name is where the TensorRT target's files are in an artifact; the folder is an artifact itself, which every engine can run.
const Name = "plan"

// ErrStale says that a plan is not the one that belongs here.
var ErrStale = errors.New("the plan does not fit")

// maxText bounds a recipe and a script in bytes.
const maxText = 4 << 20

// A Folder is an artifact's plan folder whose files are those that its manifests list.
type Folder struct {
	Dir    string
	Recipe *tensorrt.Recipe
}

// Open finds the plan folder in an artifact, or is given it.
func Open(dir string) (*Folder, error) {
	if _, err := os.Lstat(filepath.Join(dir, Name, tensorrt.RecipeName)); err == nil {
		outer, err := artifact.Read(dir)
		if err != nil {
			return nil, err
		}
		if err := outer.VerifyFiles(dir, Name+"/"+artifact.ManifestName); err != nil {
			return nil, err
		}
		dir = filepath.Join(dir, Name)
	}
	path := filepath.Join(dir, tensorrt.RecipeName)
	text, err := mapfile.ReadAll(path, maxText)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: no plan folder: it has no %s; build --target tensorrt makes one", dir, tensorrt.RecipeName)
	}
	if err != nil {
		return nil, err
	}
	r, err := tensorrt.ParseRecipe(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := &Folder{dir, r}
	return f, f.verify()
}

// verify holds the folder's files against its manifest, the recipe's hashes against the manifest's, and the script against the recipe.
func (f *Folder) verify() error {
	man, err := artifact.Read(f.Dir)
	if err != nil {
		return err
	}
	if err := man.Verify(f.Dir); err != nil {
		return err
	}
	names := []string{tensorrt.RecipeName, tensorrt.ScriptName}
	for _, e := range f.Recipe.Engines {
		names = append(names, e.ONNX)
		if i := slices.IndexFunc(man.Files, func(l artifact.File) bool { return l.Name == e.ONNX }); i >= 0 && man.Files[i].SHA256 != e.SHA256 {
			return fmt.Errorf("%s: engines: %s: have sha256 %q, want %s as in the manifest", filepath.Join(f.Dir, tensorrt.RecipeName), e.ONNX, e.SHA256, man.Files[i].SHA256)
		}
	}
	if err := man.Lists(f.Dir, names...); err != nil {
		return err
	}
	script := filepath.Join(f.Dir, tensorrt.ScriptName)
	text, err := mapfile.ReadAll(script, maxText)
	if err != nil {
		return err
	}
	if string(text) != f.Recipe.Script() {
		return fmt.Errorf("%s: it is not the script of the recipe beside it; build makes the folder anew", script)
	}
	return nil
}

// writable refuses outputs of trtexec that lead out of the folder: it writes through links.
func (f *Folder) writable(e tensorrt.Engine) error {
	for _, name := range []string{e.Plan, trthost.SidecarOf(e.Plan), tensorrt.TimingCache} {
		path := filepath.Join(f.Dir, name)
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s: have a %s, want a file of the folder or none", path, kind(info.Mode()))
		}
	}
	return nil
}

func kind(m os.FileMode) string {
	switch {
	case m&os.ModeSymlink != 0:
		return "link"
	case m.IsDir():
		return "folder"
	}
	return "special file"
}

// Build builds every plan with this machine's TensorRT (library: libnvinfer's path, "" to look for it) and GPU, and writes beside each what
// it is bound to. lines sees what TensorRT reports, built each plan's path and sidecar.
func (f *Folder) Build(ctx context.Context, library string, lines io.Writer, built func(plan string, s trthost.Sidecar)) error {
	host, err := trthost.Find(library)
	if err != nil {
		return fmt.Errorf("plan build: %w", err)
	}
	return f.build(ctx, host, lines, built)
}

func (f *Folder) build(ctx context.Context, host *trthost.Host, lines io.Writer, built func(plan string, s trthost.Sidecar)) error {
	flags, err := f.Recipe.FlagsFor(host.Library.Version)
	if err != nil {
		return err
	}
	for _, e := range f.Recipe.Engines {
		if err := f.writable(e); err != nil {
			return err
		}
		if err := host.Build(ctx, f.Dir, e.Plan, f.Recipe.Arguments(e, flags), lines); err != nil {
			return err
		}
		plan := filepath.Join(f.Dir, e.Plan)
		sum, size, err := artifact.Hash(plan)
		if err != nil {
			return err
		}
		s := trthost.Sidecar{TensorRT: host.Library.Version, GPU: host.GPU.Name, ComputeCapability: host.GPU.ComputeCapability, Driver: host.GPU.Driver, ONNX: e.SHA256, Plan: sum, Bytes: size}
		if err := s.Write(plan); err != nil {
			return err
		}
		built(plan, s)
	}
	return nil
}

// Check compares every plan with its sidecar, the model that it was built of, and this machine's TensorRT and GPU where it has them; here
// says why it has not. An error that is ErrStale means that something does not fit. ok sees each plan that does.
func (f *Folder) Check(library string, ok func(plan string, s trthost.Sidecar)) (here, err error) {
	lib, here := trthost.FindLibrary(library)
	gpu, gpuErr := trthost.FindGPU()
	if here == nil {
		here = gpuErr
	}
	for _, e := range f.Recipe.Engines {
		plan := filepath.Join(f.Dir, e.Plan)
		if _, err := os.Stat(plan); errors.Is(err, os.ErrNotExist) {
			return here, fmt.Errorf("%s: it is not built yet; plan build %s builds it", plan, f.Dir)
		}
		s, err := trthost.ReadSidecar(plan)
		if err != nil {
			return here, err
		}
		sum, _, err := artifact.Hash(plan)
		switch {
		case err != nil:
			return here, err
		case sum != s.Plan:
			return here, fmt.Errorf("%w: %s: have sha256 %s, want %s as its sidecar says", ErrStale, plan, sum, s.Plan)
		case e.SHA256 != s.ONNX:
			return here, fmt.Errorf("%w: %s: it was built of another model (sha256 %s) than %s", ErrStale, plan, s.ONNX, e.ONNX)
		case here == nil:
			if err := s.Suits(lib, gpu); err != nil {
				return here, fmt.Errorf("%w: %s: %w", ErrStale, plan, err)
			}
		}
		ok(plan, s)
	}
	return here, nil
}
