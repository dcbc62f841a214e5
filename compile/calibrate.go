package compile

import (
	"context"
	"fmt"

	"syncsam-convert/calib"
	"syncsam-convert/internal/guard"
	"syncsam-convert/passes"
)

// Statistics runs the float model over one shard ("i/n", "" for all) of the calibration pictures, and gives what build takes in their
// place: ranges of what Quantize chooses, and the largest amplitude of every value. The options' Precision and Target play no part.
func Statistics(ctx context.Context, o Options, shard string) (*calib.Stats, error) {
	if o.Calibration == "" {
		return nil, fmt.Errorf("--calib: missing, want calibration pictures")
	}
	images, err := calib.Images(o.Calibration)
	if err != nil {
		return nil, err
	}
	if images, err = calib.Shard(images, shard); err != nil {
		return nil, fmt.Errorf("--shard: %w", err)
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
		s, err = source.statistics(ctx, images)
		return err
	}))
	return s, err
}

func (s *Source) statistics(ctx context.Context, images []string) (*calib.Stats, error) {
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
	return l.observe(ctx, sum, images, l.Scope(), true)
}
