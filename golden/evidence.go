package golden

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"syncsam-convert/artifact"
	"syncsam-convert/dataset"
	"syncsam-convert/engine"
	"syncsam-convert/internal/version"
	"syncsam-convert/pictures"
)

// Evidence names everything that a verification rests on. It is not part of what a manifest keeps: it differs from one run to the next.
type Evidence struct {
	Tool          version.Tool `json:"tool"`
	Artifact      *Hashed      `json:"artifact"`             // that is judged
	First         *Hashed      `json:"artifact_a,omitempty"` // that it is compared with
	Golden        *Hashed      `json:"golden,omitempty"`
	Data          *DataHash    `json:"data,omitempty"`
	EngineVersion string       `json:"engine_version"`
	Host          Host         `json:"host"`
	Started       time.Time    `json:"started"`
	Finished      time.Time    `json:"finished"`
	Seconds       float64      `json:"seconds"`
	Built         *Built       `json:"build"` // of the artifact that is judged
}

// Built is what an artifact's manifest says of how it was made.
type Built struct {
	Tool         version.Tool           `json:"tool"`
	Target       string                 `json:"target"`
	Opset        int64                  `json:"opset"`
	Passes       []artifact.Pass        `json:"passes"`
	Quantization *artifact.Quantization `json:"quantization,omitempty"`
	Float16      *artifact.Float16      `json:"float16,omitempty"`
	Criterion    *artifact.Criterion    `json:"criterion,omitempty"`
	// Front is the manifest's, as it stands there: what a search for the fastest precision measured.
	Front json.RawMessage `json:"front,omitempty"`
}

func built(man *artifact.Manifest) *Built {
	return &Built{Tool: man.Tool, Target: man.Target, Opset: man.Opset, Passes: man.Passes, Quantization: man.Quantization, Float16: man.Float16, Criterion: man.Criterion, Front: man.Front}
}

// Layers is what quantization changes in the values of the encoder, on one picture.
type Layers struct {
	A     string  `json:"a"` // that it is held against: an artifact or a checkpoint
	Image string  `json:"image"`
	List  []Layer `json:"list"` // outputs first, then the worst first
}

// A Layer is a value of the float model beside the one that stands for it: signal-to-noise in dB.
type Layer struct {
	Name       string   `json:"name"`
	Output     bool     `json:"output"`
	Cumulative float64  `json:"cumulative_db"`      // against the float model's
	Local      *float64 `json:"local_db,omitempty"` // of quantizing it, alone
	Relative   float64  `json:"max_abs_over_std"`   // largest difference in standard deviations
	Alone      string   `json:"alone,omitempty"`    // why it has no partner, and no figures
}

// Hashed is a folder and the SHA-256 of the file that describes it: manifest.json, which holds the hashes of an artifact's files, or golden.json.
type Hashed struct {
	Path      string            `json:"path"`
	SHA256    string            `json:"sha256"`
	Family    string            `json:"family,omitempty"`
	Precision string            `json:"precision,omitempty"`
	Source    string            `json:"source_sha256,omitempty"` // of the checkpoint
	Files     map[string]string `json:"files,omitempty"`
}

// DataHash names the data that was read. SHA256 is that of two lines "HASH  NAME" for each item in the order of the data set, its image's and its
// mask's: the hash of the file that a name means, and the name.
type DataHash struct {
	Path   string    `json:"path"`
	Layout string    `json:"layout,omitempty"`
	Items  int       `json:"items"`
	SHA256 string    `json:"sha256"`
	Oldest time.Time `json:"oldest"` // modification time of its files
	Newest time.Time `json:"newest"`
}

// Host is the machine of a verification.
type Host struct {
	Name string `json:"name"`
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	CPU  string `json:"cpu_instructions"` // that the embedded engine uses
}

func here() Host {
	name, err := os.Hostname()
	if err != nil {
		name = ""
	}
	cpu, err := engine.CPU()
	if err != nil {
		cpu = ""
	}
	return Host{name, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cpu}
}

// describe names an artifact.
func describe(dir string, man *artifact.Manifest) (*Hashed, error) {
	sum, _, err := artifact.Hash(filepath.Join(dir, artifact.ManifestName))
	h := &Hashed{Path: dir, SHA256: sum, Family: man.Family, Precision: man.Precision, Source: man.Source.SHA256, Files: map[string]string{}}
	for _, f := range man.Files {
		h.Files[f.Name] = f.SHA256
	}
	return h, err
}

// A digest hashes what is read, in the order of the items. Files are hashed by those who read them; a nil digest does nothing.
type digest struct {
	sync.Mutex
	volumes        map[string]*volumeHash // of many slices each: hashed once
	sum            hash.Hash
	items          int
	oldest, newest time.Time
}

type volumeHash struct {
	once sync.Once
	sum  string
	err  error
}

func newDigest() *digest { return &digest{volumes: map[string]*volumeHash{}, sum: sha256.New()} }

// look hashes the file that a name of the data set means.
func (d *digest) look(data, name string) (Seen, error) {
	if d == nil {
		return Seen{}, nil
	}
	file, info, err := fileOf(data, name)
	if err != nil {
		return Seen{}, err
	}
	s := Seen{}
	if !info.IsDir() {
		s.Size, s.Time = info.Size(), info.ModTime().UTC()
	}
	s.SHA256, err = d.sumOf(file)
	return s, err
}

// same refuses a file that is not as it was seen. One of the same size and time is not read again.
func (d *digest) same(data, name string, was Seen) error {
	if d == nil {
		return nil
	}
	file, info, err := fileOf(data, name)
	if err != nil {
		return err
	}
	if !info.IsDir() && info.Size() == was.Size && info.ModTime().Equal(was.Time) {
		d.saw(was.Time)
		return nil
	}
	sum, err := d.sumOf(file)
	if err == nil && sum != was.SHA256 {
		err = fmt.Errorf("%s: it has changed since it was measured: have sha256 %.16s, want %.16s", file, sum, was.SHA256)
	}
	return err
}

// fileOf is the file or folder that a name of the data set means.
func fileOf(data, name string) (string, fs.FileInfo, error) {
	full, err := dataset.Path(data, name)
	if err != nil {
		return "", nil, err
	}
	file, _, err := pictures.SplitName(full)
	if err != nil {
		return "", nil, err
	}
	info, err := os.Stat(file)
	return file, info, err
}

// sumOf is a file's hash; a volume's, of many slices, is made once.
func (d *digest) sumOf(file string) (string, error) {
	if !pictures.IsVolume(file) {
		return d.hash(file)
	}
	d.Lock()
	v := d.volumes[file]
	if v == nil {
		v = &volumeHash{}
		d.volumes[file] = v
	}
	d.Unlock()
	v.once.Do(func() { v.sum, v.err = d.hash(file) })
	return v.sum, v.err
}

// hash is a file's, or a series'.
func (d *digest) hash(file string) (string, error) {
	return artifact.HashTree(file, func(info fs.FileInfo) { d.saw(info.ModTime().UTC()) })
}

func (d *digest) saw(at time.Time) {
	d.Lock()
	defer d.Unlock()
	if d.oldest.IsZero() || at.Before(d.oldest) {
		d.oldest = at
	}
	if at.After(d.newest) {
		d.newest = at
	}
}

// take adds an item's lines: "HASH  NAME" of its image and its mask.
func (d *digest) take(o *outcome) {
	if d != nil {
		d.items++
		fmt.Fprintf(d.sum, "%s  %s\n%s  %s\n", o.files[0].SHA256, o.image, o.files[1].SHA256, o.mask)
	}
}

// result is what was read from a folder, nil where nothing was.
func (d *digest) result(path, layout string) *DataHash {
	if d == nil {
		return nil
	}
	return &DataHash{path, layout, d.items, hex.EncodeToString(d.sum.Sum(nil)), d.oldest, d.newest}
}
