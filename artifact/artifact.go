// Package artifact is the folder that a build publishes: its manifest, its files, and their hashes.
package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/output"
	"syncsam-convert/internal/plain"
	"syncsam-convert/internal/version"
	"syncsam-convert/ir"
)

// ManifestName is the manifest's file name in the artifact folder.
const ManifestName = "manifest.json"

// Manifest describes an artifact. Two builds of the same input with the same flags write the same bytes.
type Manifest struct {
	Tool    version.Tool `json:"tool"` // the program that built it
	ir.Meta              // family, config, preprocess, postprocess
	Client  string       `json:"client,omitempty"` // whose graphs' inputs and outputs these are; "": the program's own
	Target  string       `json:"target"`
	// Precision is fp32, fp16 or int8.
	Precision    string          `json:"precision"`
	Opset        int64           `json:"opset"`
	Source       Source          `json:"source"`
	Build        *Build          `json:"build,omitempty"`
	Files        []File          `json:"files"`
	Passes       []Pass          `json:"passes"`
	Quantization *Quantization   `json:"quantization,omitempty"` // of int8
	Float16      *Float16        `json:"float16,omitempty"`      // of fp16, and of int8 for TensorRT
	Criterion    *Criterion      `json:"criterion,omitempty"`    // by which it was accepted, and is judged again
	Front        json.RawMessage `json:"front,omitempty"`        // what a search for the fastest precision measured
	Verification json.RawMessage `json:"verification,omitempty"`
	Interface    *Interface      `json:"interface,omitempty"` // how the graphs are called
	// Values are identities of values by file and name: what is the same value in two artifacts of one checkpoint has the same.
	Values map[string]map[string]string `json:"values,omitempty"`
}

// A Criterion is when golden results count as met: the summaries may be lower by so many DSC points. Judge is "" where that is said of the
// measured means, "equivalence" where it must be shown by the paired comparison (package golden/stats) with that margin.
type Criterion struct {
	MaxDrop float64 `json:"max_dsc_drop_points"`
	Judge   string  `json:"judge,omitempty"`
}

// Float16 says what computes in half precision, and what was kept from it.
type Float16 struct {
	Values   int       `json:"values"`   // results in float16
	Recorded bool      `json:"recorded"` // the float model's amplitudes on the calibration data decided what float16 holds
	Audited  bool      `json:"audited"`  // this model was run on calibration pictures: nothing was NaN or infinite
	Float32  []Float32 `json:"kept_float32"`
}

// Float32 is a value that stays in float32 beside those that stand between integers.
type Float32 struct {
	Graph  string  `json:"graph"`
	Value  string  `json:"value"`
	Rule   string  `json:"rule"`
	Reason string  `json:"reason"`
	Peak   float32 `json:"peak"` // largest amplitude on the calibration data; 0: none recorded
}

// Source identifies the checkpoint.
type Source struct {
	SHA256     string `json:"sha256"`
	Format     string `json:"format"`
	Weights    string `json:"weights,omitempty"` // key or prefix that the state dict lies under in the file
	Tensors    int    `json:"tensors"`
	Parameters int64  `json:"parameters"`       // floating-point elements, tied tensors once
	Merged     []File `json:"merged,omitempty"` // the LoRA file that was merged into it, and its configuration
}

// Build is what shaped an artifact beside its checkpoint. Hashes are SHA-256.
type Build struct {
	Flags         map[string]string `json:"flags"`                        // settings that are no paths
	Engine        string            `json:"engine,omitempty"`             // that calibrated and verified, where anything was run
	EngineVersion string            `json:"engine_version,omitempty"`     // the library's, or the program's of the embedded one
	Calibration   string            `json:"calibration_sha256,omitempty"` // of the sorted lines "HASH  NAME" of its files
	Plan          string            `json:"plan_sha256,omitempty"`        // of the quantization plan that was replayed
	Golden        string            `json:"golden_sha256,omitempty"`      // of golden.json
}

// File is one file of the artifact.
type File struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// Pass is what one compiler pass did.
type Pass struct {
	Name    string `json:"name"`
	Changed int    `json:"changed"`
}

// Quantization says what of the branch runs in INT8.
type Quantization struct {
	Method         string      `json:"method"`
	Images         int64       `json:"images"`
	Rounding       string      `json:"rounding"` // of convolutions' weights: nearest or adaptive
	QuantizedNodes []string    `json:"quantized_nodes"`
	KeptFloat      []KeptFloat `json:"kept_float"`
	Int8Share      float64     `json:"int8_multiply_add_share"` // of the branch's convolutions
}

// KeptFloat is a convolution that stays in float, and why.
type KeptFloat struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

// Hash gives a file's SHA-256 in hexadecimal and its size; memory holds a small buffer of it.
func Hash(path string) (sum string, size int64, err error) {
	f, err := mapfile.Reader(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
		return "", 0, fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// Describe lists a file of the artifact by its name.
func Describe(dir, name string) (File, error) {
	sum, size, err := Hash(filepath.Join(dir, name))
	return File{name, sum, size}, err
}

// Encoder is the file of the graph that reads the image: encoder.onnx, or model.onnx where one graph does everything.
func (m *Manifest) Encoder() string {
	if slices.ContainsFunc(m.Files, func(f File) bool { return f.Name == OneGraph }) {
		return OneGraph
	}
	return "encoder.onnx"
}

// Graphs are the files that a segmentation runs: the encoder and the decoder, or the one that does everything.
func (m *Manifest) Graphs() []string {
	if m.Encoder() == OneGraph {
		return []string{OneGraph}
	}
	return []string{m.Encoder(), "decoder.onnx"}
}

// Texts are the files that a text prompt runs: the encoder of the text, and the decoder that takes what it gives. None of a model without.
func (m *Manifest) Texts() []string {
	names := []string{"text_encoder.onnx", "decoder_text.onnx"}
	for _, name := range names {
		if !slices.ContainsFunc(m.Files, func(f File) bool { return f.Name == name }) {
			return nil
		}
	}
	return names
}

// OneGraph is the file of a model that is not split into encoder and decoder.
const OneGraph = "model.onnx"

// Write puts the manifest into the folder.
func (m *Manifest) Write(dir string) error {
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	return output.Part(filepath.Join(dir, ManifestName), func(w io.Writer) error {
		return plain.Filter(w, func(w io.Writer) error {
			_, err := w.Write(append(text, '\n'))
			return err
		})
	})
}

// Read reads a folder's manifest. Errors name the file and the field.
func Read(dir string) (*Manifest, error) {
	path := filepath.Join(dir, ManifestName)
	text, err := mapfile.ReadAll(path, maxManifest)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: not an artifact: it has no %s", dir, ManifestName)
	}
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if m.Family == "" || len(m.Files) == 0 {
		return nil, fmt.Errorf("%s: family or files: missing", path)
	}
	if err := m.checkFiles(); err != nil {
		return nil, fmt.Errorf("%s: files: %w", path, err)
	}
	if m.Preprocess.Size <= 0 {
		return nil, fmt.Errorf("%s: preprocess.size: have %d, want a positive number", path, m.Preprocess.Size)
	}
	for i, s := range m.Preprocess.Std {
		if s == 0 {
			return nil, fmt.Errorf("%s: preprocess.std: element %d is 0", path, i)
		}
	}
	return m, nil
}
