package pictures

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"syncsam-convert/internal/mapfile"
	"syncsam-convert/pictures/internal/dcm"
)

// A format is a kind of file. The content decides which one a file is; the end of its name decides where content does not (a damaged
// file), and what a folder is searched for. Readers name no file in their errors.
type format struct {
	name     string
	suffixes []string
	is       func(head []byte) bool
	volume   func(path string) (*volume, error)           // reads a file of slices; nil: picture does
	picture  func(f *source, frame *int) (*volume, error) // reads a picture, or a frame of it
	labels   bool                                         // of a volume: all are masks
}

var formats = []format{
	// The first: before its magic may stand a TIFF's head.
	{name: "DICOM", suffixes: []string{".dcm", ".dicom"}, is: dcm.HasMagic, volume: readDICOM},
	{name: "NIfTI", suffixes: []string{".nii", ".nii.gz", ".img", ".img.gz"}, is: isNIfTI, volume: readNIfTI},
	{name: "sparse labels", suffixes: []string{".npz"}, is: isArrays, volume: readSparse, labels: true},
	{name: "PNG", suffixes: []string{".png"}, is: starts("\x89PNG\r\n\x1a\n"), picture: readPNG},
	{name: "JPEG", suffixes: []string{".jpg", ".jpeg"}, is: starts("\xff\xd8\xff"), picture: readJPEG},
	{name: "BMP", suffixes: []string{".bmp"}, is: func(b []byte) bool {
		return len(b) > 18 && string(b[:2]) == "BM" && string(b[6:10]) == "\x00\x00\x00\x00"
	}, picture: readBMP},
	{name: "TIFF", suffixes: []string{".tif", ".tiff"}, is: starts("II*\x00", "MM\x00*", "II+\x00", "MM\x00+"), picture: readTIFF},
	{name: "GIF", suffixes: []string{".gif"}, is: starts("GIF87a", "GIF89a"), picture: readGIF},
	{name: "WebP", suffixes: []string{".webp"}, is: func(b []byte) bool { return len(b) > 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP" }, picture: readWebP},
	{name: "DICOM without preamble", is: dcm.Is, volume: readDICOM}, // the last: it is a guess
}

// foreign are kinds of files that are named when they are refused, and what to do.
var foreign = []struct {
	name, way string
	is        func(head []byte) bool
}{
	{"a Git LFS pointer", "run git lfs pull", starts("version https://git-lfs")},
	{"a web page", "download the file itself", func(b []byte) bool {
		text := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n"))
		return bytes.HasPrefix(text, []byte("<!doctype html")) || bytes.HasPrefix(text, []byte("<html"))
	}},
	{"an AppleDouble file of a Mac", "the picture lies beside it, without the ._", starts("\x00\x05\x16\x07", "\x00\x05\x16\x00")},
	{"JPEG 2000", "convert it to PNG or TIFF", starts("\x00\x00\x00\x0cjP  ", "\xff\x4f\xff\x51")},
	{"JPEG XL", "convert it to PNG", starts("\xff\x0a", "\x00\x00\x00\x0cJXL ")},
	{"HEIF or AVIF", "convert it to PNG", func(b []byte) bool { return len(b) > 12 && string(b[4:8]) == "ftyp" }},
	{"PDF", "extract the picture", starts("%PDF")},
	{"SVG", "render it to PNG", starts("<svg")},
	{"Netpbm", "convert it to PNG", func(b []byte) bool {
		return len(b) > 2 && b[0] == 'P' && strings.ContainsRune("1234567fF", rune(b[1])) && strings.ContainsRune(" \n\r\t#", rune(b[2]))
	}},
	{"OpenEXR", "convert it to TIFF", starts("v/1\x01")},
	{"Photoshop", "export it as PNG or TIFF", starts("8BPS")},
	{"an icon", "convert it to PNG", starts("\x00\x00\x01\x00", "icns")},
	{"DDS", "convert it to PNG", starts("DDS ")},
	{"NRRD", "convert it to NIfTI", starts("NRRD")},
	{"MetaImage", "convert it to NIfTI", starts("ObjectType", "NDims")},
	{"HDF5 (also MINC and MATLAB 7.3)", "convert it to NIfTI", starts("\x89HDF\r\n\x1a\n")},
	{"MINC", "convert it to NIfTI", starts("CDF\x01", "CDF\x02")},
	{"PAR/REC", "convert it to NIfTI", starts("# === DATA DESCRIPTION FILE")},
	{"a NumPy array", "store it as PNG, TIFF or NIfTI", starts("\x93NUMPY")},
}

func starts(with ...string) func([]byte) bool {
	return func(b []byte) bool {
		return slices.ContainsFunc(with, func(s string) bool { return bytes.HasPrefix(b, []byte(s)) })
	}
}

// headBytes is what tells a format.
const headBytes = 512

// kindOf tells the format of a file by what it begins with, decompressed; else by the end of its name.
func kindOf(path string, head []byte) (*format, error) {
	if header, _ := pairOf(path); header != path { // voxels have no signature
		if _, err := os.Stat(header); err == nil {
			return byName(path), nil
		}
	}
	if bytes.HasPrefix(head, []byte("\x1f\x8b")) {
		if z, err := gzip.NewReader(bytes.NewReader(head)); err == nil {
			inside, _ := io.ReadAll(z) // the head ends early
			if isNIfTI(inside) {
				head = inside
			}
		}
	}
	for i := range formats {
		if formats[i].is(head) {
			return &formats[i], nil
		}
	}
	for _, f := range foreign {
		if f.is(head) {
			return nil, fmt.Errorf("it is %s, which is not read: %s", f.name, f.way)
		}
	}
	if f := byName(path); f != nil {
		return f, nil
	}
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return nil, fmt.Errorf("not a readable picture: it is none of %s", strings.Join(names, ", "))
}

func byName(path string) *format {
	var best *format
	longest := 0
	for i, f := range formats {
		for _, s := range f.suffixes {
			if strings.HasSuffix(strings.ToLower(path), s) && len(s) > longest {
				best, longest = &formats[i], len(s)
			}
		}
	}
	return best
}

// PictureTypes are the ends of the names of files that hold one picture.
var PictureTypes = suffixes(false)

// VolumeTypes are the ends of the names of files that hold slices.
func VolumeTypes() []string { return suffixes(true) }

func suffixes(volumes bool) (out []string) {
	for _, f := range formats {
		if (f.volume != nil) == volumes {
			out = append(out, f.suffixes...)
		}
	}
	return out
}

// expected is the format of a file by its name; DICOM files (IM000001, 1.IMA) and folders of a series are known by their content.
func expected(path string) *format {
	f := byName(path)
	if f == nil && isDICOM(path) {
		f = byName(".dcm")
	}
	return f
}

// IsVolume reports whether a file is expected to be a volume.
func IsVolume(path string) bool {
	f := expected(path)
	return f != nil && f.volume != nil
}

// IsScan reports whether a file is expected to be a volume whose slices may be pictures, not of a label file.
func IsScan(path string) bool {
	f := expected(path)
	return f != nil && f.volume != nil && !f.labels
}

// IsJunk reports whether a file or folder of this name is what operating systems leave beside data: no picture, whatever its end.
func IsJunk(path string) bool {
	name := filepath.Base(path)
	return strings.HasPrefix(name, "._") || slices.Contains([]string{"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}, name)
}

var errOnlyLabels = errors.New("it holds labels, not pictures")

// named says which file an error is about, once.
func named(path string, err error) error {
	var p *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p) && p.Path == path:
		return fmt.Errorf("%s: %w", path, p.Err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// A source is an open picture file.
type source struct {
	*os.File
	size int64
}

// whole is the file's content. What a header claims does not matter to its size.
func (f *source) whole() ([]byte, error) {
	if f.size > readable() {
		return nil, fmt.Errorf("have %d bytes, want at most %d MB", f.size, readable()>>20)
	}
	b := make([]byte, f.size)
	_, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return b, err
}

// cachedVolumes is how many volumes stay in memory: a scan and its labels, so that slices in turns read each file once.
const cachedVolumes = 2

var cache struct {
	sync.Mutex
	kept []cached // the last used first
}

type cached struct {
	path     string
	modified time.Time
	volume   *volume
}

// open reads a file; of a picture file of several frames the one that the part names. Errors name the file.
func open(path string, p Part) (*volume, error) {
	v, err := load(path, p)
	return v, named(path, err)
}

func load(path string, p Part) (v *volume, err error) {
	defer func() {
		if r := recover(); r != nil { // a decoder that a hostile file broke
			v, err = nil, fmt.Errorf("not a readable picture: %v", r)
		}
	}()
	f, err := mapfile.Reader(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	kind := byName(".dcm") // of a folder, the series in it
	if !info.IsDir() {
		head := make([]byte, headBytes)
		n, err := f.ReadAt(head, 0)
		if err != nil && err != io.EOF {
			return nil, err
		}
		if kind, err = kindOf(path, head[:n]); err != nil {
			return nil, err
		}
	}
	if kind.volume == nil {
		v, err = kind.picture(&source{f, info.Size()}, p.Slice)
		if err == nil && v.facts.Codec == "" {
			v.facts.Codec = kind.name
		}
		return v, err
	}
	cache.Lock()
	defer cache.Unlock()
	for i, c := range cache.kept {
		if c.path == path && c.modified.Equal(info.ModTime()) {
			cache.kept = slices.Insert(slices.Delete(cache.kept, i, i+1), 0, c)
			return c.volume, nil
		}
	}
	if v, err = kind.volume(path); err != nil {
		return nil, err
	}
	v.onlyLabels = kind.labels
	if v.facts.Codec == "" {
		v.facts.Codec = kind.name
	}
	cache.kept = slices.Insert(cache.kept, 0, cached{path, info.ModTime(), v})
	cache.kept = cache.kept[:min(len(cache.kept), cachedVolumes)]
	return v, nil
}

// isArrays tells a zip archive whose first file is a NumPy array.
func isArrays(b []byte) bool {
	if !bytes.HasPrefix(b, []byte("PK\x03\x04")) || len(b) < 30 {
		return false
	}
	name := b[30:]
	return bytes.HasSuffix(name[:min(int(binary.LittleEndian.Uint16(b[26:])), len(name))], []byte(".npy"))
}

// isNIfTI tells a NIfTI-1, NIfTI-2 or ANALYZE header by its first number, the header's size, in either byte order.
func isNIfTI(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	little, big := binary.LittleEndian.Uint32(b), binary.BigEndian.Uint32(b)
	return little == nifti1.size || big == nifti1.size || little == nifti2.size || big == nifti2.size
}
