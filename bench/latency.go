package bench

import (
	"context"
	"time"

	"syncsam-convert/engine"
	frontend "syncsam-convert/frontends/onnx"
)

// The clocks of Latency.
const (
	Processor = "processor" // time that the process computed: what else a busy machine does is not in it
	Wall      = "wall"      // time that passed
)

// ClockOf is what times runs with so many threads: with one the time that the process computes is its latency, where the system tells it.
func ClockOf(threads int) string {
	if _, ok := computed(); ok && threads == 1 {
		return Processor
	}
	return Wall
}

// Latency times files in turns with equal inputs by ClockOf, and gives the median of each in ms, and of its ratios to the first, round by round.
func Latency(ctx context.Context, files []string, name string, o engine.Options, rounds int) (ms, ratios []float64, err error) {
	inputs, err := frontend.Probe(files[0], nil)
	if err != nil {
		return nil, nil, err
	}
	sessions := make([]engine.Session, len(files))
	for i, file := range files {
		if sessions[i], err = engine.Load(name, file, o); err != nil {
			return nil, nil, err
		}
		defer sessions[i].Close()
	}
	now := time.Now
	if ClockOf(o.Threads) == Processor {
		now = func() time.Time { d, _ := computed(); return time.Time{}.Add(d) }
	}
	timings := make([]Timing, len(files))
	for round := range rounds + 1 {
		for i, session := range sessions {
			start := now()
			if _, err := session.Run(ctx, inputs); err != nil {
				return nil, nil, err
			}
			if round > 0 {
				timings[i].samples = append(timings[i].samples, float64(now().Sub(start).Microseconds())/1e3)
			}
		}
	}
	for _, t := range timings {
		_, median, _ := quartiles(t.samples)
		ms, ratios = append(ms, median), append(ratios, t.Against(timings[0]).Median)
	}
	return ms, ratios, nil
}

// Nodes gives the time of each of a file's nodes, as engine.Nodes does, with the inputs that Latency takes.
func Nodes(ctx context.Context, file, name string, o engine.Options) (map[string]float64, error) {
	inputs, err := frontend.Probe(file, nil)
	if err != nil {
		return nil, err
	}
	return engine.Nodes(ctx, name, file, inputs, o)
}
