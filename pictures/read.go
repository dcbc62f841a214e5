// Package pictures turns picture files into network inputs, and logits into masks, as the models' own pipelines do.
package pictures

// An Image is RGB, 8 bits a channel, interleaved, row-major: Pix[(y*W+x)*3+c].
type Image struct {
	W, H int
	Pix  []uint8
}

// Look reads the picture that a name means (SplitName): a file, or a slice of one, and says what was understood of it. The content
// decides what a file is, not the end of its name. Grey becomes three equal channels. Values of more than 8 bits are mapped by the
// name's window, else the file's, else by all the bits that they need or, where they take less than a quarter of those, are signed or
// real, from the lowest to the highest; those of a NIfTI file by the middle 99 % of what is not 0. Alpha is dropped (not multiplied in);
// CMYK is converted without a colour profile; EXIF's orientation is applied. Errors name the file.
func Look(name string) (*Image, Facts, error) {
	path, part, err := SplitName(name)
	if err != nil {
		return nil, Facts{}, err
	}
	v, err := open(path, part)
	if err != nil {
		return nil, Facts{}, err
	}
	if v.onlyLabels {
		return nil, Facts{}, named(path, errOnlyLabels)
	}
	m, facts, err := v.picture(part)
	return m, facts, named(path, err)
}

// LookMask reads the mask that a name means, and says what was understood of it. Foreground is the label that the name asks for,
// else every value above 0 (negative ones are to be ignored) but the one that the name ignores; of colours all but black; 128 and more
// where lossy compression blurred black and white; what is not transparent where the colour does not vary. What could mean two
// things is refused. Errors name the file.
func LookMask(name string) (*Mask, Facts, error) {
	path, part, err := SplitName(name)
	if err != nil {
		return nil, Facts{}, err
	}
	v, err := open(path, part)
	if err != nil {
		return nil, Facts{}, err
	}
	m, facts, err := v.mask(part)
	return m, facts, named(path, err)
}

// Read is Look without the facts.
func Read(name string) (*Image, error) {
	m, _, err := Look(name)
	return m, err
}

// ReadMask is LookMask without the facts.
func ReadMask(name string) (*Mask, error) {
	m, _, err := LookMask(name)
	return m, err
}
