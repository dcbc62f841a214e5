package compile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"syncsam-convert/artifact"
	"syncsam-convert/calib/reconstruct"
	"syncsam-convert/golden"
	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
	"syncsam-convert/segment"
)

// rankImages is how many golden images judge a convolution's own effect.
const rankImages = 2

// fallBack puts the layers whose quantization costs most back to float, the worst first, until the golden results hold, and then gives
// back to INT8 what they do not need. It leaves the artifact in dir. If the float model itself does not hold, that is the error.
func (c *Calibrated) fallBack(ctx context.Context, man *artifact.Manifest, dir string) (*artifact.Manifest, *quant.Plan, error) {
	tmp, err := os.MkdirTemp(dir, ".float-*") // in the folder that is being built, with which it goes whatever happens
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(tmp)
	if _, _, err := c.proveFloat(ctx, tmp); err != nil {
		return nil, nil, err
	}
	c, err = c.remembering(ctx)
	if err != nil {
		return nil, nil, err
	}
	costs, err := c.costs(ctx, man)
	if err != nil {
		return nil, nil, err
	}
	s := &search{ctx: ctx, c: c, dir: tmp, modes: golden.Modes, started: time.Now()}
	float := func(n int) *quant.Plan {
		plan := c.Plan.Clone()
		for _, cost := range costs[:n] {
			plan.Float[cost.key] = accuracy(cost.db)
		}
		return plan
	}
	taken, err := first(steps(len(costs)), func(n int) (bool, error) { return s.attempt(float(n)) })
	if err != nil {
		return nil, nil, err
	}
	if taken == 0 && s.spent() {
		return nil, nil, fmt.Errorf("%w: nothing that meets them was found within --fallback-budget %v, in %d attempts", golden.ErrMismatch, c.o.Budget, s.attempts)
	}
	if taken == 0 {
		return nil, nil, fmt.Errorf("%w, even with all %d layers in float", golden.ErrMismatch, len(costs))
	}
	plan := float(taken)
	if err := giveBack(plan, costs[:taken], s.attempt); err != nil {
		return nil, nil, err
	}
	man, err = c.publish(ctx, ONNX, plan, dir) // the same build held before
	if err == nil {
		c.o.Note(kept(man.Quantization))
	}
	return man, plan, err
}

// mostNamed bounds the layers that one line names.
const mostNamed = 8

// kept says which layers stayed in float.
func kept(q *artifact.Quantization) string {
	var names []string
	for _, k := range q.KeptFloat {
		names = append(names, k.Node)
	}
	line := fmt.Sprintf("fallback: %d layers stay in float, %.0f %% of the multiply-adds are INT8: %s", len(names), 100*q.Int8Share, strings.Join(names[:min(len(names), mostNamed)], ", "))
	if len(names) > mostNamed {
		line += fmt.Sprintf(" and %d more; all are in the manifest", len(names)-mostNamed)
	}
	return line
}

// remembering is c with what the float model's layers read on the calibration pictures kept in memory, where it is not too much.
func (c *Calibrated) remembering(ctx context.Context) (*Calibrated, error) {
	if !c.o.pictures() || c.o.Rounding == RoundNearest {
		return c, nil
	}
	inputs, err := c.roundingInputs(ctx)
	if err != nil {
		return nil, err
	}
	kept := *c
	kept.rounding, err = reconstruct.NewReference(ctx, c.run.Module.Encoder(), inputs, read(c.run.Module.Encoder()), mostRemembered)
	return &kept, err
}

// mostRemembered bounds the float results that are kept for many attempts, in bytes.
const mostRemembered = 1 << 30

// read chooses what convolutions and residual additions of a graph read and give: from there on models that differ are computed.
func read(g *ir.Graph) func(v *ir.Value) bool {
	chosen := map[*ir.Value]bool{}
	for _, v := range g.Values {
		if ir.Conv.Is(v) {
			chosen[v.Args[0]] = true
		}
	}
	return func(v *ir.Value) bool { return chosen[v] }
}

// steps are how many of n layers the search puts to float, one attempt after the other: one more each time, later a quarter more.
func steps(n int) (list []int) {
	for taken := 0; taken < n; {
		taken = min(taken+max(1, taken/4), n)
		list = append(list, taken)
	}
	return list
}

// first finds the first number of a rising list that holds, where all after one that holds do, too; 0 when none does.
func first(list []int, holds func(n int) (bool, error)) (int, error) {
	low, high := 0, len(list) // before low none holds, from high on all do
	for size := 1; high == len(list) && low < high; size *= 2 {
		at := min(low+size, len(list)) - 1
		ok, err := holds(list[at])
		switch {
		case err != nil:
			return 0, err
		case ok:
			high = at
		case at == len(list)-1:
			return 0, nil
		default:
			low = at + 1
		}
	}
	for low < high {
		at := (low + high) / 2
		ok, err := holds(list[at])
		switch {
		case err != nil:
			return 0, err
		case ok:
			high = at
		default:
			low = at + 1
		}
	}
	return list[high], nil
}

// proveFloat holds the float model against the golden results, and leaves it in a folder.
func (c *Calibrated) proveFloat(ctx context.Context, dir string) (*Compiled, *artifact.Manifest, error) {
	m, err := c.finish(ctx, c.f32, nil, ONNX, FP32)
	if err != nil {
		return nil, nil, err
	}
	man, err := m.write(ctx, dir, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := c.o.prove(ctx, dir, man, golden.Settings{Modes: golden.Modes}); err != nil {
		return nil, nil, fmt.Errorf("the float model itself fails: %w", err)
	}
	return m, man, nil
}

// A search tries plans.
type search struct {
	ctx   context.Context
	c     *Calibrated
	dir   string
	modes []string // the one that failed last first: what fails, fails soon

	started  time.Time
	attempts int
}

// spent reports whether the time of the search is over.
func (s *search) spent() bool { return s.c.o.Budget > 0 && time.Since(s.started) > s.c.o.Budget }

// attempt builds with a plan, and says whether the golden results hold; once the time is over nothing is tried, and nothing more holds.
func (s *search) attempt(plan *quant.Plan) (bool, error) {
	if s.spent() {
		return false, nil
	}
	t, err := s.try(s.c, plan, golden.Settings{Modes: s.modes, StopAtFailure: true})
	if err != nil {
		return false, err
	}
	how := "it holds"
	if !t.holds {
		how = fmt.Sprintf("%s %+.3f points, which does not hold", s.modes[0], t.report.Modes[s.modes[0]].Points)
	}
	s.c.o.Note(fmt.Sprintf("fallback: attempt %d: %d layers in float: %s (%.1f s)", s.attempts, len(plan.Float), how, t.seconds))
	return t.holds, nil
}

// A trial is a model that was held against the golden results.
type trial struct {
	*Compiled
	man     *artifact.Manifest
	report  *golden.Report // without its items
	holds   bool
	seconds float64
}

// try builds with a plan, and holds the model against the golden results.
func (s *search) try(c *Calibrated, plan *quant.Plan, how golden.Settings) (*trial, error) {
	start := time.Now()
	m, err := c.Finish(s.ctx, ONNX, plan)
	if err != nil {
		return nil, err
	}
	return s.hold(m, how, start)
}

// hold writes a model, and holds it against the golden results.
func (s *search) hold(m *Compiled, how golden.Settings, start time.Time) (*trial, error) {
	s.attempts++
	man, err := m.write(s.ctx, s.dir, nil)
	if err != nil {
		return nil, err
	}
	err = s.c.o.prove(s.ctx, s.dir, man, how)
	if err != nil && !errors.Is(err, golden.ErrMismatch) {
		return nil, err
	}
	t := &trial{Compiled: m, man: man, report: &golden.Report{}, holds: err == nil}
	if err := json.Unmarshal(man.Verification, t.report); err != nil {
		return nil, err
	}
	if failed := slices.IndexFunc(s.modes, func(mode string) bool { m, ok := t.report.Modes[mode]; return ok && !m.Pass }); failed >= 0 {
		s.modes = append([]string{s.modes[failed]}, slices.Delete(slices.Clone(s.modes), failed, failed+1)...)
	}
	t.seconds = time.Since(start).Seconds()
	return t, nil
}

// mostTrials bounds how many builds giveBack tries.
const mostTrials = 40

// giveBack returns layers to INT8 that the golden results do not need in float: groups first, the least costly ones first, then
// smaller groups.
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

// accuracy is the reason for which a layer stays in float that leaves so many dB when it alone is quantized.
func accuracy(db float64) string {
	return fmt.Sprintf("accuracy: quantizing it alone leaves %.1f dB", db)
}

// costs are the layers of a quantized model, the worst first.
func (c *Calibrated) costs(ctx context.Context, man *artifact.Manifest) ([]cost, error) {
	var alone [][]string
	for _, key := range man.Quantization.QuantizedNodes {
		alone = append(alone, []string{key})
	}
	noise, err := c.rank(ctx, man, alone)
	if err != nil {
		return nil, err
	}
	var costs []cost
	for i, db := range noise {
		costs = append(costs, cost{alone[i][0], db})
	}
	slices.SortStableFunc(costs, func(a, b cost) int { return cmp.Compare(a.db, b.db) })
	return costs, nil
}

// rank quantizes sets of layers alone, and gives for each the signal-to-noise of the worst of the encoder's outputs against the float model's on some golden
// images, in dB. Nothing is written: the graphs are evaluated as they are.
func (c *Calibrated) rank(ctx context.Context, man *artifact.Manifest, sets [][]string) ([]float64, error) {
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
	reference, err := reconstruct.NewReference(ctx, c.run.Module.Encoder(), inputs, read(c.run.Module.Encoder()), math.MaxInt64)
	if err != nil {
		return nil, err
	}
	want, err := reference.Outputs(ctx, c.run.Module.Encoder())
	if err != nil {
		return nil, err
	}
	var noise []float64
	for i, set := range sets {
		m, err := c.round(ctx, c.run.Clone(), c.only(set, man.Quantization.QuantizedNodes, "not measured now"), ONNX, INT8)
		if err != nil {
			return nil, err
		}
		have, err := reference.Outputs(ctx, m.run.Module.Encoder())
		if err != nil {
			return nil, err
		}
		db := 1e9
		for k := range want {
			for _, name := range slices.Sorted(maps.Keys(want[k])) {
				d, err := tensor.Compare(have[k][name], want[k][name])
				if err != nil {
					return nil, err
				}
				db = min(db, d.SNR)
			}
		}
		noise = append(noise, db)
		c.o.Progress(Event{"rank", i + 1, len(sets)})
	}
	return noise, nil
}

// only is the plan with all layers in float but some.
func (c *Calibrated) only(some, all []string, reason string) *quant.Plan {
	plan := c.Plan.Clone()
	for _, key := range all {
		if !slices.Contains(some, key) {
			plan.Float[key] = reason
		}
	}
	return plan
}
