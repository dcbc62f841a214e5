// Package provenance says of an artifact, from its manifest alone, how it was built, how it was verified, and what it is made of, in the formats that
// tools of the supply chain read: in-toto statements and a CycloneDX bill of materials. The same manifest gives the same bytes.
package provenance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"syncsam-convert/artifact"
)

// The media types and the predicates of statements.
const (
	StatementType = "application/vnd.in-toto+json"
	BOMType       = "application/vnd.cyclonedx+json"
	BuildType     = "https://slsa.dev/provenance/v1"
	ResultType    = "https://in-toto.io/attestation/test-result/v0.1"
	statement     = "https://in-toto.io/Statement/v1"
)

// ErrUnverified says that an artifact was not verified when it was built.
var ErrUnverified = errors.New("it was not verified when it was built (build --golden)")

// A Subject is what a statement is about.
type Subject struct{ Name, SHA256 string }

type resource struct {
	Name        string            `json:"name,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

func hashed(name, sum string) resource {
	return resource{Name: name, Digest: map[string]string{"sha256": sum}}
}

type inToto struct {
	Type      string     `json:"_type"`
	Subject   []resource `json:"subject"`
	Kind      string     `json:"predicateType"`
	Predicate any        `json:"predicate"`
}

func state(s Subject, kind string, predicate any) ([]byte, error) {
	return json.Marshal(inToto{statement, []resource{hashed(s.Name, s.SHA256)}, kind, predicate})
}

// Build is a statement of SLSA provenance, version 1: checkpoint, settings, calibration data, quantization plan, tool and commit, engine.
func Build(s Subject, m *artifact.Manifest) ([]byte, error) {
	type definition struct {
		Type       string         `json:"buildType"`
		Parameters map[string]any `json:"externalParameters"`
		Internal   map[string]any `json:"internalParameters"`
		Read       []resource     `json:"resolvedDependencies"`
	}
	type builder struct {
		ID      string            `json:"id"`
		Version map[string]string `json:"version"`
	}
	type details struct {
		Builder builder `json:"builder"`
	}
	d := definition{"urn:syncsam-convert:build:v1", map[string]any{"flags": map[string]string{"target": m.Target, "precision": m.Precision, "opset": fmt.Sprint(m.Opset)}}, map[string]any{"passes": m.Passes, "precision": m.Precision}, []resource{hashed("checkpoint", m.Source.SHA256)}}
	if m.Quantization != nil {
		d.Internal["quantization"] = m.Quantization
	}
	b := builder{"urn:syncsam-convert", map[string]string{"syncsam-convert": m.Tool.Version, "commit": m.Tool.Commit}}
	if m.Build != nil {
		d.Parameters["flags"] = m.Build.Flags
		for _, r := range []resource{hashed("calibration", m.Build.Calibration), hashed("quantization plan", m.Build.Plan), hashed("golden.json", m.Build.Golden)} {
			if r.Digest["sha256"] != "" {
				d.Read = append(d.Read, r)
			}
		}
		if m.Build.Engine != "" {
			b.Version["engine "+m.Build.Engine] = m.Build.EngineVersion
		}
	}
	return state(s, BuildType, struct {
		Definition definition `json:"buildDefinition"`
		Details    details    `json:"runDetails"`
	}{d, details{b}})
}

// verification is what a manifest keeps of a golden report.
type verification struct {
	Engine  string `json:"engine"`
	Judged  string `json:"judged_by"`
	Pass    bool   `json:"pass"`
	Summary map[string]struct {
		Items  int      `json:"items"`
		Want   *float64 `json:"want"`
		Have   float64  `json:"have"`
		Points *float64 `json:"delta_points"`
		IoU    *float64 `json:"iou"`
		HD95   *float64 `json:"hd95"`
		NSD    *float64 `json:"nsd"`
		Pass   bool     `json:"pass"`
	} `json:"summary"`
}

func read(m *artifact.Manifest) (*verification, error) {
	if len(m.Verification) == 0 {
		return nil, ErrUnverified
	}
	var v verification
	if err := json.Unmarshal(m.Verification, &v); err != nil {
		return nil, fmt.Errorf("verification: %w", err)
	}
	return &v, nil
}

// Result is a statement of a test result, version 0.1: the golden set, and which prompt modes passed with which figures. An artifact that was not verified
// is an ErrUnverified.
func Result(s Subject, m *artifact.Manifest) ([]byte, error) {
	v, err := read(m)
	if err != nil {
		return nil, err
	}
	figures := hashed("checkpoint", m.Source.SHA256)
	figures.Annotations = map[string]any{"engine": v.Engine, "judged_by": v.Judged, "summary": v.Summary}
	predicate := struct {
		Result        string     `json:"result"`
		Configuration []resource `json:"configuration"`
		Passed        []string   `json:"passedTests"`
		Failed        []string   `json:"failedTests"`
	}{"PASSED", []resource{figures}, []string{}, []string{}}
	if m.Build != nil && m.Build.Golden != "" {
		predicate.Configuration = append(predicate.Configuration, hashed("golden.json", m.Build.Golden))
	}
	for _, mode := range slices.Sorted(maps.Keys(v.Summary)) {
		if v.Summary[mode].Pass {
			predicate.Passed = append(predicate.Passed, mode)
		} else {
			predicate.Failed = append(predicate.Failed, mode)
		}
	}
	if !v.Pass {
		predicate.Result = "FAILED"
	}
	return state(s, ResultType, predicate)
}

// BOM is a CycloneDX bill of materials whose main component is the model, with the figures of its verification as its card's metrics, and the files of
// the artifact below it.
func BOM(s Subject, m *artifact.Manifest) ([]byte, error) {
	bom := cdx.NewBOM()
	card := &cdx.MLModelCard{ModelParameters: &cdx.MLModelParameters{Task: "image-segmentation", ArchitectureFamily: m.Family, ModelArchitecture: m.Family,
		Inputs: &[]cdx.MLInputOutputParameters{{Format: "image"}, {Format: "prompt"}}, Outputs: &[]cdx.MLInputOutputParameters{{Format: "mask"}}}}
	v, err := read(m)
	if err != nil && !errors.Is(err, ErrUnverified) {
		return nil, err
	}
	if v != nil {
		var metrics []cdx.MLPerformanceMetric
		for _, mode := range slices.Sorted(maps.Keys(v.Summary)) {
			f := v.Summary[mode]
			metrics = append(metrics, cdx.MLPerformanceMetric{Type: "Dice similarity coefficient", Value: fmt.Sprintf("%.6f", f.Have), Slice: mode})
			for _, more := range []struct {
				name  string
				value *float64
			}{{"intersection over union", f.IoU}, {"95th percentile of the Hausdorff distance (pixels)", f.HD95}, {"normalised surface Dice", f.NSD}, {"Dice similarity coefficient of the reference", f.Want}} {
				if more.value != nil { // what was not measured has no figure
					metrics = append(metrics, cdx.MLPerformanceMetric{Type: more.name, Value: fmt.Sprintf("%.6f", *more.value), Slice: mode})
				}
			}
		}
		card.QuantitativeAnalysis = &cdx.MLQuantitativeAnalysis{PerformanceMetrics: &metrics}
	}
	model := &cdx.Component{BOMRef: "model", Type: cdx.ComponentTypeMachineLearningModel, Name: m.Family, Version: s.SHA256, ModelCard: card,
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: s.SHA256}},
		Properties: &[]cdx.Property{{Name: "syncsam-convert:precision", Value: m.Precision}, {Name: "syncsam-convert:checkpoint_sha256", Value: m.Source.SHA256}}}
	bom.Metadata = &cdx.Metadata{Component: model, Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "syncsam-convert", Version: m.Tool.Version}}}}
	files := []cdx.Component{}
	for _, f := range m.Files {
		files = append(files, cdx.Component{BOMRef: "file:" + f.Name, Type: cdx.ComponentTypeFile, Name: f.Name, Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: f.SHA256}}})
	}
	bom.Components = &files
	var text bytes.Buffer
	if err := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(text.Bytes()), nil
}
