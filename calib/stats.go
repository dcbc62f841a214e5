package calib

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"syncsam-convert/internal/guard"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
	"syncsam-convert/shards"
)

// meanUnit is the resolution of channel means. They are summed as integers, so that merging is exact in any order.
const meanUnit = 1.0 / (1 << 24)

// A Series is the statistics of one value.
type Series struct {
	Histogram
	MeanSum  []int64   // per channel (axis 1): means over batch and space, in meanUnit, summed over images
	Channels []float32 // per channel: largest amplitude
}

// Stats are the statistics of a model's values over images.
type Stats struct {
	Last map[string]bool // keys whose channels are their last axis; others have them on axis 1 of NCHW

	Source string // sha256 of the checkpoint
	Images int64
	Run    map[string]any // everything that they depend on, by name; nil of files that do not say
	Shard  shards.Shard   // the part of the run's images
	Values map[string]*Series
	Peaks  map[string]float32 // largest amplitude by key, of every floating-point value that was watched for float16's range
}

// NewStats is empty.
func NewStats(source string) *Stats {
	return &Stats{Source: source, Values: map[string]*Series{}, Peaks: map[string]float32{}}
}

// Collect adds images: run gives every observed value of one image by key. While one image is counted the next one runs; run is
// never called twice at once, and no longer when Collect has returned.
func (s *Stats) Collect(ctx context.Context, n int, run func(i int) (map[string]*tensor.Tensor, error), seen func()) error {
	type shot struct {
		values map[string]*tensor.Tensor
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	shots := make(chan shot)
	defer func() {
		cancel()
		for range shots { // until the producer has ended
		}
	}()
	go func() {
		defer close(shots)
		for i := range n {
			var values map[string]*tensor.Tensor
			err := guard.Do(func() (err error) { values, err = run(i); return err })
			select {
			case shots <- shot{values, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for range n {
		next, ok := <-shots
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !ok:
			return fmt.Errorf("internal error: the images ended early")
		case next.err != nil:
			return next.err
		}
		if err := s.add(next.values); err != nil {
			return err
		}
		if seen != nil {
			seen()
		}
	}
	return nil
}

func (s *Stats) add(values map[string]*tensor.Tensor) error {
	keys := slices.Sorted(maps.Keys(values))
	errs := make([]error, len(keys))
	var wg guard.Group
	for i, key := range keys {
		if s.Values[key] == nil {
			s.Values[key] = &Series{}
		}
		series := s.Values[key]
		axis := 1
		if s.Last[key] {
			axis = len(values[key].Dims()) - 1
		}
		wg.Go(func() { errs[i] = series.add(values[key], axis) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("value %q: %w", keys[i], err)
		}
	}
	s.Images++
	return nil
}

func (s *Series) add(t *tensor.Tensor, axis int) error {
	x, dims := t.Float32s(), t.Dims()
	if err := s.Add(x); err != nil {
		return err
	}
	if axis == 1 && len(dims) != 4 || axis < 1 {
		return nil
	}
	outer, channels, plane := 1, int(dims[axis]), 1
	for i, d := range dims {
		if i < axis {
			outer *= int(d)
		} else if i > axis {
			plane *= int(d)
		}
	}
	if s.MeanSum == nil {
		s.MeanSum, s.Channels = make([]int64, channels), make([]float32, channels)
	}
	if len(s.MeanSum) != channels {
		return fmt.Errorf("have %d channels, want %d", channels, len(s.MeanSum))
	}
	sums := make([]float64, channels)
	for n := range outer {
		for c := range channels {
			low, high := float32(0), s.Channels[c]
			for _, v := range x[(n*channels+c)*plane:][:plane] {
				sums[c] += float64(v)
				low, high = min(low, v), max(high, v)
			}
			s.Channels[c] = max(high, -low)
		}
	}
	for c, sum := range sums {
		s.MeanSum[c] += int64(math.Round(sum / float64(outer*plane) / meanUnit))
	}
	return nil
}

// Merge adds the statistics of other images of the same checkpoint.
func (s *Stats) Merge(o *Stats) error {
	if s.Source != o.Source {
		return fmt.Errorf("statistics of checkpoint %.12s cannot be merged with those of %.12s", o.Source, s.Source)
	}
	for key, other := range o.Values {
		mine := s.Values[key]
		if mine == nil {
			mine = &Series{MeanSum: make([]int64, len(other.MeanSum)), Channels: make([]float32, len(other.Channels))}
			s.Values[key] = mine
		}
		if len(mine.MeanSum) != len(other.MeanSum) {
			return fmt.Errorf("value %q: have %d channels, want %d", key, len(other.MeanSum), len(mine.MeanSum))
		}
		mine.Histogram.Merge(&other.Histogram)
		for i, m := range other.MeanSum {
			mine.MeanSum[i] += m
			mine.Channels[i] = max(mine.Channels[i], other.Channels[i])
		}
	}
	for key, p := range o.Peaks {
		s.Peaks[key] = max(s.Peaks[key], p)
	}
	s.Images += o.Images
	return nil
}

// Plan chooses a range for every value. Values that are 0 on all images get the range 1 and that reason: their channel is dead.
func (s *Stats) Plan(method string) (*quant.Plan, error) {
	p := &quant.Plan{Method: method, Images: s.Images, Values: map[string]quant.Range{}, Float: map[string]string{}}
	if len(s.Peaks) > 0 {
		p.Peaks = maps.Clone(s.Peaks)
	}
	for key, v := range s.Values {
		r := quant.Range{NonNegative: !v.Negative, Reason: method, Max: 1}
		if v.Max == 0 {
			r.Reason = "0 on all images"
		} else {
			var err error
			if r.Max, err = Amplitude(method, &v.Histogram); err != nil {
				return nil, fmt.Errorf("value %q: %w", key, err)
			}
		}
		for _, m := range v.MeanSum {
			r.Mean = append(r.Mean, float32(float64(m)*meanUnit/float64(s.Images)))
		}
		r.Channels = slices.Clone(v.Channels)
		p.Values[key] = r
	}
	return p, nil
}

const statsFormat = "syncsam-convert calibration 1"

// WriteFile writes the statistics, all or none.
func (s *Stats) WriteFile(path string) error {
	var all []safetensors.Named
	for _, key := range slices.Sorted(maps.Keys(s.Values)) {
		v := s.Values[key]
		negative := int64(0)
		if v.Negative {
			negative = 1
		}
		all = append(all,
			safetensors.Named{Name: key + "/counts", Tensor: tensor.FromInt64([]int64{Bins}, v.Counts)},
			safetensors.Named{Name: key + "/range", Tensor: tensor.FromInt64([]int64{3}, []int64{int64(v.Exp), int64(math.Float32bits(v.Max)), negative})},
			safetensors.Named{Name: key + "/means", Tensor: tensor.FromInt64([]int64{int64(len(v.MeanSum))}, v.MeanSum)},
			safetensors.Named{Name: key + "/channels", Tensor: tensor.FromFloat32([]int64{int64(len(v.Channels))}, v.Channels)})
	}
	for _, key := range slices.Sorted(maps.Keys(s.Peaks)) {
		all = append(all, safetensors.Named{Name: key + "/peak", Tensor: tensor.FromFloat32([]int64{1}, []float32{s.Peaks[key]})})
	}
	meta := map[string]string{"format": statsFormat, "source": s.Source, "images": strconv.FormatInt(s.Images, 10)}
	if s.Run != nil {
		text, err := shards.Text(s.Run, s.Shard)
		if err != nil {
			return err
		}
		meta["run"] = string(text)
	}
	return safetensors.WriteFile(path, all, meta)
}

// IsStatistics reports whether a file holds statistics, by its content.
func IsStatistics(path string) bool {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := safetensors.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return f.Metadata["format"] == statsFormat
}

// ReadFile reads statistics. Errors name the file and the value.
func ReadFile(path string) (*Stats, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	images, err := strconv.ParseInt(f.Metadata["images"], 10, 64)
	if f.Metadata["format"] != statsFormat || err != nil || images < 0 {
		return nil, fmt.Errorf("%s: not a calibration file", path)
	}
	s := NewStats(f.Metadata["source"])
	s.Images = images
	if text, ok := f.Metadata["run"]; ok {
		part, err := shards.Read(path, []byte(text))
		if err != nil {
			return nil, err
		}
		s.Shard, s.Run = part.Shard, map[string]any{}
		for name, value := range part.Run {
			s.Run[name] = value
		}
	}
	if images == 0 && (s.Shard.N == 0 || len(f.Tensors) > 0) {
		return nil, fmt.Errorf("%s: have statistics of no images", path)
	}
	for _, t := range f.Tensors {
		if key, ok := strings.CutSuffix(t.Name, "/peak"); ok {
			if t.Tensor.DType() != tensor.Float32 || t.Tensor.Len() != 1 || !isAmplitude(t.Tensor.Float32s()[0]) {
				return nil, fmt.Errorf("%s: value %q: its peak is no finite number of 0 or more", path, key)
			}
			s.Peaks[key] = t.Tensor.Float32s()[0]
		}
		key, ok := strings.CutSuffix(t.Name, "/counts")
		if !ok {
			continue
		}
		r, means, channels := f.Get(key+"/range"), f.Get(key+"/means"), f.Get(key+"/channels")
		if r == nil || means == nil || channels == nil || channels.DType() != tensor.Float32 || channels.Len() != means.Len() || r.DType() != tensor.Int64 || means.DType() != tensor.Int64 || t.Tensor.DType() != tensor.Int64 || r.Len() != 3 || t.Tensor.Len() != Bins {
			return nil, fmt.Errorf("%s: value %q: its statistics are incomplete", path, key)
		}
		v := r.Int64s()
		if v[0] < -60 || v[0] > 129 {
			return nil, fmt.Errorf("%s: value %q: exponent: have %d, want -60 to 129", path, key, v[0])
		}
		series := &Series{Histogram: Histogram{Exp: int(v[0]), Max: math.Float32frombits(uint32(v[1])), Negative: v[2] != 0,
			Counts: slices.Clone(t.Tensor.Int64s())}, MeanSum: slices.Clone(means.Int64s()), Channels: slices.Clone(channels.Float32s())}
		if err := series.check(); err != nil {
			return nil, fmt.Errorf("%s: value %q: %w", path, key, err)
		}
		s.Values[key] = series
	}
	return s, nil
}

func isAmplitude(x float32) bool { return x >= 0 && x <= math.MaxFloat32 }

// check refuses statistics that no values have.
func (s *Series) check() error {
	switch {
	case !isAmplitude(s.Max) || math.Ldexp(1, s.Exp) < float64(s.Max):
		return fmt.Errorf("largest amplitude: have %v, want a number from 0 to 2^%d", s.Max, s.Exp)
	case slices.ContainsFunc(s.Counts, func(n int64) bool { return n < 0 }):
		return fmt.Errorf("histogram: have a count below 0")
	}
	for i, c := range s.Channels {
		if !isAmplitude(c) || c > s.Max {
			return fmt.Errorf("channel %d: amplitude: have %v, want a number from 0 to %v", i, c, s.Max)
		}
	}
	return nil
}
