package compile

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"syncsam-convert/calib"
	"syncsam-convert/calib/reconstruct"
	"syncsam-convert/internal/memory"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/quantizer"
)

// roundingImages bounds how many calibration images choose integers: all are in memory at once.
const roundingImages = 32

// reconstruct rounds the layers' weights anew over calibration images; float is the encoder before it was quantized.
func (c *Calibrated) reconstruct(ctx context.Context, float, quantized *ir.Graph, layers []quantizer.Convolution) error {
	done := 0
	seen := func() {
		done++
		c.o.Progress(Event{"round", done, len(layers)})
	}
	if c.rounding != nil {
		return c.rounding.Run(ctx, quantized, layers, seen)
	}
	inputs, err := c.roundingInputs(ctx)
	if err != nil {
		return err
	}
	defer memory.Tight()()
	return reconstruct.Run(ctx, float, quantized, layers, inputs, c.seen.values(), seen)
}

// roundingInputs are what the graph that reads the image takes of the pictures that choose integers.
func (c *Calibrated) roundingInputs(ctx context.Context) ([]map[string]*tensor.Tensor, error) {
	images, err := calib.Images(c.o.Calibration)
	if err != nil {
		return nil, err
	}
	o, remove, err := c.observer(nil)
	if err != nil {
		return nil, err
	}
	defer remove()
	return o.Inputs(ctx, spread(images, roundingImages))
}

// spread chooses at most n of the calibration pictures, evenly.
func spread(images []string, n int) []string {
	n = min(len(images), n)
	chosen := make([]string, n)
	for i := range chosen {
		chosen[i] = images[i*len(images)/n]
	}
	return chosen
}

// mostKept bounds what an album holds, in bytes.
const mostKept = 256 << 20

// An album keeps of the float results that calibration observes on some images the smallest, which took most to compute: what lies
// behind a ViT need not be computed again.
type album struct {
	images []string
	kept   map[string]map[string]*tensor.Tensor // by image, by key
}

func newAlbum(images []string) *album {
	return &album{images: images, kept: map[string]map[string]*tensor.Tensor{}}
}

func (a *album) keep(image string, values map[string]*tensor.Tensor) {
	if !slices.Contains(a.images, image) {
		return
	}
	keys := slices.SortedFunc(maps.Keys(values), func(a, b string) int {
		return cmp.Or(cmp.Compare(values[a].NumBytes(), values[b].NumBytes()), cmp.Compare(a, b))
	})
	kept, size := map[string]*tensor.Tensor{}, int64(0)
	for _, key := range keys {
		if size += values[key].NumBytes(); size > mostKept/int64(len(a.images)) {
			break
		}
		kept[key] = values[key]
	}
	a.kept[image] = kept
}

// values are what is kept of every image, by key, in the images' order.
func (a *album) values() map[string][]*tensor.Tensor {
	if a == nil {
		return nil
	}
	out := map[string][]*tensor.Tensor{}
	for _, image := range a.images {
		for key, t := range a.kept[image] {
			out[key] = append(out[key], t)
		}
	}
	for key, results := range out {
		if len(results) < len(a.images) {
			delete(out, key)
		}
	}
	return out
}
