//go:build linux

package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// costs runs the program and gives its peak memory in MB.
func costs(t *testing.T, args ...string) (result, int) {
	t.Helper()
	c, path := program(args...), filepath.Join(t.TempDir(), "status")
	c.Env = append(c.Env, tellsPeak+"="+path)
	r := ended(t, c, time.Minute)
	require.Less(t, c.ProcessState.UserTime()+c.ProcessState.SystemTime(), 4*time.Second, "%v", args)
	status, err := os.ReadFile(path)
	require.NoError(t, err)
	_, after, found := strings.Cut(string(status), "VmHWM:")
	if !found {
		t.Skip("this system does not say how much memory a process took")
	}
	var kb int
	_, err = fmt.Sscan(after, &kb)
	require.NoError(t, err)
	return r, kb >> 10
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// scan is a NIfTI-1 header of 16-bit voxels.
func scan(w, h, d int16) []byte {
	b := make([]byte, 352)
	binary.LittleEndian.PutUint32(b, 348)
	for i, x := range []int16{3, w, h, d} {
		binary.LittleEndian.PutUint16(b[40+2*i:], uint16(x))
	}
	binary.LittleEndian.PutUint16(b[70:], 512)
	binary.LittleEndian.PutUint32(b[108:], 0x43b00000) // 352
	copy(b[344:], "n+1\x00")
	return b
}

// pngOf is a PNG of zeros, whole.
func pngOf(w, h, depth, kind, samples int) []byte {
	out := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(name string, b []byte) {
		b = append([]byte(name), b...)
		out = append(append(binary.BigEndian.AppendUint32(out, uint32(len(b)-4)), b...), binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b))...)
	}
	head := append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(w)), uint32(h)), byte(depth), byte(kind), 0, 0, 0)
	chunk("IHDR", head)
	var packed bytes.Buffer
	z, _ := zlib.NewWriterLevel(&packed, 1)
	row := make([]byte, 1+(w*depth*samples+7)/8)
	for range h {
		z.Write(row)
	}
	z.Close()
	chunk("IDAT", packed.Bytes())
	chunk("IEND", nil)
	return out
}

func npy(kind string, n int, raw []byte) []byte {
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%d,), }\n", kind, n)
	return append(append(binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(head))), head...), raw...)
}

func npz(t *testing.T, arrays map[string][]byte) []byte {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for name, b := range arrays {
		w, err := z.Create(name + ".npy")
		require.NoError(t, err)
		w.Write(b)
	}
	require.NoError(t, z.Close())
	return out.Bytes()
}

// dicom is a file of frames of 1 x 1 pixels of so many bits; more comes before the pixels, which are written by the caller.
func dicom(syntax string, frames, bits int, more []byte, pixels []byte) []byte {
	out := append(make([]byte, 128), "DICM"...)
	element := func(group, number uint16, vr string, value []byte) {
		if len(value)%2 == 1 {
			value = append(value, 0)
		}
		out = append(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(out, group), number), vr...)
		out = append(binary.LittleEndian.AppendUint16(out, uint16(len(value))), value...)
	}
	short := func(x int) []byte { return binary.LittleEndian.AppendUint16(nil, uint16(x)) }
	element(2, 0x10, "UI", []byte(syntax))
	element(0x28, 2, "US", short(1))
	element(0x28, 4, "CS", []byte("MONOCHROME2"))
	element(0x28, 8, "IS", []byte(strconv.Itoa(frames)))
	element(0x28, 0x10, "US", short(1))
	element(0x28, 0x11, "US", short(1))
	element(0x28, 0x100, "US", short(bits))
	element(0x28, 0x101, "US", short(bits))
	element(0x28, 0x102, "US", short(bits-1))
	element(0x28, 0x103, "US", short(0))
	return append(append(out, more...), pixels...)
}

// undefined is the head of an element or an item of undefined length.
func undefined(group, number uint16, vr string) []byte {
	out := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, group), number)
	if vr != "" {
		out = append(append(out, vr...), 0, 0)
	}
	return append(out, 0xff, 0xff, 0xff, 0xff)
}

// What a DICOM file has many of: frames of a bit, fragments with a table of where frames start, items of sequences.
func TestDICOMOfManyParts(t *testing.T) {
	native, rle := "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
	bits := append([]byte("\xe0\x7f\x10\x00OB\x00\x00"), append(binary.LittleEndian.AppendUint32(nil, 1<<20), make([]byte, 1<<20)...)...)
	empty := []byte("\xfe\xff\x00\xe0\x00\x00\x00\x00")
	end := []byte("\xfe\xff\xdd\xe0\x00\x00\x00\x00")
	const many = 400_000
	table := binary.LittleEndian.AppendUint32([]byte("\xfe\xff\x00\xe0"), 4*many)
	for i := range many {
		table = binary.LittleEndian.AppendUint32(table, uint32(8*i+min(i, 1)))
	}
	fragments := append(append(append(undefined(0x7fe0, 0x10, "OB"), table...), bytes.Repeat(empty, 250_000)...), end...)
	groups := append(append(undefined(0x5200, 0x9230, "SQ"), bytes.Repeat(empty, many)...), end...)
	item := append(append([]byte("\xfe\xff\x00\xe0\x0c\x00\x00\x00"), "\x28\x00\x02\x00US\x02\x00\x01\x00"...), 0, 0)
	binary.LittleEndian.PutUint32(item[4:], uint32(len(item)-10))
	item = item[:len(item)-2]
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"frames of a bit": {dicom(native, 8<<20, 1, nil, bits), "Number of Frames: have 8388608, want 1 to 262144"},
		"fragments":       {dicom(rle, 250_000, 8, nil, fragments), "Pixel Data"},
		"items":           {dicom(native, 200_000, 1, groups, append([]byte("\xe0\x7f\x10\x00OB\x00\x00"), append(binary.LittleEndian.AppendUint32(nil, 25000), make([]byte, 25000)...)...)), ""},
		"more items":      {dicom(native, 1, 8, append(append(undefined(0x5200, 0x9230, "SQ"), bytes.Repeat(empty, 4*many)...), end...), nil), "items of sequences"},
		"items of one":    {dicom(native, 1, 8, append(append(undefined(0x5200, 0x9230, "SQ"), bytes.Repeat(item, many)...), end...), nil), "Pixel Data: missing"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.dcm")
			require.NoError(t, os.WriteFile(path, c.b, 0o600))
			r, peak := costs(t, "picture", path+"#slice=0", "-o", filepath.Join(t.TempDir(), "o.png"))
			if c.want == "" {
				require.Equal(t, 0, r.code, r.err)
			} else {
				oneLine(t, c.want, r)
			}
			require.LessOrEqual(t, peak, 250, r.err)
		})
	}
}

// TIFF pages and strips that lie over each other, and slices of a pixel.
func TestPartsThatLieOverEachOther(t *testing.T) {
	dir := t.TempDir()
	order := binary.LittleEndian
	r := rand.New(rand.NewPCG(1, 2))
	pages := make([]byte, 16*30000)
	for i := range pages {
		pages[i] = byte(r.Uint32())
	}
	copy(pages, "II*\x00\x08\x00\x00\x00")
	const last = 29000
	for i := range last + 1 { // each has 1023 fields of 12 bytes, and begins 16 bytes after the one before
		order.PutUint16(pages[8+16*i:], 1023)
	}
	for i := range last {
		order.PutUint32(pages[8+16*i+2+12*1023:], uint32(8+16*(i+1)))
	}
	const rows, each = 20000, 4 << 20
	field := func(tag, kind uint16, n, x int) []byte {
		b := order.AppendUint16(order.AppendUint16(nil, tag), kind)
		return order.AppendUint32(order.AppendUint32(b, uint32(n)), uint32(x))
	}
	strips := append([]byte("II*\x00\x08\x00\x00\x00"), 9, 0)
	at := 8 + 2 + 9*12 + 4
	for _, f := range [][]byte{field(256, 4, 1, 200), field(257, 4, 1, rows), field(258, 3, 1, 8), field(259, 3, 1, 1), field(262, 3, 1, 1), field(273, 4, rows, at),
		field(277, 3, 1, 1), field(278, 4, 1, 1), field(279, 4, rows, at+4*rows)} {
		strips = append(strips, f...)
	}
	strips = append(strips, 0, 0, 0, 0)
	for range rows {
		strips = order.AppendUint32(strips, uint32(at+8*rows))
	}
	for range rows {
		strips = order.AppendUint32(strips, each)
	}
	strips = append(strips, make([]byte, each)...)
	deep := scan(1, 1, 30000)
	order.PutUint16(deep[40:], 4)
	order.PutUint16(deep[48:], 30000) // volumes
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"pages.tif":  {pages, "have more than 2097152 fields"},
		"strips.tif": {strips, "they lie over each other"},
		"deep.nii":   {deep, "have 900000000 slices or frames, want at most 262144"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(path, c.b, 0o600))
			r, peak := costs(t, "picture", path+"#slice=0", "-o", filepath.Join(dir, "o.png"))
			oneLine(t, c.want, r)
			require.LessOrEqual(t, peak, 250, r.err)
		})
	}
}

// A small file cannot make the program take more memory than it is allowed: what it unpacks to is known before it is unpacked.
func TestSmallFilesThatAreLarge(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, b, 0o600))
		return path
	}
	zeros := gzipped(make([]byte, 16<<20))
	bomb := append(gzipped(scan(1000, 1000, 1000)), bytes.Repeat(zeros, 125)...) // 2 GB
	larger := append(gzipped(scan(1000, 1000, 2100)), bytes.Repeat(zeros, 2)...) // 4.2 GB
	ints := make([]byte, 4*30_000_000)
	var shape [16]byte
	binary.LittleEndian.PutUint64(shape[:], 10000)
	binary.LittleEndian.PutUint64(shape[8:], 10000)
	sparse := map[string][]byte{"format": npy("|S3", 1, []byte("coo")), "shape": npy("<i8", 2, shape[:]), "data": npy("|b1", 30_000_000, ints[:30_000_000]),
		"row": npy("<i4", 30_000_000, ints), "col": npy("<i4", 30_000_000, ints)}
	plane := npz(t, sparse)
	binary.LittleEndian.PutUint64(shape[:], 1000)
	binary.LittleEndian.PutUint64(shape[8:], 1000)
	sparse["shape"] = npy("<i8", 2, shape[:])
	embedded, err := os.ReadFile("../../pictures/testdata/volumes/jpeg.dcm")
	require.NoError(t, err)
	at := bytes.Index(embedded, []byte{0xff, 0xc0, 0, 11, 8})
	if at < 0 {
		at = bytes.Index(embedded, []byte{0xff, 0xc0})
	}
	require.Positive(t, at)
	binary.BigEndian.PutUint16(embedded[at+5:], 11000)
	binary.BigEndian.PutUint16(embedded[at+7:], 11000)
	deep := pngOf(10000, 10000, 16, 6, 4)
	require.Less(t, len(deep), 5<<20)

	little := []string{"--max-memory", "1GB"}
	for name, c := range map[string]struct {
		file string
		want string
		more []string // arguments
		most int      // MB
	}{
		"nii.gz of 2 GB":     {put("a.nii.gz", bomb) + "#slice=0", "--max-memory allows more", little, 100},
		"nii.gz of 4.2 GB":   {put("b.nii.gz", larger) + "#slice=0", "want at most 2048 MB", nil, 100},
		"nii.gz cut short":   {put("c.nii.gz", append(gzipped(scan(1000, 1000, 900)), zeros...)) + "#slice=0", "which cannot hold", []string{"--max-memory", "64GB"}, 100},
		"nii cut short":      {put("d.nii", scan(1000, 1000, 900)) + "#slice=0", "which cannot hold", []string{"--max-memory", "64GB"}, 100},
		"png of 800 MB":      {put("e.png", deep), "--max-memory allows more", little, 100},
		"png cut short":      {put("f.png", deep[:100000]), "not a readable picture", []string{"--max-memory", "64GB"}, 100},
		"dicom with a large": {put("g.dcm", embedded), "have 11000 x 11000 pixels, want the", nil, 100},
		"npz of zeros":       {put("h.npz", plane), "--max-memory allows more", little, 100},
		"npz of long arrays": {put("i.npz", npz(t, sparse)), "row: it would take", little, 150},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"picture", c.file, "-o", filepath.Join(dir, "out.png")}, c.more...)
			if strings.HasSuffix(c.file, ".npz") {
				args = append(args, "--mask")
			}
			r, peak := costs(t, args...)
			oneLine(t, c.want, r)
			require.LessOrEqual(t, peak, c.most, r.err)
		})
	}
	r, _ := costs(t, "picture", put("small.png", pngOf(100, 100, 16, 6, 4)), "-o", filepath.Join(dir, "out.png"), "--max-memory", "64MB")
	require.Equal(t, 0, r.code, r.err)
	refused(t, "want a size of at least 64 MB", "picture", picture, "-o", filepath.Join(dir, "x.png"), "--max-memory", "1")

	distinct := scan(2000, 2000, 1)
	binary.LittleEndian.PutUint16(distinct[70:], 8) // 32 bits
	for i := range 2000 * 2000 {
		distinct = binary.LittleEndian.AppendUint32(distinct, uint32(i+1))
	}
	set := filepath.Join(dir, "set")
	require.NoError(t, os.MkdirAll(filepath.Join(set, "imagesTr"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(set, "labelsTr"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(set, "imagesTr", "x_0000.nii"), distinct, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(set, "labelsTr", "x.nii"), distinct, 0o600))
	r, peak := costs(t, "dataset", set)
	oneLine(t, "have more than 65536 different values, want labels", r)
	require.LessOrEqual(t, peak, 200)
}

// Text files that are sparse, endless or full of what is nothing: refused without being read whole.
func TestLargeTextFiles(t *testing.T) {
	dir := t.TempDir()
	a := built(t, tiny34)
	hole := func(name string, bytes int64, begin string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(begin), 0o600))
		require.NoError(t, os.Truncate(path, bytes))
		return filepath.Dir(path)
	}
	blanks := func(name, begin, repeated string, n int) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(begin+strings.Repeat(repeated, n)), 0o600))
		return filepath.Dir(path)
	}
	golden := func(dir string) []string { return []string{"verify", a, "--golden", dir} }
	for name, args := range map[string][]string{
		"golden, 4 GB":                {"verify", a, "--golden", hole("a/golden.json", 4<<30, "{")},
		"golden, 300 MB":              golden(hole("b/golden.json", 300<<20, `{"items": [`)),
		"golden of nothing":           golden(blanks("c/golden.json", `{"items": [`, "{},", 10_000_000)),
		"golden of numbers":           append(golden(blanks("d/golden.json", `{"items": [{"image":"a","mask":"b","points5":{"labels":[`, "0,", 10_000_000)), "--max-memory", "256MB"),
		"manifest, 4 GB":              {"verify", hole("e/manifest.json", 4<<30, "{"), "--golden", golden34},
		"manifest of nothing":         {"verify", blanks("f/manifest.json", `{"family":"x","files": [`, "{},", 1_300_000), "--golden", golden34},
		"index, 4 GB":                 {"dataset", hole("g/label2image_test.json", 4<<30, "{")},
		"index with an endless name":  {"dataset", hole("h/label2image_test.json", 4<<30, `{"x`)},
		"index of blanks":             {"dataset", blanks("i/label2image_test.json", "{", " ", 100<<20)},
		"list with an endless name":   {"dataset", blanks("j/dataset.json", `{"labels": {}, "test": [{"image": "`, "x", 100<<20)},
		"earlier report, 4 GB":        {"verify", a, "--data", ownData, "--baseline", filepath.Join(hole("r/report.json", 4<<30, "{"), "report.json")},
		"recipe, 4 GB":                {"plan", "info", hole("k/recipe.json", 4<<30, "{")},
		"quantization plan, 4 GB":     {"build", tiny34, "-o", filepath.Join(dir, "o"), "--precision", "int8", "--plan", filepath.Join(hole("l/plan", 4<<30, "plan "), "plan")},
		"quantization plan of blanks": {"build", tiny34, "-o", filepath.Join(dir, "o"), "--precision", "int8", "--plan", filepath.Join(blanks("m/plan", "", "#\n", 30_000_000), "plan")},
		"statistics, 4 GB":            {"build", tiny34, "-o", filepath.Join(dir, "o"), "--precision", "int8", "--calib", filepath.Join(hole("n/s.safetensors", 4<<30, "\x00\x00\x00\x08\x00\x00\x00\x00{"), "s.safetensors")},
	} {
		t.Run(name, func(t *testing.T) {
			r, peak := costs(t, args...)
			oneLine(t, "", r)
			require.LessOrEqual(t, peak, 300, r.err)
		})
	}
	var items []any // each is fine, the file is too large for what it may take
	for range 200_000 {
		items = append(items, map[string]any{"image": strings.Repeat("i", 50), "mask": strings.Repeat("m", 50)})
	}
	text, err := json.Marshal(map[string]any{"items": items, "dataset": "x"})
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "many"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "many/golden.json"), text, 0o600))
	refused(t, "--max-memory allows more", append(golden(filepath.Join(dir, "many")), "--max-memory", "128MB")...)
}
