package pictures

// Facts say what was understood of a picture or mask file, beside its pixels. Readers fill them; the command picture prints them.
type Facts struct {
	Width       int         `json:"width"`  // pixels, as shown (after Orientation)
	Height      int         `json:"height"` // pixels, as shown
	Slices      int         `json:"slices"` // of a volume or a file of several frames; 1 for a picture
	Channels    int         `json:"channels"`
	Bits        int         `json:"bits"`                 // stored, per sample
	Codec       string      `json:"codec"`                // container and compression: "PNG", "DICOM, JPEG Lossless SV1", "NIfTI-1, gzip"
	Window      *[2]float64 `json:"window,omitempty"`     // LOW and HIGH of the grey values shown, in the file's own units; nil when 8 bits are taken as they are
	Rule        string      `json:"rule"`                 // how samples became 8 bits: "as stored", "window of the name", "window of the file", "its own range", ...
	Spacing     *[2]float64 `json:"spacing_mm,omitempty"` // width and height of a pixel as shown, in mm; nil where the file does not say
	Orientation string      `json:"orientation"`          // what was turned or mirrored to show it: "as stored", "EXIF 6, turned 90 degrees clockwise", ...
}
