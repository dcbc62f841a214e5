package pictures

import "fmt"

// MaxPixels is what a file may claim for one picture before memory is taken for it, MaxVolumeBytes for all its values, decompressed.
var (
	MaxPixels      = 100_000_000
	MaxVolumeBytes = 2 << 30
)

// within refuses sizes that are empty or past the limits, and gives the bytes of d pictures of w x h pixels of so many bytes.
func within(w, h, d, bytes int) (int, error) {
	switch {
	case w < 1 || h < 1 || d < 1:
		return 0, fmt.Errorf("have %d x %d x %d pixels, want at least one", w, h, d)
	case w > MaxPixels/h:
		return 0, fmt.Errorf("have %d x %d pixels, want at most %d million; cut out a part or scale it down", w, h, MaxPixels/1_000_000)
	case bytes < 1 || d > MaxVolumeBytes/bytes/(w*h):
		return 0, fmt.Errorf("have %d x %d x %d pixels of %d bytes, want at most %d MB; cut out a part", w, h, d, bytes, MaxVolumeBytes>>20)
	}
	return w * h * d * bytes, nil
}
