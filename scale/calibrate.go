package scale

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/sdf"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/rtrackers/offsetrange"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"syncsam-convert/calib"
	"syncsam-convert/compile"
	"syncsam-convert/engine"
	"syncsam-convert/shards"
)

// A CalibSpec is what workers need to know of a calibration. Calib is a folder or an index that all workers see under that path.
type CalibSpec struct {
	Calib, Quantize string
	Family, Weights string
	ImageSize       int64
	Engine, Library string
	Threads         int
}

func (s CalibSpec) options(checkpoint string) compile.Options {
	o := compile.Options{Checkpoint: checkpoint, Calibration: s.Calib, Quantize: s.Quantize, Engine: s.Engine, Runtime: engine.Options{Library: s.Library, Threads: s.Threads}}
	o.Model.Family, o.Model.Weights, o.Model.ImageSize = s.Family, s.Weights, s.ImageSize
	return o
}

func init() {
	register.DoFn4x1[context.Context, *sdf.LockRTracker, []byte, func(int), error](&ShardsFn{})
	register.DoFn4x1[context.Context, int, func(*Piece) bool, func([]byte), error](&StatsFn{})
	register.DoFn1x1[[]byte, error](&FileFn{})
	register.Combiner1[[]byte](&statsFn{})
	register.Emitter1[int]()
}

// ShardsFn lists the shards of a calibration: splittable over their numbers.
type ShardsFn struct{ N int64 }

// CreateInitialRestriction is all shards.
func (f *ShardsFn) CreateInitialRestriction(_ []byte) offsetrange.Restriction {
	return offsetrange.Restriction{Start: 0, End: f.N}
}

// SplitRestriction makes ranges of one shard.
func (f *ShardsFn) SplitRestriction(_ []byte, r offsetrange.Restriction) []offsetrange.Restriction {
	return r.SizedSplits(1)
}

// RestrictionSize is in shards.
func (f *ShardsFn) RestrictionSize(_ []byte, r offsetrange.Restriction) float64 { return r.Size() }

// CreateTracker tracks shards.
func (f *ShardsFn) CreateTracker(r offsetrange.Restriction) *sdf.LockRTracker {
	return sdf.NewLockRTracker(offsetrange.NewTracker(r))
}

// ProcessElement emits the shards that it can claim.
func (f *ShardsFn) ProcessElement(_ context.Context, t *sdf.LockRTracker, _ []byte, emit func(int)) error {
	for k := t.GetRestriction().(offsetrange.Restriction).Start; t.TryClaim(k); k++ {
		emit(int(k))
	}
	return nil
}

// StatsFn runs the float model over a shard's images, with the checkpoint that comes as a side input.
type StatsFn struct {
	Spec       CalibSpec
	Checkpoint string // hash of its files
	Name       string // of its file, "" of a folder
	N          int
}

// ProcessElement emits a shard's statistics.
func (f *StatsFn) ProcessElement(ctx context.Context, k int, next func(*Piece) bool, emit func([]byte)) error {
	dir, err := unpack(f.Checkpoint, next)
	if err != nil {
		return err
	}
	slots <- struct{}{}
	defer func() { <-slots }()
	if calibFault != nil {
		calibFault(k)
	}
	s, err := compile.Statistics(ctx, f.Spec.options(filepath.Join(dir, f.Name)), shards.Shard{I: k + 1, N: f.N}.String())
	if err != nil {
		return err
	}
	text, err := encoded(s)
	if err == nil {
		emit(text)
	}
	return err
}

// calibFault is what tests do to a worker.
var calibFault func(int)

// statsFn merges statistics exactly, whichever worker has collected what.
type statsFn struct{}

func (*statsFn) MergeAccumulators(a, b []byte) []byte {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	text, err := merged(a, b)
	if err != nil {
		panic(err) // both were encoded by StatsFn
	}
	return text
}

func merged(a, b []byte) ([]byte, error) {
	x, err := decoded(a)
	if err != nil {
		return nil, err
	}
	y, err := decoded(b)
	if err != nil {
		return nil, err
	}
	if err := x.Merge(y); err != nil {
		return nil, err
	}
	return encoded(x)
}

// files of one process are read and written one after the other, under one name.
var files sync.Mutex

func encoded(s *calib.Stats) (text []byte, err error) {
	err = scratch(func(path string) error {
		if err := s.WriteFile(path); err != nil {
			return err
		}
		text, err = os.ReadFile(path)
		return err
	})
	return text, err
}

func decoded(text []byte) (s *calib.Stats, err error) {
	err = scratch(func(path string) error {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
		s, err = calib.ReadFile(path)
		return err
	})
	return s, err
}

func scratch(f func(path string) error) error {
	files.Lock()
	defer files.Unlock()
	dir, err := os.MkdirTemp("", "syncsam-beam-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return f(filepath.Join(dir, "statistics.safetensors"))
}

// FileFn writes the statistics of all shards as those of one run.
type FileFn struct {
	Path   string
	Images int64 // of all
}

// ProcessElement writes them. Images that were lost, or counted twice, are an error.
func (f *FileFn) ProcessElement(text []byte) error {
	if len(text) == 0 {
		return fmt.Errorf("%s: there are no statistics", f.Path)
	}
	s, err := decoded(text)
	if err != nil {
		return err
	}
	if s.Images != f.Images {
		return fmt.Errorf("%s: have %d images, want %d", f.Path, s.Images, f.Images)
	}
	s.Shard = shards.Shard{}
	return s.WriteFile(f.Path)
}

// Calibrate collects statistics over n shards on a runner and writes the file of one run.
func (s CalibSpec) Calibrate(ctx context.Context, runner, checkpoint, out string, n, attempts int, note func(string)) error {
	info, err := os.Stat(checkpoint)
	if err != nil {
		return err
	}
	name, err := nameOf(checkpoint)
	if err != nil {
		return err
	}
	images, err := calib.Images(s.Calib)
	if err != nil {
		return err
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	file := ""
	if !info.IsDir() {
		file = filepath.Base(checkpoint)
	}
	return again(attempts, note, func() error {
		p, root := beam.NewPipelineWithRoot()
		all := beam.Reshuffle(root, beam.ParDo(root.Scope("shards"), &ShardsFn{int64(n)}, beam.Impulse(root)))
		stats := beam.ParDo(root.Scope("calibrate"), &StatsFn{s, name, file, n}, all, beam.SideInput{Input: pieces(root, checkpoint)})
		beam.ParDo0(root.Scope("file"), &FileFn{out, int64(len(images))}, beam.Combine(root, &statsFn{}, stats))
		_, err := beam.Run(ctx, runner, p)
		return err
	})
}
