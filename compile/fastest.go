package compile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"syncsam-convert/artifact"
	"syncsam-convert/bench"
	"syncsam-convert/engine"
	"syncsam-convert/front"
	"syncsam-convert/golden"
	"syncsam-convert/golden/stats"
	"syncsam-convert/ir/quant"
)

// A hunt is the search for the fastest model that holds: over points between float and all that can be INT8, a step of groups of layers each.
type hunt struct {
	*search
	float   *Compiled
	file    string // of the float model's graph that reads the image
	layers  []string
	steps   [][]*front.Group
	options engine.Options
	front   *front.Front
	near    *Calibrated // rounds to nearest
	adapt   *Calibrated // rounds adaptively; made when it is first needed
	best    *trial      // nil: the float model
	at      *front.Point
	build   func(p *front.Point, how string) (*trial, error) // point
}

// fastest builds the fastest model that meets the golden results, and leaves it in dir. If the float model does not meet them, that is the error.
func (c *Calibrated) fastest(ctx context.Context, dir string) (*artifact.Manifest, *quant.Plan, error) {
	tmp, err := os.MkdirTemp(dir, ".search-*") // in the folder that is being built, with which it goes whatever happens
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(tmp)
	h := &hunt{search: &search{ctx: ctx, c: c, dir: filepath.Join(tmp, "trial"), modes: golden.Modes, started: time.Now()}, near: c.rounding8(RoundNearest), options: c.o.Runtime}
	h.build = h.point
	if h.options.Threads == 0 {
		h.options.Threads = 1
	}
	man, err := h.start(filepath.Join(tmp, "float"))
	if err != nil {
		return nil, nil, err
	}
	for _, next := range []func() error{h.look, func() error { return h.half(filepath.Join(tmp, "half")) }, h.grow, h.fill} {
		if err := next(); err != nil {
			return nil, nil, err
		}
	}
	return h.publish(dir, man.Verification)
}

// rounding8 is c with another way to round.
func (c *Calibrated) rounding8(how string) *Calibrated {
	other := *c
	other.rounds = how
	return &other
}

// start measures the float model and the one with all in INT8, and lays out the points between them.
func (h *hunt) start(dir string) (*artifact.Manifest, error) {
	c := h.c
	for _, d := range []string{dir, h.dir} {
		if err := os.Mkdir(d, 0o777); err != nil {
			return nil, err
		}
	}
	float, man, err := c.proveFloat(h.ctx, dir)
	if err != nil {
		return nil, err
	}
	h.float, h.file = float, filepath.Join(dir, man.Encoder())
	h.front = &front.Front{Graph: man.Encoder(), Engine: c.o.Engine, Threads: h.options.Threads, Clock: bench.ClockOf(h.options.Threads), Judged: golden.BySummary, Margin: *c.o.MaxDrop}
	if c.o.Judge != "" {
		h.front.Judged = golden.ByEquivalence
	}
	all, err := h.near.Finish(h.ctx, ONNX, c.Plan)
	if err != nil {
		return nil, err
	}
	whole, err := all.write(h.ctx, h.dir, nil)
	if err != nil {
		return nil, err
	}
	h.layers = whole.Quantization.QuantizedNodes
	groups := front.Groups(h.layers)
	saved, err := h.times(groups, filepath.Join(h.dir, whole.Encoder()))
	if err != nil {
		return nil, err
	}
	var sets [][]string
	for _, g := range groups {
		sets = append(sets, g.Layers)
	}
	noise, err := h.near.rank(h.ctx, whole, sets)
	if err != nil {
		return nil, err
	}
	for i, g := range groups {
		g.Noise = noise[i]
	}
	h.steps = front.Path(groups)
	h.front.Groups = groups
	h.points(saved)
	h.at = h.front.Points[0]
	t := &trial{Compiled: float, man: man, report: &golden.Report{}, holds: true}
	if err := json.Unmarshal(man.Verification, t.report); err != nil {
		return nil, err
	}
	h.saw(h.at, t)
	return man, nil
}

// times measures the float model and one in INT8, and gives the groups the times of their nodes; ms are those of the float model.
func (h *hunt) times(groups []*front.Group, file string) (ms float64, err error) {
	h.c.o.Progress(Event{Stage: "measure"})
	both, err := h.latency(file)
	if err != nil {
		return 0, err
	}
	var nodes [2]map[string]float64
	for i, f := range []string{h.file, file} {
		if nodes[i], err = bench.Nodes(h.ctx, f, h.c.o.Engine, h.options); err != nil {
			return 0, err
		}
	}
	front.Time(groups, nodes[0], nodes[1], both[0]-both[1])
	return both[0], nil
}

// latency is that of the float model and of another file, in ms, measured in turns.
func (h *hunt) latency(file string) ([]float64, error) {
	return bench.Latency(h.ctx, []string{h.file, file}, h.c.o.Engine, h.options)
}

// points lays out what the search chooses from; latencies are predicted.
func (h *hunt) points(float float64) {
	h.front.Points = append(h.front.Points, &front.Point{Precision: FP32, Latency: float, Ratio: 1, Decision: front.Untried})
	for i, step := range h.steps {
		h.front.Points = append(h.front.Points, h.front.Points[i].With(step, float))
	}
}

// plan is the one with some groups in INT8.
func (h *hunt) plan(groups []*front.Group) *quant.Plan {
	plan := h.c.Plan.Clone()
	for _, g := range h.front.Groups {
		reason := accuracy(g.Noise)
		switch {
		case slices.Contains(groups, g):
			continue
		case g.Slow:
			reason = "latency: in INT8 " + g.Name + " is not faster"
		}
		for _, key := range g.Layers {
			if _, has := plan.Float[key]; !has {
				plan.Float[key] = reason
			}
		}
	}
	return plan
}

// look finds the fastest point that holds; points behind one that holds are taken to hold, too.
func (h *hunt) look() error {
	if len(h.steps) == 0 {
		return nil
	}
	var back []int // steps that go back to float, and 1
	for i := range h.steps {
		back = append(back, i+1)
	}
	_, err := first(back, func(n int) (bool, error) { return h.tryPoint(h.front.Points[len(h.steps)+1-n], h.tries()) })
	return err
}

// tries are the ways to round that are tried one after the other.
func (h *hunt) tries() []string {
	switch how := h.c.o.Rounding; {
	case how != RoundAuto:
		return []string{how}
	case h.c.o.pictures():
		return []string{RoundNearest, RoundAdaptive}
	}
	return []string{RoundNearest}
}

// tryPoint says whether a point holds, by the first way to round with which it does.
func (h *hunt) tryPoint(p *front.Point, tries []string) (bool, error) {
	for _, how := range tries {
		if h.spent() {
			return false, nil
		}
		t, err := h.build(p, how)
		if err != nil {
			return false, err
		}
		if t != nil && h.take(p, t) {
			return true, nil
		}
	}
	return false, nil
}

// slightly is a part of float's latency by which measurements differ anyway: who is faster by less is not faster.
const slightly = 0.01

// take keeps a trial that holds and is the fastest so far, and says whether it holds.
func (h *hunt) take(p *front.Point, t *trial) bool {
	if t.holds && p.Ratio < h.at.Ratio-slightly {
		h.best, h.at = t, p
	}
	return t.holds
}

// point builds a point's model with a way to round, and tries it; nil where there is nothing to round that way.
func (h *hunt) point(p *front.Point, how string) (*trial, error) {
	c, err := h.with(how)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	m, err := c.Finish(h.ctx, ONNX, h.plan(p.Groups))
	if err != nil || m.rounding != how && c.o.Rounding == RoundAuto { // this was tried, rounded to nearest
		return nil, err
	}
	return h.try(p, m, start)
}

// with is the model with a way to round.
func (h *hunt) with(how string) (c *Calibrated, err error) {
	if how == RoundNearest {
		return h.near, nil
	}
	if h.adapt == nil {
		h.adapt, err = h.c.rounding8(how).remembering(h.ctx)
	}
	return h.adapt, err
}

// try holds a point's model against the golden results, and times it.
func (h *hunt) try(p *front.Point, m *Compiled, start time.Time) (*trial, error) {
	t, err := h.hold(m, golden.Settings{Modes: h.modes}, start)
	if err != nil {
		return nil, err
	}
	if p.Predicted {
		both, err := h.latency(filepath.Join(h.dir, t.man.Encoder()))
		if err != nil {
			return nil, err
		}
		p.Ratio, p.Predicted = both[1]/both[0], false
		p.Latency = p.Ratio * h.front.Points[0].Latency
	}
	h.saw(p, t)
	h.c.o.Note(fmt.Sprintf("auto: attempt %d: %s: %.3f of float's latency; %s: %s (%.1f s)", h.attempts, p.Words(), p.Ratio, p.Mode, p.Found(), time.Since(start).Seconds()))
	return t, nil
}

// saw puts into a point how a trial came out. Equivalence is asked for as such: what is better than float by more than the margin is not equivalent either.
func (h *hunt) saw(p *front.Point, t *trial) {
	worst := ""
	p.Modes, p.Decision = map[string]front.Mode{}, "holds"
	if !t.holds {
		p.Decision = "fails"
	}
	order := []stats.Decision{stats.Equivalent, stats.NotInferior, stats.Undecided, stats.Inferior}
	decided := 0
	for _, mode := range t.report.ModeNames() {
		m := t.report.Modes[mode]
		one := front.Mode{Mean: m.Points, Decision: "holds"}
		if !m.Pass {
			one.Decision = "fails"
		}
		if d := t.report.Paired[mode]; d != nil {
			one = front.Mode{Mean: d.Mean, CI95: &d.CI95, Decision: string(d.Decision), Needed: d.NeededItems}
			decided = max(decided, slices.Index(order, d.Decision))
			p.Decision = string(order[decided])
			t.holds = decided == 0
		}
		p.Modes[mode] = one
		if worst == "" || one.Mean < p.Modes[worst].Mean {
			worst = mode
		}
	}
	number := func(n stats.Number) *float64 { x := float64(n); return &x }
	p.Mode, p.Delta = worst, number(p.Modes[worst].Mean)
	if ci := p.Modes[worst].CI95; ci != nil {
		p.Low, p.High = number(ci[0]), number(ci[1])
	}
	if p.Precision == INT8 {
		p.Rounding = t.rounding
	}
}

// half measures the model in float16, and tries it where it is faster than what was found.
func (h *hunt) half(dir string) error {
	start := time.Now()
	if h.spent() {
		return nil
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	m, err := h.c.finish(h.ctx, h.c.f16.Clone(), nil, ONNX, FP16)
	if err != nil {
		return err
	}
	man, err := m.write(h.ctx, dir, nil)
	if err != nil {
		if h.ctx.Err() == nil && errors.Is(err, errFloat16) {
			h.c.o.Note("auto: " + err.Error())
			return nil
		}
		return err
	}
	both, err := h.latency(filepath.Join(dir, man.Encoder()))
	if err != nil {
		return err
	}
	p := &front.Point{Precision: FP16, Ratio: both[1] / both[0], Decision: front.Untried}
	p.Latency = p.Ratio * h.front.Points[0].Latency
	h.front.Points = append(h.front.Points, p)
	if p.Ratio >= h.at.Ratio-slightly {
		return nil
	}
	t, err := h.try(p, m, start)
	if err == nil {
		h.take(p, t)
	}
	return err
}

// early reports whether half the time of the search is left: for what may make a good result better.
func (h *hunt) early() bool { return time.Since(h.started) < h.c.o.Budget/2 }

// like is the way to round that was taken, the first one where nothing was.
func (h *hunt) like() []string {
	if h.best != nil && h.at.Precision == INT8 {
		return []string{h.best.rounding}
	}
	return h.tries()[:1]
}

// mostPoints bounds a front.
const mostPoints = 19

// grow adds to what was found those of the steps behind it that hold all the same, the ones that save most first: only along the path does one
// that fails stop those behind it.
func (h *hunt) grow() error {
	if h.at.Precision == FP16 {
		return nil
	}
	rest := slices.Clone(h.steps[h.at.Steps:])
	slices.SortStableFunc(rest, func(a, b []*front.Group) int { return cmp.Compare(front.Saved(b), front.Saved(a)) })
	for _, step := range rest {
		float := h.front.Points[0].Latency
		p := h.at.With(step, float)
		if h.front.Tried(p) || front.Saved(step) < slightly*float {
			continue
		}
		if !h.early() || len(h.front.Points) >= mostPoints {
			return nil
		}
		if _, err := h.tryPoint(p, h.like()); err != nil {
			return err
		}
		if p.Decision != front.Untried {
			h.front.Points = append(h.front.Points, p)
		}
	}
	return nil
}

// fill tries points that the search passed over, for the front: the middle of the widest gap first.
func (h *hunt) fill() error {
	path := h.front.Points[:len(h.steps)+1]
	for h.early() {
		at := front.Middle(path)
		if at < 0 {
			return nil
		}
		for _, how := range [][]string{h.like(), {RoundNearest}} { // the second where there is nothing to round as the first does
			if path[at].Decision == front.Untried {
				if _, err := h.tryPoint(path[at], how); err != nil {
					return err
				}
			}
		}
		if path[at].Decision == front.Untried { // the time is over
			return nil
		}
	}
	return nil
}

// publish writes what was found into dir; verified is how the float model came out.
func (h *hunt) publish(dir string, verified json.RawMessage) (*artifact.Manifest, *quant.Plan, error) {
	m, plan := h.float, h.plan(nil)
	if h.best != nil {
		m, verified = h.best.Compiled, h.best.man.Verification
		if m.Plan != nil {
			plan = m.Plan
		}
	}
	man, err := m.Write(h.ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	h.at.Chosen, h.front.Attempts, h.front.Seconds = true, h.attempts, time.Since(h.started).Seconds()
	h.front.Note = h.front.Short(h.at)
	h.c.o.Note(fmt.Sprintf("auto: %s at %.2f of float's latency, in %d attempts (%.0f s)", h.at.Words(), h.at.Ratio, h.attempts, h.front.Seconds))
	if h.front.Note != "" {
		h.c.o.Note("auto: " + h.front.Note)
	}
	if man.Front, err = json.Marshal(h.front); err != nil {
		return nil, nil, err
	}
	man.Verification = verified
	return man, plan, man.Write(dir)
}
