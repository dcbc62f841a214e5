package items

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var kinds = []string{"items.csv", "items.jsonl"}

// random rows, with names that need quoting and scores that are undefined.
func random(rng *rand.Rand, n, artifacts int) []Row {
	maybe := func() float64 {
		if rng.IntN(4) == 0 {
			return math.NaN()
		}
		return rng.Float64()
	}
	rows := make([]Row, n)
	for i := range rows {
		rows[i] = Row{Image: fmt.Sprintf("images/%d.png", i/3), Mask: fmt.Sprintf(`m, "%d" <é>'.png`, i), Mode: []string{"box", "point1", "points5"}[i%3]}
		for range artifacts {
			rows[i].Scores = append(rows[i].Scores, Score{rng.Float64(), rng.Float64(), 100 * maybe(), maybe(), rng.IntN(6)})
		}
	}
	return rows
}

func write(t testing.TB, w *Writer, rows []Row) {
	for _, r := range rows {
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Close())
}

func readAll(t testing.TB, path string) (rows []Row) {
	for r, err := range Read(path) {
		require.NoError(t, err)
		rows = append(rows, r)
	}
	return rows
}

// equal compares rows with NaN equal to NaN.
func equal(t testing.TB, want, have []Row) { require.Equal(t, fmt.Sprint(want), fmt.Sprint(have)) }

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, name := range kinds {
		for _, artifacts := range []int{1, 2} {
			path, rows := filepath.Join(t.TempDir(), name), random(rng, 50, artifacts)
			w, err := Create(path, artifacts, "run")
			require.NoError(t, err)
			write(t, w, rows)
			equal(t, rows, readAll(t, path))
		}
	}
}

// The text that others rely on.
func TestText(t *testing.T) {
	for name, want := range map[string][2]string{
		"x.csv": {"image,mask,mode,dsc,iou,hd95,nsd,clicks\na.png,b.png,box,0.9,0.5,,1,0\n",
			"image,mask,mode,dsc_a,dsc_b,iou_a,iou_b,hd95_a,hd95_b,nsd_a,nsd_b,clicks_a,clicks_b\na.png,b.png,box,0.9,0.8,0.5,1e-07,,2.5,1,,0,5\n"},
		"x.JSONL": {`{"image":"a.png","mask":"b.png","mode":"box","dsc":0.9,"iou":0.5,"hd95":null,"nsd":1,"clicks":0}` + "\n",
			`{"image":"a.png","mask":"b.png","mode":"box","dsc_a":0.9,"dsc_b":0.8,"iou_a":0.5,"iou_b":1e-07,"hd95_a":null,"hd95_b":2.5,"nsd_a":1,"nsd_b":null,"clicks_a":0,"clicks_b":5}` + "\n"},
	} {
		scores := []Score{{0.9, 0.5, math.NaN(), 1, 0}, {0.8, 1e-7, 2.5, math.NaN(), 5}}
		for i := range 2 {
			path := filepath.Join(t.TempDir(), name)
			w, err := Create(path, i+1, "run")
			require.NoError(t, err)
			write(t, w, []Row{{"a.png", "b.png", "box", scores[:i+1]}})
			have, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, want[i], string(have))
		}
	}
}

// A run that breaks at any byte goes on to the same file.
func TestResumeAtEveryByte(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, name := range kinds {
		dir := t.TempDir()
		path, rows := filepath.Join(dir, name), random(rng, 2, 2)
		w, err := Create(path, 2, "run")
		require.NoError(t, err)
		write(t, w, rows)
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		for cut := range len(want) + 1 {
			require.NoError(t, os.WriteFile(path, want[:cut], 0o644))
			var had []Row
			w, err := Resume(path, 2, "run", func(r Row) error { had = append(had, r); return nil })
			require.NoError(t, err, "cut at %d", cut)
			equal(t, rows[:len(had)], had)
			for i, r := range rows {
				require.Equal(t, i < len(had), w.Has(r.Image, r.Mask, r.Mode))
				if i >= len(had) {
					require.NoError(t, w.Write(r))
				}
			}
			require.NoError(t, w.Close())
			have, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), string(have), "cut at %d", cut)
		}
		// what a lost block leaves: zeros after the last whole line
		require.NoError(t, os.WriteFile(path, append(want[:len(want):len(want)], make([]byte, 5000)...), 0o644))
		w, err = Resume(path, 2, "run", func(Row) error { return nil })
		require.NoError(t, err)
		require.NoError(t, w.Close())
		equal(t, rows, readAll(t, path))
	}
	path := filepath.Join(t.TempDir(), "new.csv")
	w, err := Resume(path, 1, "run", nil)
	require.NoError(t, err, "where there is none, it is started")
	write(t, w, random(rng, 1, 1))
	require.Len(t, readAll(t, path), 1)
}

func TestResumeRefuses(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	rows := random(rng, 3, 1)
	for _, c := range []struct {
		name string
		do   func(path string)
		n    int
		run  string
		want string
	}{
		{"another run", nil, 1, "other", "it is of another run"},
		{"no name of a run", func(p string) { os.Remove(p + ".run") }, 1, "run", "which run wrote it"},
		{"two artifacts", nil, 2, "run", "have the scores of 1 artifacts, want 2"},
		{"twice", func(p string) {
			text, _ := os.ReadFile(p)
			lines := strings.SplitAfter(string(text), "\n")
			os.WriteFile(p, []byte(string(text)+lines[len(lines)-2]), 0o644)
		}, 1, "run", "it is there twice"},
		{"another file", func(p string) { os.WriteFile(p, []byte("# Read me\n\nx\n"), 0o644) }, 1, "run", "line 1: have \"# Read me\", want the columns"},
		{"no lines", func(p string) { os.WriteFile(p, make([]byte, longest+1), 0o644) }, 1, "run", "it is no file of items"},
		{"another word in the middle", func(p string) {
			text, _ := os.ReadFile(p)
			os.WriteFile(p, []byte(strings.Replace(string(text), "point1", "point1,x\"", 1)), 0o644)
		}, 1, "run", "line "},
	} {
		for _, name := range kinds {
			path := filepath.Join(t.TempDir(), name)
			w, err := Create(path, 1, "run")
			require.NoError(t, err)
			write(t, w, rows)
			if c.do != nil {
				c.do(path)
			}
			before, _ := os.ReadFile(path)
			_, err = Resume(path, c.n, c.run, func(Row) error { return nil })
			require.ErrorContains(t, err, c.want, c.name)
			require.ErrorContains(t, err, path)
			after, _ := os.ReadFile(path)
			require.Equal(t, before, after, "nothing is changed")
		}
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	head := strings.Join(Columns(1), ",") + "\n"
	for text, want := range map[string]string{
		head + "a,b,box,1,1,1,1,1\na,b":            "the last line is torn",
		head + "a,b,box,1,1,1,1\n":                 "line 2: have 7 columns, want 8",
		head + "a,b,box,1.5,1,1,1,1\n":             "line 2: dsc: have 1.5, want 0 to 1",
		head + "a,b,box,,1,1,1,1\n":                "dsc: have NaN",
		head + "a,b,box,1,1,-1,1,1\n":              "hd95: have -1, want 0 or more",
		head + "a,b,box,1,1,Inf,1,1\n":             "hd95: have +Inf",
		head + "a,b,box,1,1,1,1,1.5\n":             "clicks: have 1.5, want a count",
		head + "a,b,box,1,1,1,1,\n":                "clicks: have NaN, want a count",
		head + "a,b,box,x,1,1,1,1\n":               `dsc: have "x", want a number`,
		head + ",b,box,1,1,1,1,1\n":                `image: have ""`,
		head + "\"a,b,box,1,1,1,1,1\n":             "line 2: ",
		"image,mask\n":                             "want the columns",
		head + strings.Repeat("x", longest) + "\n": "line 2: ",
	} {
		path := filepath.Join(dir, "x.csv")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		var last error
		for _, err := range Read(path) {
			last = err
		}
		require.ErrorContains(t, last, want, "%.100q", text)
	}
	for _, r := range []Row{
		{"a\nb", "m", "box", []Score{{}}}, {"a", "\xff", "box", []Score{{}}}, {"a", "m", "", []Score{{}}}, {"a", "m", "box", nil},
		{"a", "m", "box", []Score{{DSC: math.NaN()}}}, {"a", "m", "box", []Score{{HD95: math.Inf(1)}}}, {"a", "m", "box", []Score{{Clicks: -1}}},
	} {
		path := filepath.Join(dir, "y.jsonl")
		w, err := Create(path, 1, "run")
		require.NoError(t, err)
		require.Error(t, w.Write(r), "%v", r)
		require.NoError(t, w.Close())
		require.Empty(t, readAll(t, path))
	}
	_, err := Create(filepath.Join(dir, "x.txt"), 1, "run")
	require.ErrorContains(t, err, "want .csv or .jsonl")
	_, err = Create(filepath.Join(dir, "none", "x.csv"), 1, "run")
	require.ErrorContains(t, err, "no such file")
}

// A file is written and read in memory that does not grow with it.
func TestBoundedMemory(t *testing.T) {
	const rows = 40_000
	for _, name := range kinds {
		path := filepath.Join(t.TempDir(), name)
		w, err := Create(path, 2, "run")
		require.NoError(t, err)
		r := random(rand.New(rand.NewPCG(4, 4)), 1, 2)[0]
		for i := range rows {
			r.Mask = fmt.Sprint(i)
			require.NoError(t, w.Write(r))
		}
		require.NoError(t, w.Close())
		var m, before runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		n, most := 0, before.HeapAlloc
		for _, err := range Read(path) {
			require.NoError(t, err)
			if n++; n%10_000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
		require.Equal(t, rows, n)
		require.Less(t, most-before.HeapAlloc, uint64(2<<20), "the file has about 7 MB")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("image,mask,mode,dsc,iou,hd95,nsd,clicks\na,b,box,1,1,,1,1\n"), true)
	f.Add([]byte(`{"image":"a","mask":"b","mode":"box","dsc":0.9,"iou":0.5,"hd95":null,"nsd":1,"clicks":0}`+"\n"), false)
	f.Fuzz(func(t *testing.T, text []byte, csv bool) {
		dir := t.TempDir()
		path := filepath.Join(dir, kinds[1])
		if csv {
			path = filepath.Join(dir, kinds[0])
		}
		require.NoError(t, os.WriteFile(path, text, 0o644))
		var rows []Row
		for r, err := range Read(path) {
			if err != nil {
				return
			}
			rows = append(rows, r)
		}
		if len(rows) > 0 { // what was read is written and read again
			w, err := Create(path, len(rows[0].Scores), "run")
			require.NoError(t, err)
			write(t, w, rows)
			equal(t, rows, readAll(t, path))
		}
	})
}
