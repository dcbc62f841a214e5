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

// How long Latency measures: so long, but not fewer and not more rounds.
const (
	measured   = time.Second
	fewRounds  = 5
	mostRounds = 60
)

// Latency times files in turns with equal inputs by ClockOf, and gives the least time of each in ms: what else the machine does can only add to it.
func Latency(ctx context.Context, files []string, name string, o engine.Options) ([]float64, error) {
	inputs, err := frontend.Probe(files[0], nil)
	if err != nil {
		return nil, err
	}
	sessions := make([]engine.Session, len(files))
	for i, file := range files {
		if sessions[i], err = engine.Load(name, file, o); err != nil {
			return nil, err
		}
		defer sessions[i].Close()
	}
	now := time.Now
	if ClockOf(o.Threads) == Processor {
		now = func() time.Time { d, _ := computed(); return time.Time{}.Add(d) }
	}
	ms := make([]float64, len(files))
	for round, begun := 0, now(); round <= fewRounds || round <= mostRounds && now().Sub(begun) < measured; round++ {
		for i, session := range sessions {
			start := now()
			if _, err := session.Run(ctx, inputs); err != nil {
				return nil, err
			}
			if took := float64(now().Sub(start).Microseconds()) / 1e3; round == 1 || took < ms[i] { // the first round warms up
				ms[i] = took
			}
		}
	}
	return ms, nil
}

// Nodes gives the time of each of a file's nodes, as engine.Nodes does, with the inputs that Latency takes.
func Nodes(ctx context.Context, file, name string, o engine.Options) (map[string]float64, error) {
	inputs, err := frontend.Probe(file, nil)
	if err != nil {
		return nil, err
	}
	return engine.Nodes(ctx, name, file, inputs, o)
}
