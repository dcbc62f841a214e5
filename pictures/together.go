package pictures

import (
	"fmt"
	"math"
	"strings"
)

// Together refuses a volume of labels whose grid is not its image's: other sizes or, where the files say how they lie in space, another
// orientation, voxel size or place. It also wants one volume named of an image that has several. What is no volume is not looked at.
// Errors name the file.
func Together(image, mask string) error {
	imagePath, imagePart, err := SplitName(image)
	if err != nil {
		return err
	}
	maskPath, maskPart, err := SplitName(mask)
	if err != nil {
		return err
	}
	if !IsVolume(imagePath) || !IsVolume(maskPath) {
		return nil
	}
	a, err := open(imagePath, imagePart)
	if err != nil {
		return err
	}
	b, err := open(maskPath, maskPart)
	if err != nil {
		return err
	}
	if _, err := chosen(volumeKey, imagePart.Volume, max(a.n, 1)); err != nil {
		return named(imagePath, err)
	}
	switch {
	case a.w != b.w || a.h != b.h:
		return fmt.Errorf("%s: have %d x %d pixels, want the %d x %d of %s", maskPath, b.w, b.h, a.w, a.h, imagePath)
	case a.d != b.d:
		return fmt.Errorf("%s: have %d slices, want the %d of %s", imagePath, a.d, b.d, maskPath)
	case a.affine == nil && b.affine == nil, a.onlyLabels || b.onlyLabels:
		return nil
	case a.affine == nil || b.affine == nil:
		if strings.HasPrefix(a.facts.Codec, "NIfTI") && strings.HasPrefix(b.facts.Codec, "NIfTI") {
			return nil // written without an orientation: nothing contradicts
		}
		return fmt.Errorf("%s: it is %s and its image %s is %s, whose rows and slices may lie the other way: store both in one format", maskPath, b.facts.Codec, imagePath, a.facts.Codec)
	}
	off := 0.0
	for corner := range 8 {
		at := [3]float64{float64(corner & 1 * (a.w - 1)), float64(corner >> 1 & 1 * (a.h - 1)), float64(corner >> 2 & 1 * (a.d - 1))}
		sum := 0.0
		for r := range 3 {
			d := a.affine[r][3] - b.affine[r][3]
			for c := range 3 {
				d += (a.affine[r][c] - b.affine[r][c]) * at[c]
			}
			sum += d * d
		}
		off = max(off, math.Sqrt(sum))
	}
	if voxel := smallestVoxel(a.affine); !(off <= voxel/2) {
		return fmt.Errorf("%s: it lies %.3g mm from %s (axes %s, the image's %s), want at most half a voxel, %.3g mm: resample it to the image's grid, for example "+
			"with nibabel.processing.resample_from_to(labels, image, order=0)", maskPath, off, imagePath, axes(b.affine), axes(a.affine), voxel/2)
	}
	return nil
}

// smallestVoxel is the smallest edge of a voxel, in millimetres.
func smallestVoxel(a *[3][4]float64) float64 {
	smallest := math.Inf(1)
	for c := range 3 {
		smallest = min(smallest, math.Sqrt(a[0][c]*a[0][c]+a[1][c]*a[1][c]+a[2][c]*a[2][c]))
	}
	return smallest
}
