package quant

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func text(t *testing.T, p *Plan) string {
	var b bytes.Buffer
	require.NoError(t, p.Write(&b))
	return b.String()
}

func TestPlanRoundTrip(t *testing.T) {
	p := &Plan{Source: "5f2c", Scope: "cnn", Method: "mse", Images: 32, Values: map[string]Range{
		"a b/Conv":    {Max: 1.5, Reason: "mse", Mean: []float32{0.25, -1e-7}, Channels: []float32{0, 2}},
		"x/Relu":      {Max: 3e-5, NonNegative: true, Reason: `with "quotes" and = signs`},
		"image/Input": {Max: 2.64, Reason: "by hand"},
	}, Float: map[string]string{"first/Conv": "too sensitive: 0.2 points"}, Peaks: map[string]float32{"x/Relu": 0}}
	back, err := Read(strings.NewReader(text(t, p)))
	require.NoError(t, err)
	require.Equal(t, p, back)
	require.Equal(t, text(t, p), text(t, back))
}

// Layers that stay quantized are comments that a person can uncomment; a reason may be missing then.
func TestPlanListsLayers(t *testing.T) {
	p := &Plan{Source: "5f2c", Scope: "cnn", Method: "mse", Layers: []string{"b/Conv", "a/Conv", "c/Conv"}, Float: map[string]string{"b/Conv": "first"}}
	require.Equal(t, `plan version=2 source=5f2c scope=cnn method=mse images=0
# float "a/Conv"
float "b/Conv" reason="first"
# float "c/Conv"
`, text(t, p))
	back, err := Read(strings.NewReader(strings.Replace(text(t, p), `# float "a`, `float "a`, 1)))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a/Conv": "", "b/Conv": "first"}, back.Float)
}

func TestPlanErrors(t *testing.T) {
	const head = "plan version=2 source=5f2c scope=cnn method=mse images=1\n"
	for text, want := range map[string]string{
		"":                                   "have no plan",
		"plan of mine":                       "line 1: the plan is of an old form",
		"some text":                          "line 1: have \"some text\", want plan version=2",
		"plan method=mse images=1":           "old form, which names neither its checkpoint nor its scope: make it again",
		"plan version=3 method=mse":          "version: have \"3\", want 2",
		strings.Replace(head, "cnn", "x", 1): "want plan version=2",
		strings.Replace(head, "=1", "=x", 1): "images: have \"x\"",
		strings.Replace(head, "source", "sauce", 1):   "have a field \"sauce\"",
		head + "value x max=1":                        "line 2: have \"x max=1\", want a quoted key",
		head + "value \"x\" max=-1":                   "line 2: value \"x\": max: have -1, want a positive number",
		head + "value \"x\" max=0":                    "line 2: value \"x\": max: have 0, want a positive number",
		head + "value \"x\" max=NaN":                  "max: have NaN",
		head + "value \"x\" max=Inf":                  "max: have +Inf",
		head + "value \"x\"":                          "max: have \"\"",
		head + "value \"x\" maks=1 max=1":             "have a field \"maks\"",
		head + "value \"x\" max=1 max=2":              "field max: have it twice",
		head + "value \"x\" max=1 mean=[a]":           "mean: have \"a\", want numbers",
		head + "value \"x\" max=1 mean=1":             "mean: have \"1\", want [numbers]",
		head + "value \"x\" max=1 mean=[1,NaN]":       "mean: channel 1 is NaN",
		head + "value \"x\" max=1 channels=[0,-1]":    "channels: channel 1 is -1",
		head + "value \"x\" max=1 channels=[Inf]":     "channels: channel 0 is +Inf",
		head + "value \"x\" reason=\"open":            "quote",
		head + "value \"x\" max=1\nvalue \"x\" max=1": "line 3: value \"x\": it has two lines",
		head + "float \"x\"\nfloat \"x\"":             "it has two lines",
		head + "float \"x\" why=\"z\"":                "have a field \"why\", want reason",
		head + "peak \"x\" max=NaN":                   "peak \"x\": max: have \"NaN\"",
		head + "peak \"x\" max=-1":                    "max: have \"-1\"",
		head + "peak \"x\" max=+Inf":                  "max: have \"+Inf\"",
		head + "constant \"x\" max=1":                 "want value, float or peak",
	} {
		_, err := Read(strings.NewReader(text))
		require.ErrorContains(t, err, want, text)
	}
}
