package golden

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"syncsam-convert/artifact"
	"syncsam-convert/dataset"
	"syncsam-convert/engine"
	"syncsam-convert/golden/groups"
	"syncsam-convert/internal/version"
	"syncsam-convert/segment"
	"syncsam-convert/shards"
)

// PaperScheme starts the name of a published result: "paper:2/SyncSAM-SAMed-50".
const PaperScheme = "paper:"

// PaperTolerance is how many DSC points a mean may be below a published one: those have one decimal and depend on the test set's composition.
const PaperTolerance = 0.5

// DefaultDrop is how many DSC points the means of an artifact in INT8 or float16 may be below the golden ones, where neither it nor the request says:
// rounding moves the contours of single items by more than any tolerance, either way.
const DefaultDrop = 0.25

// A Request says what to verify an artifact against, as the command line and programs ask for it.
type Request struct {
	Golden    string // a golden folder, or PaperScheme TABLE/ROW with Data; "": Data is measured
	Data      string // a data set's folder, in an arrangement that package dataset knows
	Prompts   string // comma-separated modes; "": all
	Engine    string
	Options   engine.Options
	Tolerance *float64 // DSC points; nil: what the artifact was accepted by, DefaultTolerance or DefaultDrop by its precision; PaperTolerance for published results
	Closed    bool
	MaxDrop   *float64              // DSC points; judges means instead of items
	Judge     string                // with MaxDrop: JudgeEquivalence
	MinDSC    *float64              // with Data alone: what every mode's mean must reach; up to 1 a fraction, above points
	Margin    *float64              // of Compare, DSC points
	MovedBy   float64               // of Compare: items that differ by more DSC points are listed; 0: DefaultMovedBy
	Baseline  string                // an earlier report (JSON); MaxDrop or Tolerance say how far results may drop since
	Groups    string                // a table (CSV) of what items belong to
	Items     string                // a file (.csv, .jsonl) for results as they come
	Resume    bool                  // go on with the file of a run that broke
	Draw      int                   // bytes of drawings for a page; 0: none
	Shard     string                // "i/n": measure only part i of n, into Items, which merge puts together; "": all
	Progress  func(done, total int) // of masks; total is -1 where it is not known
	Note      func(string)          // is told what a reader should know at once; nil: nobody

	several bool               // the artifacts of a table: of any family
	want    map[string]float64 // published means, for a table
	title   string
}

func (r Request) published() bool { return strings.HasPrefix(r.Golden, PaperScheme) || r.title != "" }

// own reports whether only the user's own data are measured.
func (r Request) own() bool { return !r.published() && r.Golden == "" }

// Check refuses what cannot be honoured, before any work. two says that two artifacts are compared.
func (r Request) Check(two bool) error {
	key, _ := strings.CutPrefix(r.Golden, PaperScheme)
	number := func(flag string, x *float64, least bool) error {
		if x != nil && (!(*x >= 0) || math.IsInf(*x, 0) || !least && *x == 0) {
			return fmt.Errorf("--%s: have %g, want %s DSC points", flag, *x, map[bool]string{true: "0 or more", false: "more than 0"}[least])
		}
		return nil
	}
	for _, err := range []error{number("tolerance", r.Tolerance, true), number("max-dsc-drop", r.MaxDrop, true), number("margin", r.Margin, false), number("min-dsc", r.MinDSC, true),
		number("moved-by", &r.MovedBy, true)} {
		if err != nil {
			return err
		}
	}
	switch {
	case r.Golden == "" && r.title == "" && r.Data == "":
		return fmt.Errorf("--golden: missing, want a golden folder, %sTABLE/ROW, or --data alone to measure", PaperScheme)
	case r.published() && r.Data == "":
		return fmt.Errorf("--data: missing: %s%s is compared on your own data set", PaperScheme, key)
	case r.Golden != "" && !r.published() && r.Data != "":
		return fmt.Errorf("--data: with --golden %sTABLE/ROW or alone; a golden folder has its own data", PaperScheme)
	case two && r.published():
		return fmt.Errorf("--golden %s: published means have no items to compare", r.Golden)
	case two && (r.Tolerance != nil || r.MaxDrop != nil || r.MinDSC != nil || r.Closed):
		return fmt.Errorf("--tolerance, --max-dsc-drop, --min-dsc, --closed-loop: not with two artifacts and --margin: the comparison judges")
	case !two && r.MovedBy != 0:
		return fmt.Errorf("--moved-by: only with two artifacts and --margin")
	case !two && r.Margin != nil:
		return fmt.Errorf("--margin: only with two artifacts, A and B")
	case r.MinDSC != nil && !r.own():
		return fmt.Errorf("--min-dsc: only with --data, and no --golden")
	case r.Baseline != "" && (two || r.published()):
		return fmt.Errorf("--baseline: only for one artifact, with a golden folder or --data alone")
	case r.Closed && r.own():
		return fmt.Errorf("--closed-loop: only with --golden")
	case r.MaxDrop != nil && r.own() && r.Baseline == "":
		return fmt.Errorf("--max-dsc-drop: only with --golden or --baseline")
	case r.Tolerance != nil && r.own() && r.Baseline == "":
		return fmt.Errorf("--tolerance: only with --golden or --baseline; --min-dsc judges own data")
	case r.Judge != "" && r.own():
		return fmt.Errorf("--judge: only with --golden")
	case (r.MaxDrop != nil || r.Closed) && r.published():
		return fmt.Errorf("--max-dsc-drop, --closed-loop: only with a golden folder; --tolerance judges published means")
	case r.MaxDrop != nil && r.Tolerance != nil:
		return fmt.Errorf("--tolerance, --max-dsc-drop: have both, want one: items are judged, or means")
	case r.Judge != "" && r.Judge != JudgeEquivalence:
		return fmt.Errorf("--judge: have %q, want %s", r.Judge, JudgeEquivalence)
	case r.Judge != "" && (r.MaxDrop == nil || *r.MaxDrop == 0):
		return fmt.Errorf("--judge: needs --max-dsc-drop of more than 0, which is its margin")
	case r.Resume && r.Items == "":
		return fmt.Errorf("--resume: needs --items, the file to go on with")
	case r.Shard != "" && r.Items == "":
		return fmt.Errorf("--shard: needs --items, the file that merge takes")
	case r.Shard != "" && (r.Tolerance != nil || r.MaxDrop != nil || r.MinDSC != nil || r.Baseline != ""):
		return fmt.Errorf("--tolerance, --max-dsc-drop, --min-dsc, --baseline: not with --shard: a part is measured, the merged file is judged (verify --items FILE --resume)")
	case r.Options.Threads < 0:
		return fmt.Errorf("--threads: have %d, want 0 or more", r.Options.Threads)
	}
	return nil
}

// settings are those of a verification of an artifact.
func (r Request) settings(man *artifact.Manifest) (s Settings, err error) {
	s = Settings{Tolerance: DefaultTolerance, Closed: r.Closed, MaxDrop: r.MaxDrop, Judge: r.Judge, Draw: r.Draw, Modes: Modes, margin: r.Margin, movedBy: r.MovedBy, from: "--max-dsc-drop"}
	switch {
	case r.published():
		s.Tolerance = PaperTolerance
	case r.Golden != "" && r.Tolerance == nil && r.MaxDrop == nil && r.Margin == nil:
		s.MaxDrop, s.Judge, s.from = accepted(man)
	}
	if r.Tolerance != nil {
		s.Tolerance = *r.Tolerance
	}
	if r.MinDSC != nil {
		least := *r.MinDSC
		if least > 1 {
			least /= 100
		}
		s.MinDSC = &least
	}
	if s.shard, err = shards.Parse(r.Shard); err != nil {
		return s, fmt.Errorf("--shard: %w", err)
	}
	if r.Prompts != "" {
		if s.Modes, err = ParseModes(r.Prompts); err != nil {
			return s, fmt.Errorf("--prompts: %w", err)
		}
	}
	if r.Groups != "" {
		if s.Groups, err = groups.ReadCSV(r.Groups); err != nil {
			return s, fmt.Errorf("--groups: %w", err)
		}
	}
	return s, nil
}

// accepted is how an artifact is judged where nobody says otherwise: as it was when it was built, else by items in float32 and by means in
// precisions that round. It says where that comes from.
func accepted(man *artifact.Manifest) (drop *float64, judge, from string) {
	if c := man.Criterion; c != nil {
		return &c.MaxDrop, c.Judge, "by which it was built"
	}
	if man.Precision != "fp32" {
		d := DefaultDrop
		return &d, "", "the default for " + man.Precision
	}
	return nil, "", ""
}

// Run verifies the artifact in a folder.
func (r Request) Run(ctx context.Context, dir string) (*Report, error) { return r.run(ctx, dir) }

// Compare compares artifact B with A, item by item: by a golden folder's prompts, or by those that are made for A.
func (r Request) Compare(ctx context.Context, a, b string) (*Report, error) {
	if r.Margin == nil {
		return nil, fmt.Errorf("--margin: missing, want the DSC points that B's mean may lie from A's")
	}
	return r.run(ctx, a, b)
}

func (r Request) run(ctx context.Context, dirs ...string) (_ *Report, err error) {
	start := time.Now()
	v, file, err := r.start(dirs)
	if err != nil {
		return nil, err
	}
	defer v.close()
	if err := r.open(v, dirs); err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			err = v.s.rows.end()
		}
		err = errors.Join(err, v.s.rows.close())
	}()
	if file != nil {
		err = v.golden(ctx, file)
	} else {
		err = v.overData(ctx)
	}
	if err != nil {
		return nil, err
	}
	ev := v.r.Evidence
	ev.Data, ev.Finished, ev.Seconds = v.files.result(v.data, v.r.Layout), time.Now().UTC().Truncate(time.Second), time.Since(start).Seconds()
	if b := v.r.Baseline; b != nil {
		err = b.sameData(ev.Data, v.r.baselineData)
	}
	return v.r, err
}

// start opens the artifacts, and the golden file where the request names one.
func (r Request) start(dirs []string) (_ *verification, _ *File, err error) {
	two := len(dirs) == 2
	if err := r.Check(two); err != nil {
		return nil, nil, err
	}
	file, err := r.file()
	if err != nil {
		return nil, nil, err
	}
	last, err := artifact.Read(dirs[len(dirs)-1])
	if err != nil {
		return nil, nil, err
	}
	s, err := r.settings(last)
	if err != nil {
		return nil, nil, err
	}
	ev := &Evidence{Tool: version.Get(), Host: here(), Started: time.Now().UTC().Truncate(time.Second)}
	var p []*segment.Predictor
	defer func() {
		if err != nil {
			(&verification{p: p}).close()
		}
	}()
	for i, dir := range dirs {
		one, err := segment.Open(dir, r.Engine, r.Options)
		if err != nil {
			return nil, nil, err
		}
		p = append(p, one)
		h, err := describe(dir, one.Manifest())
		if err != nil {
			return nil, nil, err
		}
		if i == len(dirs)-1 {
			ev.Artifact = h
			ev.Built = built(one.Manifest())
		} else {
			ev.First = h
		}
	}
	if ev.EngineVersion, err = engine.Version(r.Engine, r.Options); err != nil {
		return nil, nil, err
	}
	s.Stability = two || !r.published() && last.Precision == "fp32"
	v := newVerification(p, r.Data, s)
	v.r.Evidence, v.files = ev, newDigest()
	if err = r.against(v, file, last, ev); err != nil {
		v.closeLogits()
	}
	return v, file, err
}

func (v *verification) close() {
	v.closeLogits()
	for _, p := range v.p {
		p.Close()
	}
}

// file is the golden file that the request names, nil where it names none.
func (r Request) file() (*File, error) {
	if r.own() || r.published() {
		return nil, nil
	}
	if info, err := os.Stat(r.Golden); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s: not a golden folder", r.Golden)
	}
	return Read(r.Golden)
}

// against says what the results are held against, and at once whether that is of another checkpoint.
func (r Request) against(v *verification, file *File, man *artifact.Manifest, ev *Evidence) (err error) {
	total, done := -1, 0
	switch {
	case file != nil:
		v.data, v.r.golden, v.r.Reference, total = file.data, file.Summary, file.Reference, len(file.Items)
		sum, _, err := artifact.Hash(filepath.Join(r.Golden, FileName))
		if err != nil {
			return err
		}
		ev.Golden = &Hashed{Path: r.Golden, SHA256: sum, Family: file.Family, Source: file.SHA256}
		v.r.judge(judgedByGolden(v.s))
		if err := r.sameModel(v, file, man); err != nil {
			return err
		}
	case r.title != "":
		v.r.published, v.r.Reference = r.want, r.title
		v.r.judge(ByPublished)
	case r.published():
		key, _ := strings.CutPrefix(r.Golden, PaperScheme)
		if v.r.published, v.r.Reference, err = LookupPaper(key); err != nil {
			return err
		}
		v.r.judge(ByPublished)
	case r.MinDSC != nil:
		v.r.judge(ByMinimum)
	case r.Baseline != "":
		v.r.judge(ByBaseline)
	default:
		v.r.judge(ByNothing)
	}
	if ev.First != nil {
		v.r.judge(ByComparison)
		v.r.golden, v.r.Reference = nil, fmt.Sprintf("A, %s (%s, %s)", ev.First.Path, ev.First.Family, ev.First.Precision)
	}
	if v.s.shard.N > 0 {
		v.r.Shard, v.r.golden = v.s.shard.String(), nil
		v.r.judge(ByNothing)
	}
	v.s.Seen = func() {
		done++
		if r.Progress != nil {
			r.Progress(done, total)
		}
	}
	if file != nil && r.Draw > 0 {
		if v.logits, err = openLogits(r.Golden); err != nil {
			return err
		}
	}
	return r.baseline(v, man, ev)
}

// sameModel names a golden set of another checkpoint. One of another family is refused, but for tables of several systems and comparisons.
func (r Request) sameModel(v *verification, file *File, man *artifact.Manifest) error {
	if r.several || r.Margin != nil {
		return nil
	}
	same, err := file.SameCheckpoint(man.Family, man.Source.SHA256)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Golden, err)
	}
	if same {
		return nil
	}
	note := fmt.Sprintf("the golden set is of another checkpoint file: %s with sha256 %.16s, the artifact's has %.16s", or(file.Checkpoint, "one"), file.SHA256, man.Source.SHA256)
	v.r.Notes = append(v.r.Notes, note)
	if r.Note != nil {
		r.Note("note: " + r.Golden + ": " + note)
	}
	return nil
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// SameCheckpoint reports whether golden results are of a checkpoint file, by its SHA-256; those that do not say are. Results of another model family
// are an ErrMismatch: the same weights can stand in another file, another family's cannot.
func (f *File) SameCheckpoint(family, sha256 string) (bool, error) {
	if f.SHA256 == "" || f.SHA256 == sha256 {
		return true, nil
	}
	if f.Family != "" && f.Family != family {
		return false, mismatch(fmt.Sprintf("the golden set is of a %s, the model is a %s", f.Family, family))
	}
	return false, nil
}

// open starts or resumes the file of items.
func (r Request) open(v *verification, dirs []string) error {
	if r.Items == "" {
		return nil
	}
	run, err := r.runOf(v)
	if err != nil {
		return err
	}
	text, err := shards.Text(run, v.s.shard)
	if err != nil {
		return err
	}
	v.s.rows, err = openRows(r.Items, r.Resume, len(dirs), string(text))
	return err
}

// runOf names everything that scores depend on.
func (r Request) runOf(v *verification) (map[string]any, error) {
	ev := v.r.Evidence
	run := map[string]any{"artifact": ev.Artifact.SHA256, "engine": r.Engine, "modes": v.s.Modes, "closed_loop": r.Closed,
		"stability": v.s.Stability, "version": ev.Tool}
	if r.Engine != engine.Embedded { // which gives the same bits on every processor, and is of the tool's version
		run["engine_version"] = ev.EngineVersion
	}
	if ev.First != nil {
		run["artifact_a"] = ev.First.SHA256
	}
	if ev.Golden != nil {
		run["golden"] = ev.Golden.SHA256
	} else if layout, sum, err := dataset.Fingerprint(v.data); err != nil {
		return nil, err
	} else {
		run["layout"], run["data"] = layout, sum
	}
	return run, nil
}
