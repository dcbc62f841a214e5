// Package segment runs an artifact on pictures: one encoding a picture, one prediction a prompt, as the models' own pipelines do.
package segment

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"syncsam-convert/artifact"
	"syncsam-convert/engine"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
)

// A Predictor is an artifact loaded into an engine. It may be used from several goroutines.
type Predictor struct {
	man     *artifact.Manifest
	dir     string
	engine  string
	options engine.Options
	prompts prompt.Interface
	image   engine.Session // of the graph that reads the image
	decoder engine.Session // nil where one graph does everything
	texts   engine.Session // of the decoder that takes a text too; nil before Text
}

// Open loads an artifact's graphs with an engine, after its files were held against the manifest's hashes.
func Open(dir, engineName string, o engine.Options) (*Predictor, error) {
	man, err := artifact.Read(dir)
	if err != nil {
		return nil, err
	}
	if err := ours(dir, man); err != nil {
		return nil, err
	}
	man, err = engine.OpenArtifact(dir, func(m *artifact.Manifest) []string { return append(m.Graphs(), m.Texts()...) })
	if err != nil {
		return nil, err
	}
	one := man.Encoder() == artifact.OneGraph
	p := &Predictor{man: man, dir: dir, engine: engineName, options: o, prompts: prompt.Of(man.Meta, one)}
	if p.image, err = engine.Load(engineName, filepath.Join(dir, man.Encoder()), o); err != nil || one {
		return p, err
	}
	if p.decoder, err = engine.Load(engineName, filepath.Join(dir, man.Graphs()[1]), o); err != nil {
		return nil, errors.Join(err, p.image.Close())
	}
	return p, nil
}

// Manifest is the artifact's manifest.
func (p *Predictor) Manifest() *artifact.Manifest { return p.man }

// Engine is the engine's name.
func (p *Predictor) Engine() string { return p.engine }

// Image is the session of the graph that reads the image, Decoder that of the other one; nil where there is one graph.
func (p *Predictor) Image() engine.Session   { return p.image }
func (p *Predictor) Decoder() engine.Session { return p.decoder }

// Close ends its sessions.
func (p *Predictor) Close() error {
	err := p.image.Close()
	for _, s := range []engine.Session{p.decoder, p.texts} {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}
	return err
}

// An Embedded is an image after the encoder: what all its prompts share.
type Embedded struct {
	Frame    pictures.Frame
	Features map[string]*tensor.Tensor // the encoder's outputs by name; of a model with one graph the prepared image as "image"
}

// Embed runs the encoder on an image.
func (p *Predictor) Embed(ctx context.Context, m *pictures.Image) (*Embedded, error) {
	if p.prompts.OneGraph {
		x, frame, err := pictures.Prepare(m, p.man.Preprocess)
		return &Embedded{frame, map[string]*tensor.Tensor{"image": x}}, err
	}
	inputs, frame, err := encoderInputs(m, p.man)
	if err != nil {
		return nil, err
	}
	out, err := p.image.Run(ctx, inputs)
	if err != nil {
		return nil, err
	}
	return &Embedded{frame, out}, nil
}

// A Prediction is one mask: at the image's size, and as low-resolution logits of side Side. IoU is the model's own estimate of the mask's quality, nil
// where it gives none.
type Prediction struct {
	Mask   *pictures.Mask
	Logits []float32
	Side   int
	IoU    *float64
}

// Predict gives the mask of one prompt.
func (p *Predictor) Predict(ctx context.Context, e *Embedded, pr prompt.Prompt) (*Prediction, error) {
	session := p.decoder
	var inputs map[string]*tensor.Tensor
	var err error
	switch {
	case p.prompts.OneGraph && pr.Text != nil, pr.Text != nil && p.texts == nil:
		return nil, errNoText(p.man)
	case p.prompts.OneGraph:
		session = p.image
		inputs, err = p.prompts.Image(e.Features["image"], e.Frame, pr)
	default:
		if pr.Text != nil {
			session = p.texts
		}
		inputs, err = p.prompts.Decoder(e.Features, session.Inputs(), e.Frame, pr)
	}
	if err != nil {
		return nil, err
	}
	out, err := session.Run(ctx, inputs)
	if err != nil {
		return nil, err
	}
	logits, err := p.prompts.Logits(out)
	if err != nil {
		return nil, err
	}
	side := int(p.prompts.Side())
	m, err := pictures.MaskOf(logits, side, e.Frame, p.man.Postprocess)
	return &Prediction{m, logits, side, p.prompts.Estimate(out)}, err
}

// Text gives the embedding of a text's token numbers (package prompt/tokens), which a prompt then has. It is not to be called beside Predict. Models
// that take no text are refused.
func (p *Predictor) Text(ctx context.Context, ids []int64) ([]float32, error) {
	names := p.man.Texts()
	if names == nil {
		return nil, errNoText(p.man)
	}
	if most, ok := p.man.Config["text_tokens"].(float64); !ok || float64(len(ids)) > most { // JSON's numbers
		return nil, fmt.Errorf("text: have %d tokens, want at most the %g of the model (config.text_tokens)", len(ids), most)
	}
	encoder, err := engine.Load(p.engine, filepath.Join(p.dir, names[0]), p.options)
	if err != nil {
		return nil, err
	}
	out, err := encoder.Run(ctx, map[string]*tensor.Tensor{"input_ids": tensor.FromInt64([]int64{1, int64(len(ids))}, ids)})
	var embedding []float32
	if t := out["text_embedding"]; err == nil && t != nil {
		embedding = slices.Clone(t.Float32s())
	}
	if err = errors.Join(err, encoder.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", names[0], err)
	}
	if len(embedding) == 0 {
		return nil, fmt.Errorf("%s: text_embedding: want float32 [1,C]", names[0])
	}
	if p.texts == nil {
		p.texts, err = engine.Load(p.engine, filepath.Join(p.dir, names[1]), p.options)
	}
	return embedding, err
}

// errNoText says that a model takes no text.
func errNoText(man *artifact.Manifest) error {
	return fmt.Errorf("%s takes no text: want a box or points", man.Family)
}

// EncoderInputs prepares a picture for the graph of an artifact that reads it; where prompts are planes, with a box around its middle half.
func EncoderInputs(m *pictures.Image, man *artifact.Manifest) (map[string]*tensor.Tensor, error) {
	inputs, _, err := encoderInputs(m, man)
	return inputs, err
}

func encoderInputs(m *pictures.Image, man *artifact.Manifest) (map[string]*tensor.Tensor, pictures.Frame, error) {
	if i := man.Interface; i != nil && i.Image.ResizedBy == "graph" {
		return asItIs(m, man)
	}
	x, f, err := pictures.Prepare(m, man.Preprocess)
	if err != nil {
		return nil, f, err
	}
	inputs, err := prompt.Of(man.Meta, man.Encoder() == artifact.OneGraph).Image(x, f, prompt.Probes(f, nil)[0])
	return inputs, f, err
}

// asItIs gives a picture to a graph that resizes and normalises inside.
func asItIs(m *pictures.Image, man *artifact.Manifest) (map[string]*tensor.Tensor, pictures.Frame, error) {
	how, s := man.Interface.Image, int(man.Preprocess.Size)
	f := pictures.NewFrame(m.W, m.H, s)
	if man.Preprocess.Resize == "stretch" {
		f.InW, f.InH = s, s
	}
	x, err := tensor.New(tensor.Uint8, []int64{int64(m.H), int64(m.W), 3}, m.Pix)
	if err == nil && how.Layout == "CHW" {
		x, err = tensor.Transpose(x, 2, 0, 1)
	}
	if err != nil {
		return nil, f, err
	}
	for _, g := range man.Interface.Graphs {
		for _, in := range g.Inputs {
			if in.Name == how.Input && in.DType == tensor.Float32.String() {
				x = tensor.Cast(x, tensor.Float32)
			}
		}
	}
	return map[string]*tensor.Tensor{how.Input: tensor.Dense(x)}, f, nil
}

// ours refuses graphs that a client calls in its own way.
func ours(dir string, man *artifact.Manifest) error {
	if man.Client == "" || man.Client == "official" {
		return nil
	}
	return fmt.Errorf("%s: its graphs have the inputs of --client %s, which runs them; to run, verify or serve the model here build it without --client too", dir, man.Client)
}
