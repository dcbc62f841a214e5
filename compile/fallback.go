package compile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"syncsam-convert/artifact"
	"syncsam-convert/golden"
	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/passes"
	"syncsam-convert/pictures"
	"syncsam-convert/segment"
)

// rankImages is how many golden images judge a convolution's own effect.
const rankImages = 2

// fallBack puts the layers whose quantization costs most back to float, the worst first, until the golden results hold, and then gives
// back to INT8 what they do not need. It leaves the artifact in dir. If the float model itself does not hold, that is the error.
func (c *Calibrated) fallBack(ctx context.Context, man *artifact.Manifest, dir string) (*artifact.Manifest, *quant.Plan, error) {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".fallback-*")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(tmp)
	if err := c.proveFloat(ctx, tmp); err != nil {
		return nil, nil, err
	}
	costs, err := c.rank(ctx, man)
	if err != nil {
		return nil, nil, err
	}
	s := &search{ctx: ctx, c: c, dir: dir, man: man, plan: c.Plan.Clone()}
	for step := 1; !s.holds; step = max(1, s.taken/4) {
		if s.taken == len(costs) {
			return nil, nil, fmt.Errorf("%w, even with all %d layers in float", golden.ErrMismatch, s.taken)
		}
		for _, cost := range costs[s.taken:min(s.taken+step, len(costs))] {
			s.plan.Float[cost.key] = fmt.Sprintf("accuracy: quantizing it alone leaves %.1f dB", cost.db)
			s.taken++
		}
		if s.holds, err = s.attempt(s.plan); err != nil {
			return nil, nil, err
		}
	}
	if err := s.giveBack(costs[:s.taken]); err != nil {
		return nil, nil, err
	}
	holds, err := s.attempt(s.plan)
	if err == nil && !holds {
		err = golden.ErrMismatch // the same build held before
	}
	return s.man, s.plan, err
}

// proveFloat holds the float model against the golden results.
func (c *Calibrated) proveFloat(ctx context.Context, dir string) error {
	m, err := c.finish(ctx, c.f32, nil, ONNX, FP32)
	if err != nil {
		return err
	}
	man, err := m.Write(ctx, dir)
	if err != nil {
		return err
	}
	if err := c.o.prove(ctx, dir, man); err != nil {
		return fmt.Errorf("the float model itself fails: %w", err)
	}
	return nil
}

// A search tries plans.
type search struct {
	ctx   context.Context
	c     *Calibrated
	dir   string
	man   *artifact.Manifest // of the last attempt
	plan  *quant.Plan
	taken int
	holds bool
}

// attempt builds with a plan, and says whether the golden results hold.
func (s *search) attempt(plan *quant.Plan) (bool, error) {
	man, err := s.c.publish(s.ctx, ONNX, plan, s.dir)
	if man != nil {
		s.man = man
	}
	if errors.Is(err, golden.ErrMismatch) {
		return false, nil
	}
	return err == nil, err
}

// mostTrials bounds how many builds giveBack tries.
const mostTrials = 40

// giveBack returns layers to INT8 that the golden results do not need in float: groups first, the least costly ones first, then
// smaller groups.
func (s *search) giveBack(float []cost) error { return giveBack(s.plan, float, s.attempt) }

func giveBack(plan *quant.Plan, float []cost, attempt func(*quant.Plan) (bool, error)) error {
	float = slices.Clone(float)
	trials := 0
	for size := len(float) / 2; size >= 1; size /= 2 {
		for at := len(float) - size; at >= 0 && len(float) > 1; at -= size {
			if trials++; trials > mostTrials {
				return nil
			}
			less := plan.Clone()
			for _, c := range float[at : at+size] {
				delete(less.Float, c.key)
			}
			holds, err := attempt(less)
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

// A cost is what quantizing one layer alone leaves of the outputs, in dB.
type cost struct {
	key string
	db  float64
}

// rank quantizes each layer alone and measures the worst of the encoder's outputs against the float model's on some golden
// images. Worst first. Nothing is written: the graphs are evaluated as they are.
func (c *Calibrated) rank(ctx context.Context, man *artifact.Manifest) ([]cost, error) {
	g, err := golden.Read(c.o.Golden)
	if err != nil {
		return nil, err
	}
	var inputs []map[string]*tensor.Tensor
	for _, path := range g.Images(rankImages) {
		m, err := pictures.Read(path)
		if err != nil {
			return nil, err
		}
		x, err := segment.EncoderInputs(m, man)
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, x)
	}
	want, err := outputs(ctx, c.f32.Module.Encoder(), inputs)
	if err != nil {
		return nil, err
	}
	keys := man.Quantization.QuantizedNodes
	var costs []cost
	for i, key := range keys {
		alone := c.Plan.Clone()
		for _, other := range keys {
			if other != key {
				alone.Float[other] = "not measured now"
			}
		}
		m, err := c.finish(ctx, c.run.Clone(), alone, ONNX, INT8)
		if err != nil {
			return nil, err
		}
		have, err := outputs(ctx, m.run.Module.Encoder(), inputs)
		if err != nil {
			return nil, err
		}
		one := cost{key, 1e9}
		for k := range want {
			for _, name := range slices.Sorted(maps.Keys(want[k])) {
				d, err := tensor.Compare(have[k][name], want[k][name])
				if err != nil {
					return nil, err
				}
				one.db = min(one.db, d.SNR)
			}
		}
		costs = append(costs, one)
		c.o.Progress(Event{"rank", i + 1, len(keys)})
	}
	slices.SortStableFunc(costs, func(a, b cost) int { return cmp.Compare(a.db, b.db) })
	return costs, nil
}

// outputs evaluates a graph as the embedded engine runs it.
func outputs(ctx context.Context, g *ir.Graph, inputs []map[string]*tensor.Tensor) ([]map[string]*tensor.Tensor, error) {
	own := g.Clone()
	if _, err := passes.All(ctx, &ir.Module{Graphs: []*ir.Graph{own}}, passes.Execute(), passes.Input{}, passes.Options{}); err != nil {
		return nil, err
	}
	p, err := ir.Compile(own)
	if err != nil {
		return nil, err
	}
	var out []map[string]*tensor.Tensor
	for _, x := range inputs {
		y, err := p.Run(ctx, x)
		if err != nil {
			return nil, err
		}
		out = append(out, y)
	}
	return out, nil
}
