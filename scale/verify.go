// Package scale runs verification and calibration as Apache Beam pipelines, which give the bits of one run on one machine.
package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/sdf"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/rtrackers/offsetrange"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"syncsam-convert/engine"
	"syncsam-convert/golden"
	"syncsam-convert/shards"
)

// A Spec is what workers need to know of a verification. Data and Golden are folders that all workers see under that path.
type Spec struct {
	Data, Golden, Prompts string
	Engine, Library       string
	Threads               int
	Closed                bool
}

// Request is the spec as package golden takes it.
func (s Spec) Request() golden.Request {
	return golden.Request{Data: s.Data, Golden: s.Golden, Prompts: s.Prompts, Engine: s.Engine, Options: engine.Options{Library: s.Library, Threads: s.Threads}, Closed: s.Closed}
}

func init() {
	register.DoFn2x1[[]byte, func(Piece), error](&PiecesFn{})
	register.DoFn4x1[context.Context, *sdf.LockRTracker, []byte, func([]byte), error](&UnitsFn{})
	register.DoFn4x1[context.Context, []byte, func(*Piece) bool, func(int, []byte), error](&MeasureFn{})
	register.DoFn2x1[int, func(*[]byte) bool, error](&PartFn{})
	register.DoFn1x1[*sums, error](&TotalsFn{})
	register.Combiner3[*sums, []byte, *sums](&sumFn{})
	register.Emitter1[Piece]()
	register.Emitter1[[]byte]()
	register.Emitter2[int, []byte]()
	register.Iter1[Piece]()
	register.Iter1[[]byte]()
	register.Function2x1(second)
	beam.RegisterType(reflect.TypeFor[Piece]())
	beam.RegisterCoder(reflect.TypeFor[*sums](), encodeSums, decodeSums)
}

// UnitsFn lists the images of an index, each with its masks: splittable over their numbers.
type UnitsFn struct {
	Spec   Spec
	Images int64
	Parts  int64 // how many ranges there are at first; runners split them further
}

// CreateInitialRestriction is all images.
func (f *UnitsFn) CreateInitialRestriction(_ []byte) offsetrange.Restriction {
	return offsetrange.Restriction{Start: 0, End: f.Images}
}

// SplitRestriction makes Parts ranges.
func (f *UnitsFn) SplitRestriction(_ []byte, r offsetrange.Restriction) []offsetrange.Restriction {
	return r.SizedSplits(max(1, (f.Images+f.Parts-1)/f.Parts))
}

// RestrictionSize is in images.
func (f *UnitsFn) RestrictionSize(_ []byte, r offsetrange.Restriction) float64 { return r.Size() }

// CreateTracker tracks images.
func (f *UnitsFn) CreateTracker(r offsetrange.Restriction) *sdf.LockRTracker {
	return sdf.NewLockRTracker(offsetrange.NewTracker(r))
}

// ProcessElement emits the images of a range that it can claim.
func (f *UnitsFn) ProcessElement(_ context.Context, t *sdf.LockRTracker, _ []byte, emit func([]byte)) error {
	r := t.GetRestriction().(offsetrange.Restriction)
	claimed := int64(-1)
	for u, err := range f.Spec.Request().Units(int(r.Start), int(r.End)) {
		if err != nil {
			return err
		}
		if at := int64(u.At[0]); at != claimed && !t.TryClaim(at) {
			return nil
		} else {
			claimed = at
		}
		text, err := json.Marshal(u)
		if err != nil {
			return err
		}
		emit(text)
	}
	t.TryClaim(r.End) // images without a mask are done, too
	return nil
}

// MeasureFn measures images with the artifact that comes as a side input. It emits records by shard.
type MeasureFn struct {
	Spec     Spec
	Artifact string // hash of its files
	Shards   int
}

// workers are the artifacts that this process has open: loaded once, whatever the number of bundles.
var workers struct {
	sync.Mutex
	open map[string]*golden.Work
}

func (f *MeasureFn) work(next func(*Piece) bool) (*golden.Work, error) {
	dir, err := unpack(f.Artifact, next)
	if err != nil {
		return nil, err
	}
	workers.Lock()
	defer workers.Unlock()
	key := fmt.Sprintf("%s %+v", f.Artifact, f.Spec)
	if w := workers.open[key]; w != nil {
		return w, nil
	}
	w, err := f.Spec.Request().Open(dir)
	if err != nil {
		return nil, err
	}
	if workers.open == nil {
		workers.open = map[string]*golden.Work{}
	}
	workers.open[key] = w
	return w, nil
}

// slots bounds how many images a process has in memory at once: runners start more bundles than there are processors.
var slots = make(chan struct{}, runtime.GOMAXPROCS(0))

// ProcessElement measures one image's masks.
func (f *MeasureFn) ProcessElement(ctx context.Context, text []byte, next func(*Piece) bool, emit func(int, []byte)) error {
	w, err := f.work(next)
	if err != nil {
		return err
	}
	var u golden.Unit
	if err := json.Unmarshal(text, &u); err != nil {
		return err
	}
	slots <- struct{}{}
	defer func() { <-slots }()
	if fault != nil {
		fault(u)
	}
	records, err := w.Measure(ctx, u)
	if err != nil {
		return err
	}
	for _, r := range records {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		emit(r.At[0]%f.Shards, text)
	}
	return nil
}

// fault is what tests do to a worker.
var fault func(golden.Unit)

// PartFn writes a shard's records as verify --shard does.
type PartFn struct {
	Run    json.RawMessage
	Folder string
	Shards int
}

// ProcessElement writes one shard's.
func (f *PartFn) ProcessElement(k int, next func(*[]byte) bool) error {
	var records []golden.Record
	var text []byte
	for next(&text) {
		var r golden.Record
		if err := json.Unmarshal(text, &r); err != nil {
			return err
		}
		records = append(records, r)
	}
	return writePart(f.Folder, f.Run, shards.Shard{I: k + 1, N: f.Shards}, records)
}

func partPath(folder string, s shards.Shard) string {
	return filepath.Join(folder, fmt.Sprintf("part-%d.csv", s.I))
}

func writePart(folder string, run json.RawMessage, s shards.Shard, records []golden.Record) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(run, &fields); err != nil {
		return err
	}
	named := map[string]any{}
	for k, v := range fields {
		named[k] = v
	}
	return golden.WritePart(partPath(folder, s), named, s, records)
}

// sums are exact, whichever worker has added what.
type sums struct{ golden.Totals }

func encodeSums(s *sums) ([]byte, error) { return json.Marshal(s.Totals) }

func decodeSums(text []byte) (*sums, error) {
	s := &sums{golden.Totals{}}
	return s, json.Unmarshal(text, &s.Totals)
}

type sumFn struct{}

func (*sumFn) CreateAccumulator() *sums { return &sums{golden.Totals{}} }

func (*sumFn) AddInput(s *sums, text []byte) *sums {
	var r golden.Record
	if err := json.Unmarshal(text, &r); err != nil {
		panic(err) // it was marshalled by MeasureFn
	}
	s.Add(r)
	return s
}

func (*sumFn) MergeAccumulators(a, b *sums) *sums {
	a.Merge(b.Totals)
	return a
}

func (*sumFn) ExtractOutput(s *sums) *sums { return s }

// TotalsFn writes the sums.
type TotalsFn struct{ Path string }

// ProcessElement writes them.
func (f *TotalsFn) ProcessElement(s *sums) error {
	text, err := json.Marshal(s.Totals)
	if err != nil {
		return err
	}
	return os.WriteFile(f.Path, text, 0o666)
}

func second(_ int, text []byte) []byte { return text }

// Pipeline measures the images of a spec with the artifact in a folder, and writes shards files and the sums into another.
func (s Spec) Pipeline(artifact, folder string, images, shards int, run []byte) (*beam.Pipeline, error) {
	name, err := nameOf(artifact)
	if err != nil {
		return nil, err
	}
	p, root := beam.NewPipelineWithRoot()
	units := beam.ParDo(root.Scope("index"), &UnitsFn{s, int64(images), int64(shards)}, beam.Impulse(root))
	units = beam.Reshuffle(root, units) // images of a range go to all workers
	records := beam.ParDo(root.Scope("measure"), &MeasureFn{s, name, shards}, units, beam.SideInput{Input: pieces(root, artifact)})
	beam.ParDo0(root.Scope("parts"), &PartFn{run, folder, shards}, beam.GroupByKey(root, records))
	beam.ParDo0(root.Scope("totals"), &TotalsFn{filepath.Join(folder, totalsName)}, beam.Combine(root, &sumFn{}, beam.ParDo(root, second, records)))
	return p, nil
}

const totalsName = "totals.json"

// Verify verifies the artifact in a folder on a runner and writes items, the file of one run. A pipeline that fails, as one does on a runner that
// does not repeat the work of a worker that died, is run again, up to attempts times.
func (s Spec) Verify(ctx context.Context, runner, artifact, items string, n, attempts int, note func(string)) (*golden.Report, error) {
	r := s.Request()
	work, err := r.Open(artifact)
	if err != nil {
		return nil, err
	}
	run, err := work.Run()
	work.Close()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(run)
	if err != nil {
		return nil, err
	}
	images, err := r.Images()
	if err != nil {
		return nil, err
	}
	folder, err := filepath.Abs(items + ".parts")
	if err != nil {
		return nil, err
	}
	if err := fresh(folder); err != nil {
		return nil, err
	}
	if err := again(attempts, note, func() error {
		p, err := s.Pipeline(artifact, folder, images, n, text)
		if err != nil {
			return err
		}
		_, err = beam.Run(ctx, runner, p)
		return err
	}); err != nil {
		return nil, err
	}
	var parts []string
	for i := 1; i <= n; i++ {
		shard := shards.Shard{I: i, N: n}
		path := partPath(folder, shard)
		if _, err := os.Stat(path); os.IsNotExist(err) { // no item is in it
			if err := writePart(folder, text, shard, nil); err != nil {
				return nil, err
			}
		}
		parts = append(parts, path)
	}
	if _, err := golden.Merge(parts, items); err != nil {
		return nil, err
	}
	r.Items, r.Resume = items, true
	report, err := r.Run(ctx, artifact)
	if err != nil {
		return nil, err
	}
	return report, errorsOf(folder, report)
}

// errorsOf holds the workers' sums against the report, and removes the parts when they agree.
func errorsOf(folder string, r *golden.Report) error {
	text, err := os.ReadFile(filepath.Join(folder, totalsName))
	if err != nil {
		return err
	}
	s, err := decodeSums(text)
	if err != nil {
		return err
	}
	if err := s.Check(r); err != nil {
		return err
	}
	return os.RemoveAll(folder)
}

// fresh is an empty folder; what another pipeline left there is removed.
func fresh(folder string) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	return os.MkdirAll(folder, 0o777)
}

func again(attempts int, note func(string), run func() error) error {
	for i := 1; ; i++ {
		err := run()
		if err == nil || i >= attempts {
			return err
		}
		note(fmt.Sprintf("attempt %d of %d failed and is run again: %v", i, attempts, err))
	}
}
