package serve

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"syncsam-convert/internal/guard"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
	"syncsam-convert/segment"
)

// The tensors of the model segment.
const (
	imageInput  = "image"      // a picture's file, of any kind that the command run takes
	partInput   = "part"       // which of its pictures: "slice=12&window=-160:240"
	boxInput    = "box"        // x0, y0, x1, y1 in pixels of the picture
	pointsInput = "points"     // x, y
	labelsInput = "labels"     // of each point: 1 foreground, 0 background; all are 1 where there are none
	logitsInput = "mask_input" // low_res_masks of an earlier prediction
	maskOutput  = "mask"       // 0 and 255, at the picture's size, as run writes it
	lowOutput   = "low_res_masks"
)

type dim = onnxpb.Dim

// segmenter is the model that takes a picture and a prompt, and gives the mask: what the command run does.
type segmenter struct {
	p     *segment.Predictor
	side  int64 // of the logits
	files *files
	cache *cache
}

func newSegmenter(p *segment.Predictor, f *files, c *cache) *segmenter {
	return &segmenter{p, prompt.Of(p.Manifest().Meta, p.Decoder() == nil).Side(), f, c}
}

func (s *segmenter) Platform() string { return platform(s.p.Engine()) }

func (s *segmenter) Inputs() []Spec {
	one, points, coordinates := dim{Size: 1}, dim{Size: -1, Name: "P"}, []string{"FP64", "INT64", "INT32"}
	return []Spec{
		{Name: imageInput, Datatype: textType, Dims: []dim{one}},
		{Name: partInput, Datatype: textType, Dims: []dim{one}, Optional: true},
		{Name: boxInput, Datatype: "FP32", Also: coordinates, Dims: []dim{one, {Size: 4}}, Optional: true},
		{Name: pointsInput, Datatype: "FP32", Also: coordinates, Dims: []dim{points, {Size: 2}}, Optional: true},
		{Name: labelsInput, Datatype: "INT64", Also: []string{"INT32", "FP32", "FP64"}, Dims: []dim{points}, Optional: true},
		{Name: logitsInput, Datatype: "FP32", Dims: []dim{one, one, {Size: s.side}, {Size: s.side}}, Optional: true},
	}
}

func (s *segmenter) Outputs() []Spec {
	one := dim{Size: 1}
	return []Spec{
		{Name: maskOutput, Datatype: "UINT8", Dims: []dim{{Size: -1, Name: "height"}, {Size: -1, Name: "width"}}},
		{Name: lowOutput, Datatype: "FP32", Dims: []dim{one, one, {Size: s.side}, {Size: s.side}}},
	}
}

// plain gives or takes a leading dimension of 1 where a client has counted it otherwise: a box is [4] or [1,4], points are [P,2] or [1,P,2].
func (s *segmenter) plain(in map[string]*Value) {
	for _, spec := range s.Inputs() {
		v := in[spec.Name]
		switch {
		case v == nil:
		case len(v.Dims) == len(spec.Dims)+1 && v.Dims[0] == 1:
			v.Dims = v.Dims[1:]
		case len(v.Dims) == len(spec.Dims)-1 && spec.Dims[0].Size == 1:
			v.Dims = append([]int64{1}, v.Dims...)
		}
	}
}

func (s *segmenter) Check(in map[string]*Value) error {
	s.plain(in)
	if _, err := fit(in, s.Inputs()); err != nil {
		return err
	}
	if v := in[partInput]; v != nil {
		if _, err := partOf(string(v.Texts[0])); err != nil {
			return bad("input %q: %w", partInput, err)
		}
	}
	_, err := promptOf(in)
	return err
}

// float64s are coordinates as the command line reads them, whatever datatype they came in.
func float64s(t *tensor.Tensor) []float64 {
	if t.DType() == tensor.Float64 {
		return t.Float64s()
	}
	out := make([]float64, t.Len())
	if t.DType().IsFloat() {
		for i, x := range t.Float32s() {
			out[i] = float64(x)
		}
	} else {
		for i, x := range t.Int64s() {
			out[i] = float64(x)
		}
	}
	return out
}

// promptOf reads the prompt of a request whose tensors fit.
func promptOf(in map[string]*Value) (prompt.Prompt, error) {
	var p prompt.Prompt
	if v := in[boxInput]; v != nil {
		b := [4]float64(float64s(v.Numbers))
		if !(b[0] < b[2] && b[1] < b[3]) {
			return p, bad("input %q: have %v, want x0 < x1 and y0 < y1", boxInput, b)
		}
		p.Box = &b
	}
	if v := in[pointsInput]; v != nil {
		xy := float64s(v.Numbers)
		for i := 0; i < len(xy); i += 2 {
			p.Points, p.Labels = append(p.Points, [2]float64{xy[i], xy[i+1]}), append(p.Labels, 1)
		}
	}
	if v := in[labelsInput]; v != nil {
		labels := float64s(v.Numbers)
		if len(labels) != len(p.Points) {
			return p, bad("input %q: have %d labels of %d points", labelsInput, len(labels), len(p.Points))
		}
		for i, l := range labels {
			if l != 0 && l != 1 {
				return p, bad("input %q: have label %g, want 0 or 1", labelsInput, l)
			}
			p.Labels[i] = int(l)
		}
	}
	if p.Box == nil && len(p.Points) == 0 {
		return p, bad("inputs %q and %q: have neither, want one of them", boxInput, pointsInput)
	}
	if v := in[logitsInput]; v != nil {
		p.Mask = v.Numbers.Float32s()
		for _, x := range p.Mask {
			if x-x != 0 {
				return p, bad("input %q: a value is not finite", logitsInput)
			}
		}
	}
	return p, nil
}

func (s *segmenter) Infer(ctx context.Context, in map[string]*Value, _ []string) (map[string]*Value, map[string]any, error) {
	p, err := promptOf(in)
	if err != nil {
		return nil, nil, err
	}
	part := ""
	if v := in[partInput]; v != nil {
		part = string(v.Texts[0])
	}
	picture, err := in[imageInput].file()
	if err != nil {
		return nil, nil, bad("input %q: %w", imageInput, err)
	}
	begun := time.Now()
	e, had, err := s.embed(ctx, picture, part)
	if err != nil {
		return nil, nil, err
	}
	if err := p.Within(e.Frame.W, e.Frame.H); err != nil {
		return nil, nil, bad("%w", err)
	}
	encoded := time.Now()
	result, err := running(func() (*segment.Prediction, error) { return s.p.Predict(ctx, e, p) })
	if err != nil {
		return nil, nil, err
	}
	m := result.Mask
	pix := make([]uint8, len(m.Pix))
	for i, x := range m.Pix {
		pix[i] = x * 255
	}
	out := map[string]*Value{
		maskOutput: numbers(tensor.FromUint8([]int64{int64(m.H), int64(m.W)}, pix)),
		lowOutput:  numbers(tensor.FromFloat32([]int64{1, 1, int64(result.Side), int64(result.Side)}, result.Logits)),
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return out, map[string]any{"embedding_cached": had, "embed_ms": ms(encoded.Sub(begun)), "predict_ms": ms(time.Since(encoded))}, nil
}

// embed gives the embedding of a picture's file, from the cache where it is there.
func (s *segmenter) embed(ctx context.Context, picture []byte, part string) (*segment.Embedded, bool, error) {
	h := sha256.New()
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(part))))
	h.Write([]byte(part))
	h.Write(picture)
	ctx = context.WithoutCancel(ctx) // others may wait for it
	return s.cache.get(key(h.Sum(nil)), func() (e *segment.Embedded, err error) {
		failed := guard.Do(func() error {
			m, err := s.look(picture, part)
			if err == nil {
				e, err = running(func() (*segment.Embedded, error) { return s.p.Embed(ctx, m) })
			}
			return err
		})
		return e, failed
	})
}

func (s *segmenter) look(picture []byte, part string) (*pictures.Image, error) {
	meant, err := partOf(part)
	if err != nil {
		return nil, bad("input %q: %w", partInput, err)
	}
	name, release, err := s.files.put(picture)
	if err != nil {
		return nil, err
	}
	defer release()
	m, err := pictures.Read(meant.Name(s.files.path(name)))
	if err != nil {
		return nil, bad("input %q: %w", imageInput, s.files.nameless(err))
	}
	return m, nil
}
