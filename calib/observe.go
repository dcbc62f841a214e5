package calib

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"syncsam-convert/engine"
	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
	"syncsam-convert/quantizer"
)

// An Observer runs a module's float graphs over calibration images.
type Observer struct {
	Module  *ir.Module
	Engine  string
	Options engine.Options
	Dir     string // for the files of engines that are not embedded
	Seen    func() // told of each image; nil for nobody
	// Keep is given what Collect observes of each image, by key; nil for nobody. The tensors are not written to again.
	Keep func(image string, values map[string]*tensor.Tensor)
}

// Collect adds the statistics of images to s: ranges of what the scope quantizes, and with peaks the largest amplitude of every
// floating-point value of encoder and decoder, too.
func (o *Observer) Collect(ctx context.Context, s *Stats, scope quant.Scope, peaks bool, images []string) error {
	g := o.Module.Encoder()
	keys := ir.Keys(g)
	s.Last = map[string]bool{}
	sites := quantizer.FindSites(g, scope)
	w := engine.Watch{Values: sites.Observed()}
	for _, v := range w.Values {
		s.Last[keys[v]] = sites.ChannelsLast(v)
	}
	if len(w.Values) == 0 && !peaks {
		return errors.New("int8: the model has nothing to quantize; --quantize linear takes the ViT's linear layers")
	}
	r, err := o.watch(w, peaks)
	if err != nil {
		return err
	}
	defer r.close()
	return s.Collect(ctx, len(images), func(i int) (map[string]*tensor.Tensor, error) {
		picture, err := pictures.Read(images[i])
		if err != nil {
			return nil, err
		}
		values, err := r.observe(ctx, picture, s.Peaks)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", images[i], err)
		}
		if o.Keep != nil {
			o.Keep(images[i], values)
		}
		return values, nil
	}, o.Seen)
}

// watch loads the graph that reads the image under a watch, and with peaks watches every amplitude of it and of the decoder.
func (o *Observer) watch(w engine.Watch, peaks bool) (*observation, error) {
	g := o.Module.Encoder()
	r := &observation{prompts: prompt.OfModule(o.Module), preprocess: o.Module.Meta.Preprocess, graphs: []*ir.Graph{g}, keys: []map[*ir.Value]string{ir.Keys(g)}}
	if peaks {
		w.Peaks = amplitudes(g)
		if d := o.Module.Graph("decoder"); d != nil {
			if err := r.load(o, d, engine.Watch{Peaks: amplitudes(d)}); err != nil {
				return nil, err
			}
			r.decoder, r.graphs, r.keys = r.image, append(r.graphs, d), append(r.keys, ir.Keys(d))
		}
	}
	if err := r.load(o, g, w); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// Finite runs a compiled module over images as Collect runs the float one. A value of encoder or decoder that is NaN or infinite is an
// error that names the graph and the first such value.
func (o *Observer) Finite(ctx context.Context, images []string) error {
	r, err := o.watch(engine.Watch{}, true)
	if err != nil {
		return err
	}
	defer r.close()
	for _, path := range images {
		picture, err := pictures.Read(path)
		if err == nil {
			_, err = r.observe(ctx, picture, map[string]float32{})
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if o.Seen != nil {
			o.Seen()
		}
	}
	return nil
}

// Inputs gives what the graph that reads the image takes of each image.
func (o *Observer) Inputs(ctx context.Context, images []string) ([]map[string]*tensor.Tensor, error) {
	r := &observation{prompts: prompt.OfModule(o.Module), preprocess: o.Module.Meta.Preprocess}
	defer r.close()
	if r.prompts.OneGraph {
		if err := r.load(o, o.Module.Encoder(), engine.Watch{}); err != nil {
			return nil, err
		}
	}
	out := make([]map[string]*tensor.Tensor, len(images))
	for i, path := range images {
		picture, err := pictures.Read(path)
		if err != nil {
			return nil, err
		}
		if out[i], _, err = r.inputs(ctx, picture); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return out, nil
}

// amplitudes are the values of a graph whose peaks decide where float16 holds them.
func amplitudes(g *ir.Graph) []*ir.Value {
	return slices.DeleteFunc(slices.Clone(g.Values), func(v *ir.Value) bool {
		return v.IsConst() || v.IsInput() || v.Type.DType != tensor.Float32 && v.Type.DType != tensor.Float16
	})
}

// An observation is one model that is being watched.
type observation struct {
	prompts        prompt.Interface
	preprocess     ir.Preprocess
	image, decoder engine.Watched // decoder: nil where it is not watched
	graphs         []*ir.Graph    // the image's, the decoder's
	keys           []map[*ir.Value]string
	open           []engine.Watched
}

func (r *observation) load(o *Observer, g *ir.Graph, w engine.Watch) error {
	session, err := engine.LoadWatched(o.Engine, g, w, o.Dir, o.Options)
	if err == nil {
		r.image, r.open = session, append(r.open, session)
	}
	return err
}

func (r *observation) close() {
	for _, s := range r.open {
		s.Close()
	}
}

// inputs prepares an image; where prompts are planes, for a batch of all probes, the last with the logits that the second gave.
func (r *observation) inputs(ctx context.Context, picture *pictures.Image) (map[string]*tensor.Tensor, pictures.Frame, error) {
	x, frame, err := pictures.Prepare(picture, r.preprocess)
	if err != nil || !r.prompts.OneGraph {
		return map[string]*tensor.Tensor{"image": x}, frame, err
	}
	first, err := r.prompts.Image(x, frame, prompt.Probes(frame, nil)[1])
	if err != nil {
		return nil, frame, err
	}
	seen, err := r.image.Run(ctx, first)
	if err != nil {
		return nil, frame, err
	}
	logits, err := r.prompts.Logits(seen.Outputs)
	if err != nil {
		return nil, frame, err
	}
	inputs, err := r.prompts.Image(x, frame, prompt.Probes(frame, logits)...)
	return inputs, frame, err
}

// observe gives the watched values of one image by key, and adds to peaks.
func (r *observation) observe(ctx context.Context, picture *pictures.Image, peaks map[string]float32) (map[string]*tensor.Tensor, error) {
	inputs, frame, err := r.inputs(ctx, picture)
	if err != nil {
		return nil, err
	}
	seen, err := r.image.Run(ctx, inputs)
	if err != nil {
		return nil, err
	}
	if err := take(seen, r.graphs[0], r.keys[0], peaks); err != nil {
		return nil, err
	}
	values := map[string]*tensor.Tensor{}
	for v, t := range seen.Values {
		values[r.keys[0][v]] = t
	}
	if r.decoder == nil {
		return values, nil
	}
	var logits []float32
	for i := range prompt.Probes(frame, nil) {
		in, err := r.prompts.Decoder(seen.Outputs, r.decoder.Inputs(), frame, prompt.Probes(frame, logits)[i])
		if err != nil {
			return nil, err
		}
		out, err := r.decoder.Run(ctx, in)
		if err != nil {
			return nil, err
		}
		if err := take(out, r.graphs[1], r.keys[1], peaks); err != nil {
			return nil, err
		}
		if logits, err = r.prompts.Feedback(out.Outputs); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// take adds what a run has shown to the largest amplitudes by key; one that is no number is an error, which names the first in order.
func take(seen *engine.Seen, g *ir.Graph, keys map[*ir.Value]string, peaks map[string]float32) error {
	for _, v := range g.Values {
		p, ok := seen.Peaks[v]
		if !ok {
			continue
		}
		if p-p != 0 {
			return fmt.Errorf("graph %s: value %q (%s): its largest amplitude is %v", g.Name, keys[v], v.Type.DType, p)
		}
		peaks[keys[v]] = max(peaks[keys[v]], p)
	}
	return nil
}
