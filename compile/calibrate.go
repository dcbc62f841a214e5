package compile

import (
	"context"
	"fmt"

	"syncsam-convert/calib"
	"syncsam-convert/engine"
	"syncsam-convert/internal/guard"
	"syncsam-convert/internal/version"
	"syncsam-convert/passes"
	"syncsam-convert/shards"
)

// Statistics runs the float model over one shard ("i/n", "" for all) of the calibration pictures, and gives what build takes in their
// place: ranges of what Quantize chooses, and the largest amplitude of every value. The options' Precision and Target play no part.
func Statistics(ctx context.Context, o Options, shard string) (*calib.Stats, error) {
	if o.Calibration == "" {
		return nil, fmt.Errorf("--calib: missing, want calibration pictures")
	}
	part, err := shards.Parse(shard)
	if err != nil {
		return nil, fmt.Errorf("--shard: %w", err)
	}
	images, sum, err := calib.ImagesOf(o.Calibration, part)
	if err != nil {
		return nil, err
	}
	o.Precision, o.Target, o.Rounding = INT8, ONNX, RoundNearest
	o.narrow = true // the statistics serve float16, too
	source, err := Open(o)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	var s *calib.Stats
	err = source.settle(ctx, guard.Do(func() (err error) {
		s, err = source.statistics(ctx, images, sum, part)
		return err
	}))
	return s, err
}

func (s *Source) statistics(ctx context.Context, images []string, imagesSum string, part shards.Shard) (*calib.Stats, error) {
	l, err := s.Lower(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.run.Before(ctx, passes.Calibrate); err != nil {
		return nil, err
	}
	sum, err := s.SHA256()
	if err != nil {
		return nil, err
	}
	run, err := l.runOf(sum, imagesSum)
	if err != nil {
		return nil, err
	}
	stats, err := l.observe(ctx, sum, images, l.Scope(), true)
	if err == nil {
		stats.Run, stats.Shard = run, part
	}
	return stats, err
}

// runOf names everything that statistics depend on.
func (l *Lowered) runOf(source, images string) (map[string]any, error) {
	run := map[string]any{"checkpoint": source, "images": images, "quantize": l.Scope().Name(), "family": l.run.Module.Meta.Family,
		"weights": l.o.Model.Weights, "image_size": l.o.Model.ImageSize, "engine": l.o.Engine, "version": version.Get()}
	var err error
	if l.o.Engine != engine.Embedded { // which gives the same bits on every processor, and is of the tool's version
		run["engine_version"], err = engine.Version(l.o.Engine, l.o.Runtime)
	}
	return run, err
}
