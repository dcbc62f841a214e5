package calib

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"syncsam-convert/shards"
)

// Merge puts the files of a run's shards together: the statistics of one run, whatever the sharding and the order of the files. A shard that is
// there twice counts once; shards of different runs and missing ones are errors that name them.
func Merge(paths []string) (*Stats, error) {
	s, missing, err := together(paths)
	if err == nil {
		err = shards.Missing(missing)
	}
	return s, err
}

// Union puts the files of several runs over different images together, each of which may be in shards. Missing shards are named.
func Union(paths []string, source string) (s *Stats, missing []string, err error) {
	s = NewStats(source)
	var runs [][]string
	at := map[string]int{}
	for _, path := range paths {
		one, err := ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		key := path // of a file that does not say which run it is of
		if one.Run != nil {
			text, err := shards.Text(one.Run, shards.Shard{})
			if err != nil {
				return nil, nil, err
			}
			key = string(text)
		}
		k, ok := at[key]
		if !ok {
			k = len(runs)
			at[key], runs = k, append(runs, nil)
		}
		runs[k] = append(runs[k], path)
	}
	for _, run := range runs {
		one, gone, err := together(run)
		if err != nil {
			return nil, nil, err
		}
		if err := s.Merge(one); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", run[0], err)
		}
		if err := shards.Missing(gone); err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", run[0], err))
		}
	}
	if s.Images == 0 {
		return nil, nil, fmt.Errorf("%s: have statistics of no images", paths[0])
	}
	return s, missing, nil
}

// together merges the files of one run, one after the other.
func together(paths []string) (all *Stats, missing []shards.Shard, err error) {
	var parts []shards.Part
	for _, path := range paths {
		s, err := ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		part := shards.Part{Path: path}
		if s.Run == nil && len(paths) > 1 {
			return nil, nil, fmt.Errorf("%s: it does not say which run it is of, so that it cannot be merged; build --calib takes several files, each once", path)
		} else if s.Run != nil {
			text, err := shards.Text(s.Run, s.Shard)
			if err == nil {
				part, err = shards.Read(path, text)
			}
			if err != nil {
				return nil, nil, err
			}
		}
		part.Sum = s.sum()
		before := len(parts)
		whole, gone, err := shards.Whole(append(parts, part))
		if err != nil {
			return nil, nil, err
		}
		missing = gone
		if parts = whole; len(parts) == before { // it was there
			continue
		}
		if all == nil {
			all = s
		} else if err := all.Merge(s); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	all.Shard = shards.Shard{}
	return all, missing, nil
}

// sum names what the statistics say.
func (s *Stats) sum() string {
	h := sha256.New()
	e := json.NewEncoder(h)
	_ = e.Encode(s.Images) // writes to a hash do not fail
	for _, key := range slices.Sorted(maps.Keys(s.Values)) {
		v := s.Values[key]
		_ = e.Encode([]any{key, v.Exp, v.Counts, math.Float32bits(v.Max), v.Negative, v.MeanSum, v.Channels})
	}
	for _, key := range slices.Sorted(maps.Keys(s.Peaks)) {
		_ = e.Encode([]any{key, math.Float32bits(s.Peaks[key])})
	}
	return hex.EncodeToString(h.Sum(nil))
}
