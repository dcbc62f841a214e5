package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/artifact"
	"syncsam-convert/calib"
	"syncsam-convert/dataset"
	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/passes"
	"syncsam-convert/pictures"
)

// fewImages is the number below which calibration warns.
const fewImages = 8

type calibFlags struct{ path, method, quantize string }

func (f *calibFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.path, "calib", "", "calibration data: a folder of pictures or volumes, a data set (its folder or its index), or files that calibrate wrote (comma-separated)")
	c.Flags().StringVar(&f.quantize, "quantize", "", "what becomes int8: cnn (the CNN branch), linear (the ViT's linear layers) or all (default cnn where there is a branch, else linear)")
	c.Flags().StringVar(&f.method, "calib-method", calib.DefaultMethod, "how clipping ranges are chosen: "+strings.Join(calib.MethodNames(), ", "))
}

func calibrateCommand() *cobra.Command {
	var f calibFlags
	var v verifyFlags
	var out, shard string
	var model modelFlags
	c := &cobra.Command{
		Use:   "calibrate CHECKPOINT --calib PATH -o FILE",
		Short: "Collect activation statistics for int8 and fp16",
		Long:  "Runs the float model over calibration images and writes the statistics that build --calib takes: ranges for int8, and the largest amplitude of every value for fp16. With --shard i/n only each n-th image is run; build --calib a,b,c merges the files.",
		Args:  exactly(1, "one CHECKPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.path == "" || out == "" {
				return fmt.Errorf("--calib and -o: both are needed")
			}
			ck, err := checkpoint.Open(args[0])
			if err != nil {
				return err
			}
			defer ck.Close()
			m, err := model.load(cmd, ck, args[0])
			if err != nil {
				return err
			}
			if _, err := passes.Run(cmd.Context(), m, slices.Concat(passes.Simplify, passes.Narrow), passes.Options{}); err != nil {
				return err
			}
			if _, err := passes.Run(cmd.Context(), encoderOf(m), passes.Prepare, passes.Options{}); err != nil {
				return err
			}
			sum, _, err := artifact.Hash(args[0])
			if err != nil {
				return err
			}
			images, err := f.images()
			if err != nil {
				return err
			}
			if images, err = takeShard(images, shard); err != nil {
				return err
			}
			tmp, err := os.MkdirTemp("", "syncsam-convert-*")
			if err != nil {
				return err
			}
			defer os.RemoveAll(tmp)
			s := calib.NewStats(sum)
			scope, err := f.scope(m)
			if err != nil {
				return err
			}
			if err := collect(cmd, s, m, scope, true, images, tmp, &v); err != nil {
				return err
			}
			if err := s.WriteFile(out); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d values over %d images\n", out, len(s.Values), s.Images)
			return nil
		},
	}
	f.add(c)
	v.addEngine(c)
	c.Flags().StringVarP(&out, "output", "o", "", "statistics file to write")
	c.Flags().StringVar(&shard, "shard", "", "i/n: run only images i, i+n, i+2n, ... (i from 1)")
	model.register(c)
	c.Flags().BoolVar(&v.progress, "progress", false, "show progress even when standard error is not a terminal")
	return c
}

func takeShard(images []string, shard string) ([]string, error) {
	if shard == "" {
		return images, nil
	}
	var i, n int
	if _, err := fmt.Sscanf(shard, "%d/%d", &i, &n); err != nil || n < 1 || i < 1 || i > n {
		return nil, fmt.Errorf("--shard: have %q, want i/n with 1 <= i <= n", shard)
	}
	var out []string
	for k := i - 1; k < len(images); k += n {
		out = append(out, images[k])
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("--shard: %s of %d images is none", shard, len(images))
	}
	return out, nil
}

// volumeSlices is how many slices of a volume calibrate, evenly spaced.
const volumeSlices = 8

// images lists the calibration images: a folder's pictures and slices of its volumes, the images of a data set index, or those of a
// data set's folder; each once, sorted.
func (f *calibFlags) images() ([]string, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	items, root := dataset.Items(f.path), filepath.Dir(f.path)
	if info.IsDir() {
		if err := addPictures(found, f.path); err != nil {
			return nil, err
		}
		if len(found) == 0 {
			root = f.path
			if _, items, err = dataset.Open(root, dataset.Options{}); err != nil {
				return nil, fmt.Errorf("it has no pictures (%s): %w", strings.Join(slices.Concat(pictures.PictureTypes, pictures.VolumeTypes()), ", "), err)
			}
		}
	}
	if len(found) == 0 {
		for pair, err := range items {
			if err != nil {
				return nil, err
			}
			path, err := dataset.Path(root, pair.Image)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.path, err)
			}
			found[path] = true
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: it lists no pictures", f.path)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// addPictures finds the pictures that lie in a folder, and slices of its volumes.
func addPictures(found map[string]bool, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir(), pictures.IsJunk(path):
		case pictures.IsScan(path):
			n, err := pictures.Slices(path)
			if err != nil {
				return err
			}
			for i := range min(n, volumeSlices) {
				slice := (2*i + 1) * n / (2 * min(n, volumeSlices))
				found[pictures.Part{Slice: &slice}.Name(path)] = true
			}
		case slices.Contains(pictures.PictureTypes, strings.ToLower(filepath.Ext(path))):
			found[path] = true
		}
	}
	return nil
}

// scope is what --quantize chooses of a model; without it its CNN branch, or the linear layers where it has none.
func (f *calibFlags) scope(m *ir.Module) (quant.Scope, error) {
	all := quant.Scope{Convolutions: m.Meta.Branch, Linears: m.Meta.Linears}
	switch f.quantize {
	case "":
		if len(all.Convolutions) > 0 {
			all.Linears = nil
		}
	case "cnn":
		all.Linears = nil
	case "linear":
		all.Convolutions = nil
	case "all":
	default:
		return all, fmt.Errorf("--quantize: have %q, want cnn, linear or all", f.quantize)
	}
	return all, nil
}

// collected reports whether the data are statistics that calibrate wrote.
func (f *calibFlags) collected() bool { return strings.HasSuffix(f.path, ".safetensors") }

// stats gives the statistics: merged from files, or collected now, with peaks where they are asked for.
func (f *calibFlags) stats(cmd *cobra.Command, m *ir.Module, scope quant.Scope, peaks bool, source, tmp string, v *verifyFlags) (*calib.Stats, error) {
	s := calib.NewStats(source)
	if f.collected() {
		for _, path := range strings.Split(f.path, ",") {
			other, err := calib.ReadFile(path)
			if err != nil {
				return nil, err
			}
			if err := s.Merge(other); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		return s, nil
	}
	images, err := f.images()
	if err != nil {
		return nil, err
	}
	return s, collect(cmd, s, m, scope, peaks, images, tmp, v)
}

// encoderOf is the module of the graph alone that reads the image: what int8 builds change.
func encoderOf(m *ir.Module) *ir.Module {
	e := &ir.Module{Meta: m.Meta}
	if g := m.Encoder(); g != nil {
		e.Graphs = []*ir.Graph{g}
	}
	return e
}

// makePlan gives the plan of the build: given, read, or made from calibration data; it is kept and written where that is asked for.
func (f *buildFlags) makePlan(cmd *cobra.Command, m *ir.Module, scope quant.Scope, source, dir string) (*quant.Plan, error) {
	if f.given != nil {
		return f.given, nil
	}
	plan, err := f.newPlan(cmd, m, scope, source, dir)
	if err != nil {
		return nil, err
	}
	f.made = plan
	if f.planOut != "" {
		err = mapfile.WriteAtomic(f.planOut, plan.Write)
	}
	return plan, err
}

func (f *buildFlags) newPlan(cmd *cobra.Command, m *ir.Module, scope quant.Scope, source, dir string) (*quant.Plan, error) {
	if f.plan != "" {
		file, err := os.Open(f.plan)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		p, err := quant.Read(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.plan, err)
		}
		return p, nil
	}
	if !slices.Contains(calib.MethodNames(), f.calib.method) {
		return nil, fmt.Errorf("--calib-method: have %q, want one of %s", f.calib.method, strings.Join(calib.MethodNames(), ", "))
	}
	s, err := f.calib.stats(cmd, m, scope, f.needsPeaks(), source, dir, &f.verify)
	if err != nil {
		return nil, err
	}
	if s.Images < fewImages {
		fmt.Fprintf(cmd.ErrOrStderr(), "syncsam-convert: warning: %d calibration images are few; use %d or more\n", s.Images, fewImages)
	}
	return s.Plan(f.calib.method)
}
