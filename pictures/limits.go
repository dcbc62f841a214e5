package pictures

import (
	"fmt"

	"syncsam-convert/internal/memory"
)

// MaxPixels is what a file may claim for one picture before memory is taken for it, MaxVolumeBytes for all its values, decompressed.
var (
	MaxPixels      = 100_000_000
	MaxVolumeBytes = 2 << 30
)

// maxSlices is how many slices or frames a file may have: each takes some memory and time, also where it is a single pixel.
const maxSlices = 1 << 18

// volumesAtOnce share the memory that a run may take: a scan and its labels. shownBytes are what the steps from a picture to a network's input hold
// for each of its pixels, beside the values that it is made of.
const (
	volumesAtOnce = 2
	shownBytes    = 24
)

// within refuses sizes that are empty or past the limits, and gives the bytes of d pictures of w x h pixels of so many bytes.
func within(w, h, d, bytes int) (int, error) {
	switch {
	case w < 1 || h < 1 || d < 1:
		return 0, fmt.Errorf("have %d x %d x %d pixels, want at least one", w, h, d)
	case d > maxSlices:
		return 0, fmt.Errorf("have %d slices or frames, want at most %d", d, maxSlices)
	case w > MaxPixels/h:
		return 0, fmt.Errorf("have %d x %d pixels, want at most %d million; cut out a part or scale it down", w, h, MaxPixels/1_000_000)
	case bytes < 1 || d > MaxVolumeBytes/bytes/(w*h):
		return 0, fmt.Errorf("have %d x %d x %d pixels of %d bytes, want at most %d MB; cut out a part", w, h, d, bytes, MaxVolumeBytes>>20)
	}
	n := w * h * d * bytes
	return n, memory.Fits(fmt.Sprintf("have %d x %d x %d pixels of %d bytes", w, h, d, bytes), int64(n)+int64(w*h*shownBytes), volumesAtOnce)
}

// readable is how many bytes of a file are read into memory at most.
func readable() int64 { return min(int64(MaxVolumeBytes), memory.Limit()/volumesAtOnce) }

// What a byte of a file can become at most: Deflate's longest match takes two bits for 258 bytes, a code of LZW at most 12 bits for 4096, PackBits two
// bytes for 128. CCITT's shortest row takes a bit, WebP's shortest block nearly nothing: most pixels are told from fewer than a byte for so many.
const (
	deflateRatio  = 1032
	lzwRatio      = 4096
	packBitsRatio = 64
	webpRatio     = 1 << 14
	freePixels    = 16 << 20 // that a file of any size may have
)

// holds refuses a file whose bytes cannot be so many unpacked ones, before memory is taken for these.
func holds(packed int64, unpacked, ratio int) error {
	if int64(unpacked/ratio) > packed {
		return fmt.Errorf("not a readable picture: have %d bytes, which cannot hold the %d that its size needs: it is cut short or damaged", packed, unpacked)
	}
	return nil
}
