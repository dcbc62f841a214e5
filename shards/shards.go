// Package shards says which part of a run's work is whose, and whether parts are a whole run together.
package shards

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Shard is part I of N (I from 1) of a run. The zero Shard is all of it.
type Shard struct{ I, N int }

// most is how many shards a run may have.
const most = 1_000_000

// Parse reads "i/n"; "" is the zero Shard.
func Parse(text string) (Shard, error) {
	if text == "" {
		return Shard{}, nil
	}
	first, last, _ := strings.Cut(text, "/")
	i, err1 := strconv.Atoi(first)
	n, err2 := strconv.Atoi(last)
	if err1 != nil || err2 != nil || n < 1 || i < 1 || i > n || n > most || text != (Shard{i, n}).String() {
		return Shard{}, fmt.Errorf("have %.40q, want i/n with 1 <= i <= n", text)
	}
	return Shard{i, n}, nil
}

// String is "i/n", "" of the zero Shard.
func (s Shard) String() string {
	if s.N == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.I, s.N)
}

// Takes reports whether piece k of the work (from 0) is in the shard: every n-th is.
func (s Shard) Takes(k int) bool { return s.N == 0 || k%s.N == s.I-1 }

// A Part is a file that holds a shard's results.
type Part struct {
	Path  string
	Run   map[string]json.RawMessage // everything that the results depend on, by name
	Shard Shard
	Sum   string // of the results: the same work gives the same
}

// key is the name under which a run tells its shard.
const key = "shard"

// Read takes what a file says of its run: a JSON object, with the shard beside what the results depend on.
func Read(path string, text []byte) (Part, error) {
	p := Part{Path: path}
	if err := json.Unmarshal(text, &p.Run); err != nil || p.Run == nil {
		return p, fmt.Errorf("%s: have %.100q, want an object that names the run", path, text)
	}
	var shard string
	if mine, ok := p.Run[key]; ok {
		if err := json.Unmarshal(mine, &shard); err != nil {
			return p, fmt.Errorf("%s: shard: %w", path, err)
		}
		delete(p.Run, key)
	}
	var err error
	if p.Shard, err = Parse(shard); err != nil {
		return p, fmt.Errorf("%s: shard: %w", path, err)
	}
	return p, nil
}

// Text names a run and a shard of it, as Read takes it: the same text for the same run.
func Text(run map[string]any, s Shard) ([]byte, error) {
	if s.N > 0 {
		run = maps.Clone(run)
		run[key] = s.String()
	}
	return json.Marshal(run)
}

// Text names the whole run that a part is of.
func (p *Part) Text() ([]byte, error) { return json.Marshal(p.Run) }

// Whole gives the parts that make a run together, each once, in the order of their shards. Parts of different runs, shards that count
// differently and a shard that is there twice with different results are errors; missing ones are in missing.
func Whole(parts []Part) (whole []Part, missing []Shard, err error) {
	if len(parts) == 0 {
		return nil, nil, fmt.Errorf("there is nothing to merge")
	}
	first, have := parts[0], map[Shard]Part{}
	for _, p := range parts {
		if err := p.sameRun(first); err != nil {
			return nil, nil, err
		}
		switch other, twice := have[p.Shard]; {
		case p.Shard.N != first.Shard.N:
			return nil, nil, fmt.Errorf("%s: have %s, want %s as %s has", p.Path, p.Shard.words(), first.Shard.of(), first.Path)
		case twice && other.Sum != p.Sum:
			return nil, nil, fmt.Errorf("%s: it has other results than %s for the same work (%s): one of them was changed, or the engine gives other results on other machines", p.Path, other.Path, p.Shard.words())
		case !twice:
			have[p.Shard] = p
			whole = append(whole, p)
		}
	}
	slices.SortFunc(whole, func(a, b Part) int { return cmp.Compare(a.Shard.I, b.Shard.I) })
	for i := 1; i <= first.Shard.N; i++ {
		if s := (Shard{i, first.Shard.N}); have[s].Path == "" {
			missing = append(missing, s)
		}
	}
	return whole, missing, nil
}

// sameRun names the first thing in which two runs differ.
func (p *Part) sameRun(o Part) error {
	for _, name := range slices.Sorted(maps.Keys(union(p.Run, o.Run))) {
		have, want := p.Run[name], o.Run[name]
		if string(have) != string(want) {
			return fmt.Errorf("%s: it is of another run than %s: %s: have %s, want %s", p.Path, o.Path, name, short(have), short(want))
		}
	}
	return nil
}

func union(a, b map[string]json.RawMessage) map[string]json.RawMessage {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func short(value json.RawMessage) string {
	switch {
	case value == nil:
		return "nothing"
	case len(value) > 80:
		return string(value[:80]) + "..."
	}
	return string(value)
}

func (s Shard) words() string {
	if s.N == 0 {
		return "a whole run"
	}
	return "shard " + s.String()
}

func (s Shard) of() string {
	if s.N == 0 {
		return "a whole run"
	}
	return fmt.Sprintf("a shard of %d", s.N)
}

// Missing is an error that names missing shards, nil where there are none.
func Missing(missing []Shard) error {
	if len(missing) == 0 {
		return nil
	}
	var names []string
	for _, s := range missing[:min(len(missing), 20)] {
		names = append(names, s.String())
	}
	more := ""
	if n := len(missing) - len(names); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("shards are missing: %s%s", strings.Join(names, ", "), more)
}
