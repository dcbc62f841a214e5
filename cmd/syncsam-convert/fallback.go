package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"syncsam-convert/artifact"
	"syncsam-convert/engine"
	"syncsam-convert/golden"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/passes"
	"syncsam-convert/pictures"
)

// rankImages is how many golden images judge a convolution's own effect.
const rankImages = 2

// fallBack puts the convolutions whose quantization costs most back to float, the worst first, until the golden results hold. It
// rewrites the artifact in dir. If the float model itself does not hold, that is the error.
func (f *buildFlags) fallBack(cmd *cobra.Command, path, dir string, man *artifact.Manifest) (*artifact.Manifest, error) {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".fallback-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	bar := newSteps(cmd, f.progress, "read", "compile", "write", "publish")
	float := *f
	float.precision = "fp32"
	plain, err := float.compile(cmd, path, tmp, passes.Options{}, bar)
	if err != nil {
		return nil, err
	}
	if err := plain.Write(tmp); err != nil {
		return nil, err
	}
	if err := float.prove(cmd, tmp, plain); err != nil {
		return nil, fmt.Errorf("the float model itself fails: %w", err)
	}
	costs, err := f.rank(cmd, path, tmp, man)
	if err != nil {
		return nil, err
	}
	plan := *f.made
	plan.Float = maps.Clone(f.made.Float)
	if plan.Float == nil {
		plan.Float = map[string]string{}
	}
	// attempt builds with a plan, and says whether the golden results hold.
	attempt := func(p *quant.Plan) (*artifact.Manifest, bool, error) {
		trial := *f
		trial.given = p
		next, err := trial.compile(cmd, path, dir, passes.Options{}, bar)
		if err != nil {
			return nil, false, err
		}
		if err := next.Write(dir); err != nil {
			return nil, false, err
		}
		err = f.prove(cmd, dir, next)
		if errors.Is(err, errMismatch) {
			return next, false, nil
		}
		return next, err == nil, err
	}
	taken, holds := 0, false
	for step := 1; !holds; step = max(1, taken/4) {
		if taken == len(costs) {
			return nil, fmt.Errorf("%w, even with all %d convolutions in float", errMismatch, taken)
		}
		for _, c := range costs[taken:min(taken+step, len(costs))] {
			plan.Float[c.key] = fmt.Sprintf("accuracy: quantizing it alone leaves %.1f dB", c.db)
			taken++
		}
		if _, holds, err = attempt(&plan); err != nil {
			return nil, err
		}
	}
	if err := giveBack(&plan, costs[:taken], attempt); err != nil {
		return nil, err
	}
	next, holds, err := attempt(&plan)
	if err == nil && !holds {
		err = errMismatch // the same build held before
	}
	f.made = &plan
	if err == nil && f.planOut != "" {
		err = mapfile.WriteAtomic(f.planOut, plan.Write)
	}
	return next, err
}

// mostTrials bounds how many builds giveBack tries.
const mostTrials = 40

// giveBack returns convolutions to int8 that the golden results do not need in float: groups first, the least costly ones first, then
// smaller groups.
func giveBack(plan *quant.Plan, float []cost, attempt func(*quant.Plan) (*artifact.Manifest, bool, error)) error {
	float = slices.Clone(float)
	trials := 0
	for size := len(float) / 2; size >= 1; size /= 2 {
		for at := len(float) - size; at >= 0 && len(float) > 1; at -= size {
			if trials++; trials > mostTrials {
				return nil
			}
			less := *plan
			less.Float = maps.Clone(plan.Float)
			for _, c := range float[at : at+size] {
				delete(less.Float, c.key)
			}
			_, holds, err := attempt(&less)
			if err != nil {
				return err
			}
			if holds {
				plan.Float = less.Float
				float = slices.Delete(float, at, at+size)
			}
		}
	}
	return nil
}

// A cost is what quantizing one convolution alone leaves of the outputs, in dB.
type cost struct {
	key string
	db  float64
}

// rank quantizes each convolution alone and measures the worse of the outputs against the float artifact in plain. Worst first.
func (f *buildFlags) rank(cmd *cobra.Command, path, plain string, man *artifact.Manifest) ([]cost, error) {
	g, err := golden.Read(f.golden)
	if err != nil {
		return nil, err
	}
	var inputs []map[string]*tensor.Tensor
	for _, p := range g.Images(rankImages) {
		m, err := pictures.Read(p)
		if err != nil {
			return nil, err
		}
		x, err := golden.EncoderInputs(m, man)
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, x)
	}
	run := func(dir string) ([]map[string]*tensor.Tensor, error) {
		s, err := engine.Load(f.verify.engine, filepath.Join(dir, man.Encoder()), f.verify.options())
		if err != nil {
			return nil, err
		}
		defer s.Close()
		var out []map[string]*tensor.Tensor
		for _, x := range inputs {
			y, err := s.Run(cmd.Context(), x)
			if err != nil {
				return nil, err
			}
			out = append(out, y)
		}
		return out, nil
	}
	want, err := run(plain)
	if err != nil {
		return nil, err
	}
	alone := filepath.Join(plain, "alone")
	if err := os.Mkdir(alone, 0o755); err != nil {
		return nil, err
	}
	silent := &cobra.Command{}
	silent.SetErr(io.Discard)
	silent.SetContext(cmd.Context())
	bar := newBar(cmd, f.progress, len(man.Quantization.QuantizedNodes), "rank")
	defer bar.Finish()
	var costs []cost
	for _, key := range man.Quantization.QuantizedNodes {
		plan := quant.Plan{Method: f.made.Method, Images: f.made.Images, Values: f.made.Values, Float: map[string]string{}}
		for _, other := range man.Quantization.QuantizedNodes {
			if other != key {
				plan.Float[other] = "not measured now"
			}
		}
		trial := *f
		trial.given, trial.planOut = &plan, ""
		if _, err := trial.compile(silent, path, alone, passes.Options{}, newSteps(silent, false, "read", "compile", "write", "publish")); err != nil {
			return nil, err
		}
		have, err := run(alone)
		if err != nil {
			return nil, err
		}
		c := cost{key, 1e9}
		for i := range want {
			for name, x := range want[i] {
				d, err := tensor.Compare(have[i][name], x)
				if err != nil {
					return nil, err
				}
				c.db = min(c.db, d.SNR)
			}
		}
		costs = append(costs, c)
		_ = bar.Add(1)
	}
	slices.SortStableFunc(costs, func(a, b cost) int { return cmp.Compare(a.db, b.db) })
	return costs, nil
}
