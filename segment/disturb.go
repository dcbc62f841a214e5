package segment

import (
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"syncsam-convert/ir/tensor"
)

// Disturbed is e with seeded noise on every feature: uniform within by standard deviations of the feature, either way. A negative by gives
// the same noise with the other sign.
func (e *Embedded) Disturbed(seed string, by float64) *Embedded {
	out := &Embedded{e.Frame, map[string]*tensor.Tensor{}}
	for _, name := range slices.Sorted(maps.Keys(e.Features)) {
		t := e.Features[name]
		if t.DType() != tensor.Float32 {
			out.Features[name] = t
			continue
		}
		x := t.Float32s()
		sum, square := 0.0, 0.0
		for _, v := range x {
			sum, square = sum+float64(v), square+float64(float64(v)*float64(v))
		}
		n := float64(max(len(x), 1))
		scale := by * math.Sqrt(max(square/n-float64(sum/n*(sum/n)), 0))
		hash := fnv.New64a()
		hash.Write([]byte(seed + "\n" + name))
		noise, y := rand.NewPCG(hash.Sum64(), 0), make([]float32, len(x))
		for i, v := range x {
			y[i] = v + float32(scale*(float64(noise.Uint64()>>11)*0x1p-52-1))
		}
		out.Features[name] = tensor.FromFloat32(t.Dims(), y)
	}
	return out
}
