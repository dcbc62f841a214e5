package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"syncsam-convert/internal/output"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// An OpTime is the time of all nodes of one operator in one run, as the engine ran them: fused operators under their own names.
type OpTime struct {
	Name  string  `json:"name"`
	Count int     `json:"count"`
	MS    float64 `json:"ms"`
}

// profiled is how many runs a profile takes the mean of, after one that does not count.
const profiled = 3

// A profiler runs a file and adds the time of every node, and gives how many runs that was.
type profiler func(ctx context.Context, path string, inputs map[string]*tensor.Tensor, o Options, add func(op, node string, d time.Duration)) (runs int, err error)

// Nodes runs a file and gives the time of each node in ms, by its name in the file: the least of some runs, which what else the machine does disturbs least.
// Nodes that an engine has joined have the name that it gives them.
func Nodes(ctx context.Context, name, path string, inputs map[string]*tensor.Tensor, o Options) (map[string]float64, error) {
	profile, err := profilerOf(name)
	if err != nil {
		return nil, err
	}
	samples := map[string][]float64{}
	runs, err := profile(ctx, path, inputs, o, func(_, node string, d time.Duration) {
		samples[node] = append(samples[node], float64(d.Nanoseconds())/1e6)
	})
	if err != nil {
		return nil, err
	}
	times := map[string]float64{}
	for node, list := range samples { // where several have one name, as many as there are in a run
		times[node] = slices.Min(list) * float64(max((len(list)+runs/2)/runs, 1))
	}
	return times, nil
}

func profilerOf(name string) (profiler, error) {
	e, err := find(name)
	if err == nil && e.profile == nil {
		err = fmt.Errorf("engine %s: it does not tell times by operator", name)
	}
	return e.profile, err
}

// Profile runs a file and gives the time per operator, longest first: from ONNX Runtime's profiler, or between the embedded engine's
// values. TensorRT has no times by operator to give.
func Profile(ctx context.Context, name, path string, inputs map[string]*tensor.Tensor, o Options) ([]OpTime, error) {
	profile, err := profilerOf(name)
	if err != nil {
		return nil, err
	}
	times := map[string]*OpTime{}
	runs, err := profile(ctx, path, inputs, o, func(op, _ string, d time.Duration) {
		if times[op] == nil {
			times[op] = &OpTime{Name: op}
		}
		times[op].Count++
		times[op].MS += float64(d.Microseconds()) / 1e3
	})
	if err != nil {
		return nil, err
	}
	var out []OpTime
	for _, t := range times {
		out = append(out, OpTime{t.Name, (t.Count + runs/2) / runs, t.MS / float64(runs)})
	}
	slices.SortFunc(out, func(a, b OpTime) int { return cmp.Or(cmp.Compare(b.MS, a.MS), cmp.Compare(a.Name, b.Name)) })
	return out, nil
}

func profileGo(ctx context.Context, path string, inputs map[string]*tensor.Tensor, o Options, add func(op, node string, d time.Duration)) (int, error) {
	s, err := open(path, o)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	p, err := s.ready(inputs)
	if err != nil {
		return 0, err
	}
	p.Transient = true
	for i := range profiled + 1 {
		last := time.Now()
		p.Observe = func(v *ir.Value, _ *tensor.Tensor) {
			now := time.Now()
			if i > 0 {
				add(v.Op.Name, v.Name, now.Sub(last))
			}
			last = now
		}
		if _, err := p.Run(ctx, inputs); err != nil {
			return 0, err
		}
	}
	return profiled, nil
}

// profileORT reads the trace that ONNX Runtime writes when a session ends.
func profileORT(ctx context.Context, path string, inputs map[string]*tensor.Tensor, o Options, add func(op, node string, d time.Duration)) (int, error) {
	dir, remove, err := output.Scratch()
	if err != nil {
		return 0, err
	}
	defer remove()
	o.Trace = filepath.Join(dir, "trace")
	s, err := loadORT(path, o)
	if err != nil {
		return 0, err
	}
	for range profiled + 1 {
		if _, err := s.Run(ctx, inputs); err != nil {
			s.Close()
			return 0, err
		}
	}
	if err := s.Close(); err != nil {
		return 0, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		return 0, fmt.Errorf("%s: ONNX Runtime wrote %d traces, want 1", path, len(files))
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return 0, err
	}
	var events []struct {
		Cat, Name string
		Dur       int64
		Args      struct {
			Op string `json:"op_name"`
		}
	}
	if err := json.Unmarshal(text, &events); err != nil {
		return 0, fmt.Errorf("%s: trace: %w", path, err)
	}
	for _, e := range events {
		if e.Cat == "Node" && strings.HasSuffix(e.Name, "_kernel_time") {
			add(e.Args.Op, strings.TrimSuffix(e.Name, "_kernel_time"), time.Duration(e.Dur)*time.Microsecond)
		}
	}
	return profiled + 1, nil
}
