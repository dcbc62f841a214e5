package golden

import (
	"context"
	"fmt"

	"syncsam-convert/golden/metrics"
	"syncsam-convert/pictures"
)

// Noise is the size of float rounding in standard deviations of a feature: float32 sums in another order differ by as much (the same model in two
// engines, or in PyTorch). What an item gives under it is as good an answer as the one without.
const Noise = 2e-5

// The noise is given twice, once with the other sign: whichever way an item's answer is nearest to changing, one of them goes there.
var draws = []float64{Noise, -Noise}

// SameAnswer is the least overlap (DSC) of two predictions that count as one answer. Rounding moves single pixels of a contour; another
// answer is another object.
const SameAnswer = 0.9

// unstable reports whether a run's last prediction becomes another answer under noise of float rounding's size on what the encoder gave.
func (v *verification) unstable(ctx context.Context, image *loaded, o *outcome, run *Run) (bool, error) {
	for i, by := range draws {
		if len(image.noisy) == i {
			image.noisy = append(image.noisy, image.emb[0].Disturbed(fmt.Sprintf("%d %d", image.picture.W, image.picture.H), by))
		}
		other, err := again(ctx, v.p[0], image.noisy[i], o.truth, run)
		if err != nil {
			return false, err
		}
		if !sameAnswer(run.Mask, other.Mask) {
			return true, nil
		}
	}
	return false, nil
}

func sameAnswer(a, b *pictures.Mask) bool { return metrics.DSC(a, b) >= SameAnswer }
