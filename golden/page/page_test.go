package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	search "syncsam-convert/front"
	"syncsam-convert/golden"
	"syncsam-convert/golden/stats"
	"syncsam-convert/pictures"
)

// hostile are names that files can have.
var hostile = []string{
	`"><script>alert(1)</script>`, `</script><script>alert(2)</script>`, `<!--<script>`, `</style><img src=x onerror=alert(3)>`, `' onmouseover='alert(4)`, "`${alert(5)}`", "{{.Policy}}", "a\u202eb\u0000c\nd", "javascript:alert(6)",
	`https://example.org/x.png`, `\u003cscript\u003e`, "&lt;b&gt;", `]]><x/>`,
}

// aReport has n items in three modes; every name comes from names, every item has a picture of its own.
func aReport(n, jpeg int, names []string) *golden.Report {
	r := rand.New(rand.NewPCG(1, 2))
	out := &golden.Report{Family: names[0], Precision: names[1%len(names)], Source: names[2%len(names)], Engine: "go", Reference: names[3%len(names)], Judged: golden.ByComparison, Notes: names,
		NSD: 2, Modes: map[string]golden.Summary{}, Paired: map[string]*golden.Paired{}, Groups: map[string]golden.GroupTable{}, Distributions: map[string]*golden.Distribution{}}
	for i, name := range names {
		hash := &golden.Hashed{Path: name, SHA256: name, Family: name, Precision: name, Files: map[string]string{name: name}}
		out.Evidence = &golden.Evidence{Artifact: hash, First: hash, Golden: hash, Data: &golden.DataHash{Path: name, Layout: name, SHA256: name, Oldest: time.Unix(0, 0), Newest: time.Unix(1, 0)}, EngineVersion: name,
			Host: golden.Host{Name: name, OS: name}, Built: &golden.Built{Target: name, Passes: []artifact.Pass{{Name: name, Changed: i}}, Quantization: &artifact.Quantization{Method: name, KeptFloat: []artifact.KeptFloat{{Node: name, Reason: name}}},
				Front: json.RawMessage(fmt.Sprintf(`{"points":[{"latency_ms":1.5,"delta_points":-0.1,%q:%q},{"latency_ms":1,"delta_points":-0.4,%q:true}]}`, "k", "v", "k"))}}
	}
	out.Layers = &golden.Layers{A: names[0], Image: names[0], List: []golden.Layer{{Name: names[0], Cumulative: math.MaxFloat64}, {Name: names[1%len(names)], Alone: "x"}}}
	out.MaxDrop = nil
	out.Baseline = &golden.Baseline{Path: names[0], SHA256: names[0], Artifact: names[0], Modes: map[string]*golden.BaselineMode{}, Dropped: []golden.Moved{{Mask: names[0], Mode: "box"}}}
	out.Reserve(Room)
	for _, mode := range golden.Modes {
		out.Modes[mode] = golden.Summary{Items: n, Have: 0.8, Want: 0.81, Points: -1, WorstItem: names[0]}
		out.Paired[mode] = &golden.Paired{Paired: &stats.Paired{Items: n, Clusters: 2, Margin: 0.25, Decision: stats.Equivalent, Reason: names[0]}}
		out.Groups[mode] = golden.GroupTable{names[0]: {names[0]: {Items: n, Have: 0.8}, "b": {Items: 1, Want: stats.Number(math.NaN())}}}
		out.Distributions[mode] = &golden.Distribution{Of: golden.OfPoints, Bins: []golden.Bin{{Low: -0.05, High: 0.05, Items: n}}, Agreement: &golden.Agreement{}}
		out.Baseline.Modes[mode] = &golden.BaselineMode{Items: n}
	}
	for i := range n {
		data := make([]byte, jpeg)
		for k := range data {
			data[k] = byte(r.Uint32())
		}
		p := &golden.Picture{W: 256, H: 200, JPEG: data}
		for k, mode := range golden.Modes {
			name := names[(i+k)%len(names)]
			res := golden.Result{Index: i, Image: name, Mask: name, Mode: mode, Have: r.Float64(), Want: stats.Number(r.Float64()), Unstable: i%7 == 3}
			res.Points = stats.Number(100 * (res.Have - float64(res.Want)))
			out.Items = append(out.Items, res)
			if res.Unstable {
				out.Unstable = append(out.Unstable, golden.Moved{Image: name, Mask: name, Mode: mode})
			}
			line := "M10 20h30v40h-30z" + strings.Repeat("M50 60h1v1h-1z", 40)
			out.Show(&golden.Drawing{Result: res, Picture: p, Truth: line, A: line, B: line, Marks: []pictures.Mark{{X0: 1, Y0: 2, X1: 30, Y1: 40}}})
		}
	}
	return out
}

func render(t *testing.T, r *golden.Report) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, Render(&out, r))
	return out.String()
}

// A page needs nothing else, and names in it are text: no script, no element, no address.
func TestHostileNames(t *testing.T) {
	r := aReport(40, 200, hostile)
	text := render(t, r)
	if dir := os.Getenv("PAGE_OUT"); dir != "" { // for make test-report
		require.NoError(t, Write(dir, r))
		json, err := os.Create(dir + ".json")
		require.NoError(t, err)
		require.NoError(t, r.WriteJSON(json))
		require.NoError(t, json.Close())
	}
	scripts := regexp.MustCompile(`(?i)<script[^>]*>`).FindAllString(text, -1)
	worst, shaky := r.Drawings()
	require.Len(t, scripts, len(worst)+len(shaky)+40+1)
	for _, s := range scripts[:len(scripts)-1] {
		require.Regexp(t, `^<script type="application/json" id="[pd]\d+">$`, s)
	}
	require.Equal(t, len(scripts), strings.Count(text, "</script>"))
	elements := strings.Split(text, "<script type")[0]
	for _, name := range hostile[:5] {
		require.False(t, strings.Contains(elements, name), name)
	}
	for _, bad := range []string{"\u202e", "\x00", "ZgotmplZ"} { // the last is what the template's guard puts for what it does not trust
		require.False(t, strings.Contains(text, bad), "%q", bad)
	}
	for _, m := range regexp.MustCompile(`(?i)\b(?:src|href|action|srcset|poster|data)=("[^"]*")`).FindAllStringSubmatch(elements, -1) {
		require.Regexp(t, `^"(#|data:image/jpeg;base64,)`, m[1])
	}
	require.Empty(t, regexp.MustCompile(`(?i)<(img|link|iframe|object|embed|base|form [^c])`).FindString(elements))
	require.Empty(t, regexp.MustCompile(`(?i)<[^>]* on[a-z]+=`).FindString(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(elements, `""`)))

	own := text[strings.LastIndex(text, "<script>")+8 : strings.LastIndex(text, "</script>")]
	sum := sha256.Sum256([]byte(own))
	require.Contains(t, text[:2000], "script-src &#39;sha256-"+strings.ReplaceAll(base64.StdEncoding.EncodeToString(sum[:]), "+", "&#43;")+"&#39;", "the policy is of the script that stands there")
	for _, m := range regexp.MustCompile(`(?s)<script type="application/json" id="(\w)\d+">(.*?)</script>`).FindAllStringSubmatch(text, -1) {
		var x map[string]any
		require.NoError(t, json.Unmarshal([]byte(m[2]), &x))
		require.Contains(t, x, map[string]string{"p": "u", "d": "t"}[m[1]])
	}
}

// At 458 items, each on a large picture of its own, a page has at most 8 MB, and what is worst is on it.
func TestSize(t *testing.T) {
	r := aReport(458, 40_000, []string{"masks/a_name_of_the_length_that_names_have_0001.png"})
	text := render(t, r)
	t.Logf("%d bytes", len(text))
	require.LessOrEqual(t, len(text), 8_000_000)
	require.Equal(t, 3*458, strings.Count(text[strings.Index(text, `id="all"`):], "<tr")-1-strings.Count(text[strings.Index(text, `id="layers"`):], "<tr")-strings.Count(text[strings.Index(text, `id="front"`):strings.Index(text, `id="layers"`)], "<tr"))
	worst, shaky := r.Drawings()
	require.Greater(t, len(worst), 60)
	require.Greater(t, len(shaky), 20)
	for i := range len(worst) - 1 {
		require.GreaterOrEqual(t, golden.Rank(worst[i].Result), golden.Rank(worst[i+1].Result))
	}
	most := 0.0
	for _, it := range r.Items {
		if !it.Unstable {
			most = math.Max(most, golden.Rank(it))
		}
	}
	require.Equal(t, most, golden.Rank(worst[0].Result))
}

// Every kind of report has a page that says how it came out; of more than mostRows items the worst stand in the table.
func TestKinds(t *testing.T) {
	least := 0.9
	for _, c := range []struct {
		judged string
		pass   bool
		want   string
	}{
		{golden.ByNothing, true, "Measured, not judged"}, {golden.ByItem, true, "meets its golden results"}, {golden.ByItem, false, "does not meet its golden results"}, {golden.BySummary, false, "does not meet its golden results"},
		{golden.ByEquivalence, true, "meets its golden results"}, {golden.ByMinimum, false, "does not reach DSC 0.9"}, {golden.ByPublished, true, "meets the published results"}, {golden.ByComparison, true, "B may replace A"},
		{golden.ByComparison, false, "there are not enough data"}, {golden.ByBaseline, false, "is worse than in the earlier report"},
	} {
		r := aReport(3, 10, []string{"a", "b", "c", "d"})
		drop := 0.25
		r.Judged, r.Pass, r.MinDSC, r.MaxDrop = c.judged, c.pass, &least, &drop
		r.Baseline.Pass = c.pass
		require.Contains(t, strings.ToLower(render(t, r)[:12_000]), "<strong>"+strings.ToLower(c.want), c.judged)
	}
	bare := &golden.Report{Modes: map[string]golden.Summary{"box": {}}, Judged: golden.ByNothing, Pass: true}
	require.True(t, strings.Contains(render(t, bare), "measured"))
	many := aReport(2000, 1, []string{"a"})
	text := render(t, many)
	require.True(t, strings.Contains(text, "The table has the worst 5000 results; 1000 more"))
}

func TestOwnPage(t *testing.T) {
	dir, r := t.TempDir(), aReport(2, 10, []string{"a"})
	require.NoError(t, Write(filepath.Join(dir, "new", "page"), r))
	require.NoError(t, Write(filepath.Join(dir, "new", "page"), r))
	files, err := os.ReadDir(filepath.Join(dir, "new", "page"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "index.html"), []byte("<html>mine"), 0o600))
	require.ErrorContains(t, Write(dir, r), "it is no report of this program")
}

func TestFront(t *testing.T) {
	f := newFront(json.RawMessage(`[{"latency_ms":2,"delta_points":-0.1,"precision":"int8"},{"latency_ms":3,"delta_points":0}]`))
	require.Equal(t, []string{"delta_points", "latency_ms", "precision"}, f.Columns)
	require.Equal(t, [][]string{{"-0.1", "2", "int8"}, {"0", "3", dash}}, f.Rows)
	require.Equal(t, 2, strings.Count(f.Chart.Points, "M"))
	for _, other := range []string{"", "null", "3", `"x"`, `[]`, `[1,2]`, `{"a":1}`, `{"points":[]}`} {
		require.Nil(t, newFront(json.RawMessage(other)), other)
	}
}

// What build --precision auto writes is drawn as latency against change; a point that was not tried is in the table alone.
func TestFrontOfASearch(t *testing.T) {
	delta, low, high := -0.02, -0.05, 0.01
	raw, err := json.Marshal(search.Front{Graph: "encoder.onnx", Groups: []*search.Group{{Name: "g"}}, Points: []*search.Point{
		{Precision: "fp32", Latency: 100, Ratio: 1, Delta: new(float64), Decision: "equivalent"},
		{Precision: "int8", Adds: "resnet.stage3", Latency: 80, Ratio: 0.8, Predicted: true, Decision: search.Untried},
		{Precision: "int8", Adds: "resnet.stage4", Latency: 60, Ratio: 0.6, Delta: &delta, Low: &low, High: &high, Mode: "box", Decision: "equivalent", Chosen: true}}})
	require.NoError(t, err)
	f := newFront(raw)
	require.Len(t, f.Rows, 3)
	require.Contains(t, f.Columns, "becomes_int8")
	require.Equal(t, 2, strings.Count(f.Chart.Points, "M"))
	require.Equal(t, "latency ms", f.Chart.AxisX)
	require.Equal(t, "delta points", f.Chart.AxisY)
}

func TestTicks(t *testing.T) {
	for _, s := range []scale{{0, 1, 0, 100}, {-2.4, 2.4, 0, 100}, {0.0001, 0.0002, 0, 100}, {-100, 100, 0, 100}} {
		list := s.ticks(5)
		require.GreaterOrEqual(t, len(list), 2)
		require.LessOrEqual(t, len(list), 6)
	}
}
