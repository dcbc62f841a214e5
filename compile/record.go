package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/artifact"
	"syncsam-convert/calib"
	"syncsam-convert/engine"
	"syncsam-convert/golden"
	"syncsam-convert/internal/version"
	"syncsam-convert/pictures"
)

// record is what shaped the artifact beside the checkpoint: settings by their flags, without paths, and the hashes of what was read.
func (o Options) record() (*artifact.Build, error) {
	b := &artifact.Build{Flags: map[string]string{}, Engine: o.Engine}
	for _, s := range []struct {
		flag, value string
		taken       bool
	}{
		{"target", o.Target, true}, {"precision", o.asked(), true}, {"opset", fmt.Sprint(o.Opset), true},
		{"external-data", "true", o.ExternalData}, {"decoder-postprocess", "true", o.Postprocess}, {"allow-nonfinite", "true", o.AllowNonFinite},
		{"family", o.Model.Family, o.Model.Family != ""}, {"weights", o.Model.Weights, o.Model.Weights != ""}, {"image-size", fmt.Sprint(o.Model.ImageSize), o.Model.ImageSize != 0},
		{"client", o.Client, o.Client != ""}, {"one-mask", o.OneMask, o.OneMask != ""}, {"image-input", o.ImageInput, o.ImageInput != ""},
		{"profile", o.Profile, o.Profile != ""}, {"calib-method", o.Method, o.Calibration != ""}, {"rounding", o.Rounding, o.Precision == INT8}, {"quantize", o.Quantize, o.Quantize != ""},
		{"keep-float", strings.Join(o.KeepFloat, " "), len(o.KeepFloat) > 0}, {"debug", strings.Join(o.Debug.Settings, " "), len(o.Debug.Settings) > 0},
		{"stop-after", fmt.Sprint(o.Debug.StopAfter), o.Debug.StopAfter > 0}, {"judge", o.Judge, o.Judge != ""}, {"fallback-budget", o.Budget.String(), o.Budget > 0},
	} {
		if s.taken {
			b.Flags[s.flag] = s.value
		}
	}
	if o.MaxDrop != nil {
		b.Flags["max-dsc-drop"] = fmt.Sprint(*o.MaxDrop)
	}
	var err error
	switch {
	case !o.pictures() && o.Golden == "": // nothing was run
		b.Engine = ""
	case o.Engine == engine.Embedded: // which has the same results with all instructions
		b.EngineVersion = version.Version
	default:
		if b.EngineVersion, err = engine.Version(o.Engine, o.Runtime); err != nil {
			return nil, err
		}
	}
	if o.Plan != "" {
		if b.Plan, _, err = artifact.Hash(o.Plan); err != nil {
			return nil, err
		}
	}
	if o.Golden != "" {
		if b.Golden, _, err = artifact.Hash(filepath.Join(o.Golden, golden.FileName)); err != nil {
			return nil, err
		}
	}
	if o.Calibration != "" {
		b.Calibration, err = o.calibrationHash()
	}
	return b, err
}

// asked is the precision as the options ask for it.
func (o Options) asked() string {
	if o.search {
		return Auto
	}
	return o.Precision
}

// calibrationHash is the hash of the sorted lines "HASH  NAME" of the calibration data: files of statistics, or pictures, each with the hash of its file and
// its name in its folder.
func (o Options) calibrationHash() (string, error) {
	names := strings.Split(o.Calibration, ",")
	if !o.statistics() {
		var err error
		if names, err = calib.Images(o.Calibration); err != nil {
			return "", err
		}
	}
	sums, lines := map[string]string{}, []string{}
	for _, name := range names {
		file := name
		if !o.statistics() {
			var err error
			if file, _, err = pictures.SplitName(name); err != nil {
				return "", err
			}
		}
		if _, done := sums[file]; !done {
			sum, err := artifact.HashTree(file, nil)
			if err != nil {
				return "", err
			}
			sums[file] = sum
		}
		lines = append(lines, sums[file]+"  "+filepath.Base(name)+"\n")
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:]), nil
}
