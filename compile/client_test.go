package compile

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/portable"
	"syncsam-convert/clients"
	"syncsam-convert/engine"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
	"syncsam-convert/segment"
)

// built is an artifact of options, and its graphs on an engine.
type built struct {
	dir      string
	man      *artifact.Manifest
	sessions []engine.Session
}

func buildFor(t *testing.T, name string, o Options) built {
	b := built{dir: filepath.Join(t.TempDir(), "a")}
	o.Output = b.dir
	man, err := Compile(context.Background(), o)
	require.NoError(t, err)
	b.man = man
	for _, g := range man.Interface.Graphs[:2] {
		s, err := engine.Load(name, filepath.Join(b.dir, g.File), engine.Options{})
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		b.sessions = append(b.sessions, s)
	}
	return b
}

func (b built) run(t *testing.T, graph int, in map[string]*tensor.Tensor) map[string]*tensor.Tensor {
	own := map[string]*tensor.Tensor{}
	for _, name := range b.sessions[graph].Inputs() {
		require.Contains(t, in, name, b.man.Client)
		own[name] = in[name]
	}
	out, err := b.sessions[graph].Run(context.Background(), own)
	require.NoError(t, err, b.man.Client)
	return out
}

// engines are the embedded one, and ONNX Runtime where make onnxruntime has brought it.
func engines() []string {
	if _, err := engine.Version(engine.ONNXRuntime, engine.Options{}); err != nil {
		return []string{engine.Embedded}
	}
	return []string{engine.Embedded, engine.ONNXRuntime}
}

func noise(w, h int, seed uint64) *pictures.Image {
	r := rand.New(rand.NewPCG(seed, 7))
	m := &pictures.Image{W: w, H: h, Pix: make([]uint8, 3*w*h)}
	for i := range m.Pix { // blobs: what a filter does to noise alone is grey
		x, y := i/3%w, i/3/w
		m.Pix[i] = uint8((x*7+y*3)%200) + uint8(r.IntN(50))
	}
	return m
}

func near(t *testing.T, want, have *tensor.Tensor, bar float64, what string, args ...any) {
	require.Equal(t, want.Dims(), have.Dims(), what)
	d, err := tensor.Compare(have, want)
	require.NoError(t, err)
	require.Less(t, d.Relative(), bar, fmt.Sprintf(what, args...))
}

// sameAs is the bar for graphs that a client takes beside those with their own inputs, in standard deviations.
const sameAs = 1e-5

// Every client's graphs give what the graphs with their own inputs give, after the client's own steps: for pictures of its kind, a box and clicks, with
// the padding that it sends.
func TestClients(t *testing.T) {
	for _, list := range []string{"syncsam", "sam", "sam-med2d", "sam-hq"} {
		checkpoint := family(t, "testdata/families/"+list+".txt")
		names := engines()
		if list != "syncsam" { // they differ in weights, not in edges
			names = names[len(names)-1:]
		}
		for _, name := range names {
			plain := buildFor(t, name, Options{Checkpoint: checkpoint})
			for _, client := range clients.Names()[1:] {
				o := Options{Checkpoint: checkpoint, Client: client, OneMask: clients.OneModel}
				if refused := clientRefuses[client+" "+list]; refused != "" {
					o.Output = filepath.Join(t.TempDir(), "a")
					_, err := Compile(context.Background(), o)
					require.ErrorContains(t, err, "--client "+client+", --one-mask model: not for "+plain.man.Family+": "+refused)
					continue
				}
				t.Run(list+"/"+client+"/"+name, func(t *testing.T) { sameMasks(t, plain, buildFor(t, name, o)) })
			}
		}
	}
}

// clientRefuses has what makes no sense.
var clientRefuses = map[string]string{
	"x-anylabeling-sam-med2d syncsam": "the client stretches pictures", "x-anylabeling-sam-med2d sam": "the client stretches pictures", "x-anylabeling-sam-med2d sam-hq": "the client stretches pictures",
	"x-anylabeling-sam-hq syncsam": "its encoder gives no interm_embeddings", "x-anylabeling-sam-hq sam": "its encoder gives no interm_embeddings", "x-anylabeling-sam-hq sam-med2d": "its encoder gives no interm_embeddings",
}

// padded are points as clients send them: with the padding point always, or never.
func padded(points [][3]float32, pad bool) [][3]float32 {
	if pad {
		return append(append([][3]float32{}, points...), [3]float32{0, 0, -1})
	}
	return points
}

func sameMasks(t *testing.T, plain, b built) {
	how, pre := b.man.Interface.Image, b.man.Preprocess
	w, h := 90, 61
	if how.Frame > 0 && how.Values == "0-1" {
		w, h = int(how.Frame), int(how.Frame)
	}
	m := noise(w, h, 3)
	x, frame, err := pictures.Prepare(m, pre)
	require.NoError(t, err)
	features := plain.run(t, 0, map[string]*tensor.Tensor{"image": x})
	picture := map[string]*tensor.Tensor{how.Input: x}
	square := how.Values == "normalized"
	if !square {
		raw, err := tensor.New(tensor.Uint8, []int64{int64(h), int64(w), 3}, m.Pix)
		require.NoError(t, err)
		switch {
		case how.Values == "0-1":
			planes, err := tensor.Transpose(raw, 2, 0, 1)
			require.NoError(t, err)
			v := tensor.Dense(planes).Float32s()
			for i := range v {
				v[i] /= 255
			}
			raw = tensor.FromFloat32([]int64{1, 3, int64(h), int64(w)}, v)
		case b.man.Interface.Graphs[0].Inputs[0].DType == "float32":
			raw = tensor.Dense(tensor.Cast(raw, tensor.Float32))
		}
		picture = map[string]*tensor.Tensor{how.Input: raw}
	}
	encoded := b.run(t, 0, picture)
	if encoded["interm_embeddings"] != nil { // the client stacks them
		d := encoded["interm_embeddings"].Dims()
		encoded["interm_embeddings"], err = tensor.Reshape(encoded["interm_embeddings"], append([]int64{1}, d...)...)
		require.NoError(t, err)
	}
	iface := prompt.Of(plain.man.Meta, false)
	for i, pr := range []prompt.Prompt{
		{Box: &[4]float64{20, 10, 60, 50}}, {Points: [][2]float64{{40, 30}}, Labels: []int{1}},
		{Points: [][2]float64{{40, 30}, {10, 50}, {70, 20}}, Labels: []int{1, 0, 1}}, {Box: &[4]float64{20, 10, 60, 50}, Points: [][2]float64{{40, 30}}, Labels: []int{0}},
	} {
		in, err := iface.Decoder(features, plain.sessions[1].Inputs(), frame, pr)
		require.NoError(t, err)
		want, err := iface.Logits(plain.run(t, 1, in))
		require.NoError(t, err)
		for _, pad := range []bool{i%2 == 0, i%2 != 0}[:1+i/3] {
			have := b.run(t, 1, clientPrompt(b, encoded, frame, pr, pad, square))
			logits := have[b.man.Interface.Mask.Output]
			if b.man.Interface.Mask.Output == "masks" {
				if logits = have["low_res_masks"]; logits == nil {
					logits = have["low_res_logits"]
				}
				sameMask(t, b, have, want, frame, square)
			}
			side := int(iface.Side())
			if s := int(logits.Dims()[len(logits.Dims())-1]); s != side { // each logit a square of pixels
				logits = every(logits, s/side)
			}
			flat, err := tensor.Reshape(logits, 1, 1, int64(side), int64(side))
			require.NoError(t, err)
			near(t, tensor.FromFloat32(flat.Dims(), want), flat, sameAs, "%s: %v, padding %v", b.man.Client, pr, pad)
		}
	}
}

// samexporter's class resizes a picture to a longer side of 1024, in whole pixels, before the graph resizes it again, and tells the original size: sides are
// rounded twice, which is not always what one step gives (314 of 321 pixels become 1002 of 1024, and 251 of 256; at once they would be 250).
func TestSidesAreRoundedTwice(t *testing.T) {
	checkpoint := family(t, "testdata/families/syncsam.txt")
	name := engines()[0]
	plain, b := buildFor(t, name, Options{Checkpoint: checkpoint}), buildFor(t, name, Options{Checkpoint: checkpoint, Client: "samexporter"})
	differ := 0
	for h := 301; h < 321; h++ {
		original := pictures.NewFrame(321, h, 1024)
		m := pictures.Resize(noise(321, h, uint64(h)), original.InW, original.InH)
		x, frame, err := pictures.Prepare(m, b.man.Preprocess)
		require.NoError(t, err)
		if frame.InH == pictures.NewFrame(321, h, int(b.man.Preprocess.Size)).InH {
			continue
		}
		differ++
		features := plain.run(t, 0, map[string]*tensor.Tensor{"image": x})
		raw, err := tensor.New(tensor.Uint8, []int64{int64(m.H), int64(m.W), 3}, m.Pix)
		require.NoError(t, err)
		encoded := b.run(t, 0, map[string]*tensor.Tensor{b.man.Interface.Image.Input: tensor.Dense(tensor.Cast(raw, tensor.Float32))})
		iface := prompt.Of(plain.man.Meta, false)
		in, err := iface.Decoder(features, plain.sessions[1].Inputs(), frame, prompt.Prompt{Box: &[4]float64{200, 100, 600, 500}})
		require.NoError(t, err)
		want, err := iface.Logits(plain.run(t, 1, in))
		require.NoError(t, err)
		ask := clientPrompt(b, encoded, frame, prompt.Prompt{Box: &[4]float64{200, 100, 600, 500}}, true, false) // in pixels of the resized picture
		ask["orig_im_size"] = tensor.FromFloat32([]int64{2}, []float32{float32(h), 321})
		have := b.run(t, 1, ask)["low_res_masks"]
		near(t, tensor.FromFloat32(have.Dims(), want), have, sameAs, "321 x %d", h)
	}
	require.Positive(t, differ)
}

// every takes each k-th row and column.
func every(x *tensor.Tensor, k int) *tensor.Tensor {
	n := int(x.Dims()[3])
	var out []float32
	for y := k / 2; y < n; y += k {
		for c := k / 2; c < n; c += k {
			out = append(out, x.Float32s()[y*n+c])
		}
	}
	return tensor.FromFloat32([]int64{1, 1, int64(n / k), int64(n / k)}, out)
}

// clientPrompt is a prompt as a client sends it.
func clientPrompt(b built, encoded map[string]*tensor.Tensor, f pictures.Frame, pr prompt.Prompt, pad, square bool) map[string]*tensor.Tensor {
	sx, sy := float64(f.InW)/float64(f.W), float64(f.InH)/float64(f.H)
	if frame := b.man.Interface.Coordinates.Frame; !square {
		theirs := pictures.NewFrame(f.W, f.H, int(frame))
		sx, sy = float64(theirs.InW)/float64(f.W), float64(theirs.InH)/float64(f.H)
		if strings.Contains(b.man.Interface.Coordinates.Scale, "both axes") {
			sx = float64(frame) / float64(max(f.W, f.H))
			sy = sx
		}
	}
	var points [][3]float32
	for i, p := range pr.Points {
		points = append(points, [3]float32{float32(p[0] * sx), float32(p[1] * sy), float32(pr.Labels[i])})
	}
	if c := pr.Box; c != nil {
		points = append(points, [3]float32{float32(c[0] * sx), float32(c[1] * sy), 2}, [3]float32{float32(c[2] * sx), float32(c[3] * sy), 3})
	}
	points = padded(points, pad)
	var coords, labels []float32
	for _, p := range points {
		coords, labels = append(coords, p[0], p[1]), append(labels, p[2])
	}
	n := int64(len(points))
	in := map[string]*tensor.Tensor{
		"point_coords": tensor.FromFloat32([]int64{1, n, 2}, coords), "point_labels": tensor.FromFloat32([]int64{1, n}, labels),
		"input_points": tensor.FromFloat32([]int64{1, 1, n, 2}, coords), "input_labels": tensor.Dense(tensor.Cast(tensor.FromFloat32([]int64{1, 1, n}, labels), tensor.Int64)),
		"mask_input": tensor.FromFloat32([]int64{1, 1, 256, 256}, make([]float32, 256*256)), "has_mask_input": tensor.FromFloat32([]int64{1}, []float32{-1}),
		"orig_im_size": tensor.FromFloat32([]int64{2}, []float32{float32(f.H), float32(f.W)}),
	}
	for name, t := range encoded {
		in[name] = t
	}
	return in
}

// sameMask holds masks at the picture's size to the program's own.
func sameMask(t *testing.T, b built, have map[string]*tensor.Tensor, logits []float32, f pictures.Frame, square bool) {
	want, err := pictures.MaskOf(logits, f.S/4, f, b.man.Postprocess)
	require.NoError(t, err)
	if b.man.Postprocess.Activation == "" || !square || b.man.Client == "x-anylabeling-sam-med2d" { // otherwise the client keeps the aspect, and the model does not
		masks, at := have["masks"], have["xtl"]
		w, x0, y0 := int(masks.Dims()[3]), 0, 0
		if at != nil {
			x0, y0 = int(at.Int64s()[0]), int(have["ytl"].Int64s()[0])
			require.Equal(t, int64(w), have["xbr"].Int64s()[0]-int64(x0)+1)
		}
		got, differ := pictures.NewMask(f.W, f.H), 0
		for i, v := range tensor.Cast(masks, tensor.Float32).Float32s() {
			if v > b.man.Interface.Mask.Threshold {
				got.Pix[(y0+i/w)*f.W+x0+i%w] = 1
			}
		}
		for i := range got.Pix {
			differ += int(got.Pix[i] ^ want.Pix[i])
		}
		require.LessOrEqual(t, differ, len(got.Pix)/1000, b.man.Client)
	}
}

// A picture that goes in as it is, of any size and in every form, gives what the program's own preprocessing gives, which is PIL's and OpenCV's to the bit.
func TestImageInput(t *testing.T) {
	sizes := [][2]int{{61, 90}, {333, 517}, {517, 333}, {100, 100}, {1, 77}, {640, 3}, {255, 257}, {1025, 64}, {1536, 1023}, {300, 256}}
	for _, list := range []string{"syncsam", "sam-med2d", "imis-net"} {
		checkpoint := family(t, "testdata/families/"+list+".txt")
		for _, name := range engines() {
			plain := buildFor(t, name, Options{Checkpoint: checkpoint})
			for _, form := range clients.ImageInputs()[1:] {
				raw := buildFor(t, name, Options{Checkpoint: checkpoint, ImageInput: form})
				for i, size := range sizes {
					if i > 1 && form != "uint8-hwc" || i > 3 && (name == engine.Embedded && list != "syncsam") {
						break
					}
					m := noise(size[0], size[1], uint64(i))
					x, err := segment.EncoderInputs(m, plain.man)
					require.NoError(t, err)
					y, err := segment.EncoderInputs(m, raw.man)
					require.NoError(t, err)
					want, have := plain.run(t, 0, x), raw.run(t, 0, y)
					for output := range want {
						near(t, want[output], have[output], 1e-4, "%s %s %s %v %s", list, name, form, size, output)
					}
				}
			}
		}
	}
}

// The graphs that clients take have only what other runtimes are known to read.
func TestClientsArePortable(t *testing.T) {
	checkpoint := family(t, "testdata/families/syncsam.txt")
	for _, client := range clients.Names()[:6] {
		for _, opset := range []int64{17, 18, 21, 26} {
			dir := filepath.Join(t.TempDir(), "a")
			man, err := Compile(context.Background(), Options{Checkpoint: checkpoint, Client: client, Opset: opset, Output: dir})
			require.NoError(t, err)
			for _, g := range man.Interface.Graphs {
				found, err := portable.Lint(filepath.Join(dir, g.File), []string{"onnxruntime"})
				if err == nil {
					require.Zero(t, portable.Errors(found), "%s %d: %v", client, opset, found)
				}
				_, err = engine.Load(engines()[len(engines())-1], filepath.Join(dir, g.File), engine.Options{})
				require.NoError(t, err)
			}
		}
	}
}

// SAM's own rule: the best of the multimasks for up to two points, mask 0 for more.
func TestOneMask(t *testing.T) {
	checkpoint := family(t, "testdata/families/sam.txt")
	for _, name := range engines() {
		plain, one := buildFor(t, name, Options{Checkpoint: checkpoint}), buildFor(t, name, Options{Checkpoint: checkpoint, OneMask: clients.OneSAM})
		require.Equal(t, "first", one.man.Postprocess.Mask)
		x, frame, err := pictures.Prepare(noise(80, 50, 9), plain.man.Preprocess)
		require.NoError(t, err)
		features := plain.run(t, 0, map[string]*tensor.Tensor{"image": x})
		for n := 1; n < 5; n++ {
			var pr prompt.Prompt
			for i := range n {
				pr.Points, pr.Labels = append(pr.Points, [2]float64{float64(10 * i), 20}), append(pr.Labels, 1)
			}
			in, err := prompt.Of(plain.man.Meta, false).Decoder(features, plain.sessions[1].Inputs(), frame, pr)
			require.NoError(t, err)
			all, got := plain.run(t, 1, in), one.run(t, 1, in)
			best, scores := 0, all["iou_predictions"].Float32s()
			if n+1 <= 2 { // with the padding point
				best = 1
				for i := 2; i < len(scores); i++ {
					if scores[i] > scores[best] {
						best = i
					}
				}
			}
			side := int(all["low_res_masks"].Dims()[2])
			want := all["low_res_masks"].Float32s()[best*side*side:][:side*side]
			near(t, tensor.FromFloat32([]int64{1, 1, int64(side), int64(side)}, want), got["low_res_masks"], 1e-6, "%d points", n)
			require.InDelta(t, scores[best], got["iou_predictions"].Float32s()[0], 1e-6)
		}
	}
}
