// Package bench times ONNX files, side by side and op by op.
package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"syncsam-convert/engine"
	frontend "syncsam-convert/frontends/onnx"
	"syncsam-convert/ir"
	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// Settings of a measurement.
type Settings struct {
	Options engine.Options
	Rounds  int              // timed runs of each file; one more comes first, untimed
	Sizes   map[string]int64 // of dynamic dimensions; 1 where not given
	Memory  bool             // plan the embedded engine's memory, too
}

// A Subject is a file in an engine.
type Subject struct{ File, Engine string }

// A Timing is one file's measurement. Times are milliseconds.
type Timing struct {
	File         string          `json:"file"`
	Engine       string          `json:"engine"`
	Median       float64         `json:"median_ms"`
	Lower        float64         `json:"lower_quartile_ms"`
	Upper        float64         `json:"upper_quartile_ms"`
	MultiplyAdds int64           `json:"multiply_adds"` // 0 when the file's operators are not all known
	Bytes        int64           `json:"bytes"`         // least traffic: every operand and result once
	Nodes        int             `json:"nodes"`
	GFLOPS       float64         `json:"gflops"` // 2 multiply-adds / time
	Share        float64         `json:"share"`  // of what the machine can do at most: time at its peak / time, 0 when unknown
	Memory       *ir.Memory      `json:"memory,omitempty"`
	Ops          []engine.OpTime `json:"ops"`
	samples      []float64
	integers     int64 // multiply-adds of INT8
}

// A Ratio compares a file with another in the same rounds.
type Ratio struct {
	Median float64 `json:"median"`
	Lower  float64 `json:"lower_quartile"`
	Upper  float64 `json:"upper_quartile"`
}

// Takes reports whether the inputs of one of some files have a dimension of that name.
func Takes(files map[string]string, dimension string) (bool, error) {
	for _, file := range files {
		one, err := frontend.Probe(file, map[string]int64{dimension: 1})
		if err != nil {
			return false, err
		}
		two, err := frontend.Probe(file, map[string]int64{dimension: 2})
		if err != nil {
			return false, err
		}
		for name, t := range one {
			if two[name] == nil || !slices.Equal(t.Dims(), two[name].Dims()) {
				return true, nil
			}
		}
	}
	return false, nil
}

// Run times subjects with equal inputs in turns. The first is what ratios are relative to.
func Run(ctx context.Context, subjects []Subject, s Settings, peak kernel.Peak) ([]Timing, error) {
	inputs, err := frontend.Probe(subjects[0].File, s.Sizes)
	if err != nil {
		return nil, err
	}
	timings := make([]Timing, len(subjects))
	sessions := make([]engine.Session, len(subjects))
	for i, subject := range subjects {
		timings[i] = describe(subject.File, s.Sizes, inputs)
		timings[i].Engine = subject.Engine
		if sessions[i], err = engine.Load(subject.Engine, subject.File, s.Options); err != nil {
			return nil, err
		}
		defer sessions[i].Close()
	}
	feeds := make([]map[string]*tensor.Tensor, len(subjects))
	for i, session := range sessions {
		feeds[i] = map[string]*tensor.Tensor{}
		for _, name := range session.Inputs() {
			if feeds[i][name] = inputs[name]; inputs[name] == nil {
				return nil, fmt.Errorf("%s: input %q: %s has none of that name", subjects[i].File, name, subjects[0].File)
			}
		}
	}
	for round := range s.Rounds + 1 {
		for i, session := range sessions {
			start := time.Now()
			if _, err := session.Run(ctx, feeds[i]); err != nil {
				return nil, err
			}
			if round > 0 {
				timings[i].samples = append(timings[i].samples, float64(time.Since(start).Microseconds())/1e3)
			}
		}
	}
	for i := range timings {
		t := &timings[i]
		t.Lower, t.Median, t.Upper = quartiles(t.samples)
		t.GFLOPS = 2 * float64(t.MultiplyAdds) / t.Median / 1e6
		if t.MultiplyAdds > 0 {
			t.Share = 2 * (float64(t.MultiplyAdds-t.integers)/peak.Float32 + float64(t.integers)/peak.Int8) / t.Median / 1e6
		}
		if s.Memory && i == 0 {
			if t.Memory, err = engine.Memory(t.File, feeds[i]); err != nil {
				return nil, err
			}
		}
		if t.Ops, err = engine.Profile(ctx, t.Engine, t.File, feeds[i], s.Options); err != nil {
			return nil, err
		}
	}
	return timings, nil
}

// Against is t's time relative to another's, round by round.
func (t Timing) Against(base Timing) Ratio {
	ratios := make([]float64, len(t.samples))
	for i := range ratios {
		ratios[i] = t.samples[i] / base.samples[i]
	}
	lo, mid, hi := quartiles(ratios)
	return Ratio{mid, lo, hi}
}

func quartiles(x []float64) (lower, median, upper float64) {
	s := slices.Sorted(slices.Values(x))
	at := func(q float64) float64 { return s[int(q*float64(len(s)-1)+0.5)] }
	return at(0.25), at(0.5), at(0.75)
}

// describe counts a file's work; a file with operators we do not know has none.
func describe(file string, sizes map[string]int64, inputs map[string]*tensor.Tensor) Timing {
	t := Timing{File: file}
	m, err := frontend.OpenFor(file, inputs)
	if err != nil {
		return t
	}
	defer m.Close()
	syms := frontend.Bind(m.Graph, sizes)
	for _, v := range m.Graph.Values {
		c, err := ir.CostOf(v, syms)
		if err != nil {
			return Timing{File: file}
		}
		if !v.IsConst() && !v.IsInput() {
			t.Nodes++
		}
		t.MultiplyAdds += c.MultiplyAdds
		if v.Op.Class == ir.Product && len(v.Args) > 1 && integer(v.Args[0]) && integer(v.Args[1]) {
			t.integers += c.MultiplyAdds
		}
		t.Bytes += c.Bytes
	}
	return t
}

// integer reports whether a factor is dequantized, so that executors multiply integers.
func integer(v *ir.Value) bool { return ir.DequantizeLinear.Is(v) }
