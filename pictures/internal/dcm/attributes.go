package dcm

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Tag is a group and an element number; it prints as the attribute's name.
type Tag uint32

func (t Tag) String() string {
	if a := attributes[t]; a.name != "" {
		return a.name
	}
	return fmt.Sprintf("(%04X,%04X)", uint32(t>>16), uint32(t&0xffff))
}

// The attributes that are kept (PS3.6).
const (
	TransferSyntaxUID            = Tag(0x00020010)
	SOPInstanceUID               = Tag(0x00080018)
	SpecificCharacterSet         = Tag(0x00080005)
	SOPClassUID                  = Tag(0x00080016)
	StudyDate                    = Tag(0x00080020)
	StudyTime                    = Tag(0x00080030)
	AccessionNumber              = Tag(0x00080050)
	ReferringPhysicianName       = Tag(0x00080090)
	StudyDescription             = Tag(0x00081030)
	PatientName                  = Tag(0x00100010)
	PatientID                    = Tag(0x00100020)
	IssuerOfPatientID            = Tag(0x00100021)
	PatientBirthDate             = Tag(0x00100030)
	PatientSex                   = Tag(0x00100040)
	PatientAge                   = Tag(0x00101010)
	SliceThickness               = Tag(0x00180050)
	SpacingBetweenSlices         = Tag(0x00180088)
	StudyInstanceUID             = Tag(0x0020000d)
	StudyID                      = Tag(0x00200010)
	FrameOfReferenceUID          = Tag(0x00200052)
	PositionReferenceIndicator   = Tag(0x00201040)
	SeriesInstanceUID            = Tag(0x0020000e)
	InstanceNumber               = Tag(0x00200013)
	ImagePosition                = Tag(0x00200032)
	ImageOrientation             = Tag(0x00200037)
	SamplesPerPixel              = Tag(0x00280002)
	PixelSpacing                 = Tag(0x00280030)
	PhotometricInterpretation    = Tag(0x00280004)
	PlanarConfiguration          = Tag(0x00280006)
	NumberOfFrames               = Tag(0x00280008)
	Rows                         = Tag(0x00280010)
	Columns                      = Tag(0x00280011)
	BitsAllocated                = Tag(0x00280100)
	BitsStored                   = Tag(0x00280101)
	HighBit                      = Tag(0x00280102)
	PixelRepresentation          = Tag(0x00280103)
	PixelPaddingValue            = Tag(0x00280120)
	PixelPaddingRangeLimit       = Tag(0x00280121)
	FloatPixelPaddingValue       = Tag(0x00280122)
	DoubleFloatPixelPaddingValue = Tag(0x00280123)
	LossyImageCompression        = Tag(0x00282110)
	WindowCenter                 = Tag(0x00281050)
	WindowWidth                  = Tag(0x00281051)
	RescaleIntercept             = Tag(0x00281052)
	RescaleSlope                 = Tag(0x00281053)
	VOILUTFunction               = Tag(0x00281056)
	RedPaletteDescriptor         = Tag(0x00281101)
	GreenPaletteDescriptor       = Tag(0x00281102)
	BluePaletteDescriptor        = Tag(0x00281103)
	RedPaletteData               = Tag(0x00281201)
	GreenPaletteData             = Tag(0x00281202)
	BluePaletteData              = Tag(0x00281203)
	SegmentedRedPaletteData      = Tag(0x00281221)
	SegmentedGreenPaletteData    = Tag(0x00281222)
	SegmentedBluePaletteData     = Tag(0x00281223)
	ModalityLUTSequence          = Tag(0x00283000)
	LUTDescriptor                = Tag(0x00283002)
	LUTData                      = Tag(0x00283006)
	VOILUTSequence               = Tag(0x00283010)
	FrameVOILUTSequence          = Tag(0x00289132)
	PixelValueTransformation     = Tag(0x00289145)
	PresentationLUTSequence      = Tag(0x20500010)
	PresentationLUTShape         = Tag(0x20500020)
	PixelMeasuresSequence        = Tag(0x00289110)
	PlanePositionSequence        = Tag(0x00209113)
	PlaneOrientationSequence     = Tag(0x00209116)
	SharedFunctionalGroups       = Tag(0x52009229)
	PerFrameFunctionalGroups     = Tag(0x52009230)
	ExtendedOffsetTable          = Tag(0x7fe00001)
	FloatPixelData               = Tag(0x7fe00008)
	DoubleFloatPixelData         = Tag(0x7fe00009)
	PixelData                    = Tag(0x7fe00010)
)

// attributes are their names and value representations; "XS" is US, or SS where pixels are signed.
var attributes = map[Tag]struct{ name, vr string }{
	TransferSyntaxUID:            {"Transfer Syntax UID", "UI"},
	SOPInstanceUID:               {"SOP Instance UID", "UI"},
	SpecificCharacterSet:         {"Specific Character Set", "CS"},
	SOPClassUID:                  {"SOP Class UID", "UI"},
	StudyDate:                    {"Study Date", "DA"},
	StudyTime:                    {"Study Time", "TM"},
	AccessionNumber:              {"Accession Number", "SH"},
	ReferringPhysicianName:       {"Referring Physician's Name", "PN"},
	StudyDescription:             {"Study Description", "LO"},
	PatientName:                  {"Patient's Name", "PN"},
	PatientID:                    {"Patient ID", "LO"},
	IssuerOfPatientID:            {"Issuer of Patient ID", "LO"},
	PatientBirthDate:             {"Patient's Birth Date", "DA"},
	PatientSex:                   {"Patient's Sex", "CS"},
	PatientAge:                   {"Patient's Age", "AS"},
	SliceThickness:               {"Slice Thickness", "DS"},
	SpacingBetweenSlices:         {"Spacing Between Slices", "DS"},
	StudyInstanceUID:             {"Study Instance UID", "UI"},
	StudyID:                      {"Study ID", "SH"},
	FrameOfReferenceUID:          {"Frame of Reference UID", "UI"},
	PositionReferenceIndicator:   {"Position Reference Indicator", "LO"},
	SeriesInstanceUID:            {"Series Instance UID", "UI"},
	InstanceNumber:               {"Instance Number", "IS"},
	ImagePosition:                {"Image Position (Patient)", "DS"},
	ImageOrientation:             {"Image Orientation (Patient)", "DS"},
	SamplesPerPixel:              {"Samples per Pixel", "US"},
	PixelSpacing:                 {"Pixel Spacing", "DS"},
	PhotometricInterpretation:    {"Photometric Interpretation", "CS"},
	PlanarConfiguration:          {"Planar Configuration", "US"},
	NumberOfFrames:               {"Number of Frames", "IS"},
	Rows:                         {"Rows", "US"},
	Columns:                      {"Columns", "US"},
	BitsAllocated:                {"Bits Allocated", "US"},
	BitsStored:                   {"Bits Stored", "US"},
	HighBit:                      {"High Bit", "US"},
	PixelRepresentation:          {"Pixel Representation", "US"},
	PixelPaddingValue:            {"Pixel Padding Value", "XS"},
	PixelPaddingRangeLimit:       {"Pixel Padding Range Limit", "XS"},
	FloatPixelPaddingValue:       {"Float Pixel Padding Value", "FL"},
	DoubleFloatPixelPaddingValue: {"Double Float Pixel Padding Value", "FD"},
	LossyImageCompression:        {"Lossy Image Compression", "CS"},
	WindowCenter:                 {"Window Center", "DS"},
	WindowWidth:                  {"Window Width", "DS"},
	RescaleIntercept:             {"Rescale Intercept", "DS"},
	RescaleSlope:                 {"Rescale Slope", "DS"},
	VOILUTFunction:               {"VOI LUT Function", "CS"},
	RedPaletteDescriptor:         {"Red Palette Color Lookup Table Descriptor", "XS"},
	GreenPaletteDescriptor:       {"Green Palette Color Lookup Table Descriptor", "XS"},
	BluePaletteDescriptor:        {"Blue Palette Color Lookup Table Descriptor", "XS"},
	RedPaletteData:               {"Red Palette Color Lookup Table Data", "OW"},
	GreenPaletteData:             {"Green Palette Color Lookup Table Data", "OW"},
	BluePaletteData:              {"Blue Palette Color Lookup Table Data", "OW"},
	SegmentedRedPaletteData:      {"Segmented Red Palette Color Lookup Table Data", "OW"},
	SegmentedGreenPaletteData:    {"Segmented Green Palette Color Lookup Table Data", "OW"},
	SegmentedBluePaletteData:     {"Segmented Blue Palette Color Lookup Table Data", "OW"},
	ModalityLUTSequence:          {"Modality LUT Sequence", "SQ"},
	LUTDescriptor:                {"LUT Descriptor", "XS"},
	LUTData:                      {"LUT Data", "OW"},
	VOILUTSequence:               {"VOI LUT Sequence", "SQ"},
	FrameVOILUTSequence:          {"Frame VOI LUT Sequence", "SQ"},
	PixelValueTransformation:     {"Pixel Value Transformation Sequence", "SQ"},
	PresentationLUTSequence:      {"Presentation LUT Sequence", "SQ"},
	PresentationLUTShape:         {"Presentation LUT Shape", "CS"},
	PixelMeasuresSequence:        {"Pixel Measures Sequence", "SQ"},
	PlanePositionSequence:        {"Plane Position Sequence", "SQ"},
	PlaneOrientationSequence:     {"Plane Orientation Sequence", "SQ"},
	SharedFunctionalGroups:       {"Shared Functional Groups Sequence", "SQ"},
	PerFrameFunctionalGroups:     {"Per-Frame Functional Groups Sequence", "SQ"},
	ExtendedOffsetTable:          {"Extended Offset Table", "OV"},
	FloatPixelData:               {"Float Pixel Data", "OF"},
	DoubleFloatPixelData:         {"Double Float Pixel Data", "OD"},
	PixelData:                    {"Pixel Data", "OW"},
}

// A Dataset holds the attributes that are kept, of a file or of an item.
type Dataset struct {
	elements []Element // few: those that the table has, each once
	order    binary.ByteOrder
}

func (d *Dataset) get(t Tag) (e Element, ok bool) {
	for i := range d.elements {
		if d.elements[i].Tag == t {
			return d.elements[i], true
		}
	}
	return Element{Tag: t}, false
}

func (d *Dataset) at(t Tag) Element { e, _ := d.get(t); return e }

// set keeps an element that the table has, the last of a tag.
func (d *Dataset) set(e Element) {
	if attributes[e.Tag].name == "" {
		return
	}
	for i := range d.elements {
		if d.elements[i].Tag == e.Tag {
			d.elements[i] = e
			return
		}
	}
	d.elements = append(d.elements, e)
}

// Tags are the attributes that are there.
func (d *Dataset) Tags() (out []Tag) {
	for _, e := range d.elements {
		out = append(out, e.Tag)
	}
	return out
}

// Has reports whether an attribute is there and not empty.
func (d *Dataset) Has(t Tag) bool {
	e, ok := d.get(t)
	return ok && (len(trim(e.Value)) > 0 || len(e.Value) > 0 && binaryNumbers[d.vr(e)] || len(e.Items) > 0)
}

// Text is an attribute's first string, empty where there is none.
func (d *Dataset) Text(t Tag) string {
	first, _, _ := strings.Cut(string(d.at(t).Value), `\`)
	return trim([]byte(first))
}

// Items are those of a sequence.
func (d *Dataset) Items(t Tag) []*Dataset { return d.at(t).Items }

// Bytes are an attribute's value and whether it is written as single bytes (OB) rather than as words.
func (d *Dataset) Bytes(t Tag) (b []byte, single bool) {
	return d.at(t).Value, d.at(t).VR == "OB"
}

// Order is the byte order of its words.
func (d *Dataset) Order() binary.ByteOrder { return d.order }

var binaryNumbers = map[string]bool{"US": true, "SS": true, "UL": true, "SL": true, "FL": true, "FD": true, "XS": true, "OW": true, "OB": true}

// vr is the representation that the file gives if it is one of numbers, else the dictionary's.
func (d *Dataset) vr(e Element) string {
	if binaryNumbers[e.VR] && e.VR[0] != 'O' || e.VR == "DS" || e.VR == "IS" {
		return e.VR
	}
	return attributes[e.Tag].vr
}

// Numbers are an attribute's values; signed says how those are read that follow the pixels' sign. Errors name the attribute.
func (d *Dataset) Numbers(t Tag, signed bool) ([]float64, error) {
	e := d.at(t)
	vr := d.vr(e)
	if vr == "XS" {
		vr = map[bool]string{false: "US", true: "SS"}[signed]
	}
	var out []float64
	each := func(size int, read func(b []byte) float64) ([]float64, error) {
		if len(e.Value)%size != 0 {
			return nil, fmt.Errorf("%s: have %d bytes, want a multiple of %d", t, len(e.Value), size)
		}
		for i := 0; i < len(e.Value); i += size {
			out = append(out, read(e.Value[i:]))
		}
		return out, nil
	}
	switch vr {
	case "US":
		return each(2, func(b []byte) float64 { return float64(d.order.Uint16(b)) })
	case "SS":
		return each(2, func(b []byte) float64 { return float64(int16(d.order.Uint16(b))) })
	case "UL":
		return each(4, func(b []byte) float64 { return float64(d.order.Uint32(b)) })
	case "SL":
		return each(4, func(b []byte) float64 { return float64(int32(d.order.Uint32(b))) })
	case "FL":
		return each(4, func(b []byte) float64 { return float64(math.Float32frombits(d.order.Uint32(b))) })
	case "FD":
		return each(8, func(b []byte) float64 { return math.Float64frombits(d.order.Uint64(b)) })
	}
	text := trim(e.Value)
	if text == "" {
		return nil, nil
	}
	for _, s := range strings.Split(text, `\`) {
		f, err := strconv.ParseFloat(strings.Trim(s, " \x00"), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%s: have %q, want a number", t, s)
		}
		out = append(out, f)
	}
	return out, nil
}

// Number is an attribute's first number, absent where there is none.
func (d *Dataset) Number(t Tag, absent float64) (float64, error) {
	all, err := d.Numbers(t, false)
	if err != nil || len(all) == 0 {
		return absent, err
	}
	return all[0], nil
}

// A Syntax is a transfer syntax (PS3.5 annex A): how pixels are compressed.
type Syntax struct {
	UID      string
	Name     string
	Codec    Codec
	Deflated bool
}

// A Codec is a way to compress pixels; Unread has no decoder here.
type Codec int

const (
	Native Codec = iota
	RLE
	JPEG
	JPEGLS
	Unread
)

const (
	implicitLittle = "1.2.840.10008.1.2"
	explicitLittle = "1.2.840.10008.1.2.1"
	explicitBig    = "1.2.840.10008.1.2.2"
)

// toDecompress are the commands that write a file without compression, for which codec.
var toDecompress = []struct{ words, command string }{
	{"JPEG 2000", "gdcmconv --raw IN OUT"},
	{"JPIP", "fetch the pixels from the server that the file names"},
	{"MPEG", "ffmpeg takes the frames out of the video; gdcmraw writes the video of the file"},
	{"HEVC", "ffmpeg takes the frames out of the video; gdcmraw writes the video of the file"},
	{"JPEG XL", "dcm2img, or djxl on the stream that gdcmraw writes"},
	{"", "gdcmconv --raw IN OUT, or dcmdjpeg IN OUT"},
}

// WayOut is the command that converts a file whose compression is not read.
func (s Syntax) WayOut() string {
	for _, c := range toDecompress {
		if strings.Contains(s.Name, c.words) {
			return c.command
		}
	}
	return ""
}

var syntaxes = map[string]Syntax{
	implicitLittle:              {Name: "Implicit VR Little Endian"},
	explicitLittle:              {Name: "Explicit VR Little Endian"},
	explicitBig:                 {Name: "Explicit VR Big Endian"},
	"1.2.840.10008.1.2.1.98":    {Name: "Encapsulated Uncompressed Explicit VR Little Endian", Codec: Unread},
	"1.2.840.10008.1.2.1.99":    {Name: "Deflated Explicit VR Little Endian", Deflated: true},
	"1.2.840.10008.1.2.5":       {Name: "RLE Lossless", Codec: RLE},
	"1.2.840.10008.1.2.8.1":     {Name: "Deflated Image Frame Compression", Codec: Unread},
	"1.2.840.10008.1.2.4.50":    {Name: "JPEG Baseline (Process 1)", Codec: JPEG},
	"1.2.840.10008.1.2.4.51":    {Name: "JPEG Extended (Process 2 and 4)", Codec: JPEG},
	"1.2.840.10008.1.2.4.57":    {Name: "JPEG Lossless (Process 14)", Codec: JPEG},
	"1.2.840.10008.1.2.4.70":    {Name: "JPEG Lossless (Process 14, Selection Value 1)", Codec: JPEG},
	"1.2.840.10008.1.2.4.80":    {Name: "JPEG-LS Lossless", Codec: JPEGLS},
	"1.2.840.10008.1.2.4.81":    {Name: "JPEG-LS Near-Lossless", Codec: JPEGLS},
	"1.2.840.10008.1.2.4.90":    {Name: "JPEG 2000 Lossless", Codec: Unread},
	"1.2.840.10008.1.2.4.91":    {Name: "JPEG 2000", Codec: Unread},
	"1.2.840.10008.1.2.4.92":    {Name: "JPEG 2000 Multi-component Lossless", Codec: Unread},
	"1.2.840.10008.1.2.4.93":    {Name: "JPEG 2000 Multi-component", Codec: Unread},
	"1.2.840.10008.1.2.4.94":    {Name: "JPIP Referenced", Codec: Unread},
	"1.2.840.10008.1.2.4.95":    {Name: "JPIP Referenced Deflate", Codec: Unread},
	"1.2.840.10008.1.2.4.100":   {Name: "MPEG2 Main Profile, Main Level", Codec: Unread},
	"1.2.840.10008.1.2.4.100.1": {Name: "Fragmentable MPEG2 Main Profile, Main Level", Codec: Unread},
	"1.2.840.10008.1.2.4.101":   {Name: "MPEG2 Main Profile, High Level", Codec: Unread},
	"1.2.840.10008.1.2.4.101.1": {Name: "Fragmentable MPEG2 Main Profile, High Level", Codec: Unread},
	"1.2.840.10008.1.2.4.102":   {Name: "MPEG-4 AVC/H.264 High Profile", Codec: Unread},
	"1.2.840.10008.1.2.4.102.1": {Name: "Fragmentable MPEG-4 AVC/H.264 High Profile", Codec: Unread},
	"1.2.840.10008.1.2.4.103":   {Name: "MPEG-4 AVC/H.264 BD-compatible High Profile", Codec: Unread},
	"1.2.840.10008.1.2.4.103.1": {Name: "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile", Codec: Unread},
	"1.2.840.10008.1.2.4.104":   {Name: "MPEG-4 AVC/H.264 High Profile for 2D Video", Codec: Unread},
	"1.2.840.10008.1.2.4.105":   {Name: "MPEG-4 AVC/H.264 High Profile for 3D Video", Codec: Unread},
	"1.2.840.10008.1.2.4.106":   {Name: "MPEG-4 AVC/H.264 Stereo High Profile", Codec: Unread},
	"1.2.840.10008.1.2.4.107":   {Name: "HEVC/H.265 Main Profile", Codec: Unread},
	"1.2.840.10008.1.2.4.108":   {Name: "HEVC/H.265 Main 10 Profile", Codec: Unread},
	"1.2.840.10008.1.2.4.110":   {Name: "JPEG XL Lossless", Codec: Unread},
	"1.2.840.10008.1.2.4.111":   {Name: "JPEG XL JPEG Recompression", Codec: Unread},
	"1.2.840.10008.1.2.4.112":   {Name: "JPEG XL", Codec: Unread},
	"1.2.840.10008.1.2.4.201":   {Name: "High-Throughput JPEG 2000 Lossless", Codec: Unread},
	"1.2.840.10008.1.2.4.202":   {Name: "High-Throughput JPEG 2000 RPCL Lossless", Codec: Unread},
	"1.2.840.10008.1.2.4.203":   {Name: "High-Throughput JPEG 2000", Codec: Unread},
	"1.2.840.10008.1.2.4.52":    {Name: "JPEG Extended (Process 3 and 5)", Codec: Unread},
	"1.2.840.10008.1.2.4.53":    {Name: "JPEG Spectral Selection (Process 6 and 8)", Codec: Unread},
	"1.2.840.10008.1.2.4.55":    {Name: "JPEG Full Progression (Process 10 and 12)", Codec: Unread},
}
