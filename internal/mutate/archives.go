package mutate

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"path"
	"strings"
)

// Zip packs an archive anew, with an entry that is damaged, removed, named otherwise or there twice. What an entry is by the end of its name decides how
// it is damaged. Checksums are right.
func Zip(r *rand.Rand, b []byte) []byte {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(z.File) == 0 {
		return Bytes(r, b)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	victim, how := r.IntN(len(z.File)), r.IntN(10)
	if r.IntN(2) == 0 { // what says what the others are
		for i, f := range z.File {
			if path.Ext(f.Name) == ".pkl" {
				victim = i
			}
		}
	}
	for i, f := range z.File {
		name, content := f.Name, entry(f)
		if i == victim {
			switch how {
			case 0:
				continue
			case 1:
				name = pick(r, []string{"", "../" + name, name + "\x00", "/" + name, z.File[r.IntN(len(z.File))].Name, path.Dir(name) + "\\" + path.Base(name), "a/" + name})
			case 2:
				add(w, f.Method, name, content)
				content = Bytes(r, content)
			case 3:
				content = content[:r.IntN(len(content)+1)]
			default:
				switch path.Ext(name) {
				case ".pkl":
					content = Pickle(r, content)
				case ".npy":
					content = Array(r, content)
				default:
					content = Bytes(r, content)
				}
			}
		}
		add(w, f.Method, name, content)
	}
	if w.Close() != nil {
		return Bytes(r, b)
	}
	return out.Bytes()
}

func entry(f *zip.File) []byte {
	in, err := f.Open()
	if err != nil {
		return nil
	}
	defer in.Close()
	content, _ := io.ReadAll(in) // what there is
	return content
}

func add(w *zip.Writer, method uint16, name string, content []byte) {
	if to, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method}); err == nil {
		_, _ = to.Write(content) // to memory
	}
}

// Gzip damages what is compressed, by damage.
func Gzip(damage Func) Func {
	return func(r *rand.Rand, b []byte) []byte {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return damage(r, b)
		}
		content, _ := io.ReadAll(z) // what there is
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, _ = w.Write(damage(r, content)) // to memory
		_ = w.Close()
		return out.Bytes()
	}
}

// arguments are the pickle opcodes with an argument: its bytes, or how its length is written.
var arguments = map[byte]int{'K': 1, 'M': 2, 'J': 4, 'G': 8, 'h': 1, 'q': 1, 'j': 4, 'r': 4, 0x80: 1, 0x95: 8, 0x82: 1, 0x83: 2, 0x84: 4,
	'I': line, 'L': line, 'F': line, 'S': line, 'V': line, 'g': line, 'p': line, 'P': line, 'c': twoLines, 'i': twoLines,
	'U': counted1, 'C': counted1, 0x8a: counted1, 0x8c: counted1, 'T': counted4, 'B': counted4, 'X': counted4, 0x8b: counted4, 0x8d: counted8, 0x8e: counted8, 0x96: counted8}

const line, twoLines, counted1, counted4, counted8 = -1, -2, -3, -4, -5

// operations splits a pickle, up to and with its STOP; what is after it is the rest.
func operations(b []byte) (ops [][]byte, rest []byte) {
	for len(b) > 0 {
		n := 1
		switch k := arguments[b[0]]; k {
		case line, twoLines:
			for range -k {
				if at := bytes.IndexByte(b[n:], '\n'); at >= 0 {
					n += at + 1
				}
			}
		case counted1, counted4, counted8:
			width := map[int]int{counted1: 1, counted4: 4, counted8: 8}[k]
			word := make([]byte, 8)
			copy(word, b[1:min(1+width, len(b))])
			n += width + int(min(binary.LittleEndian.Uint64(word), uint64(len(b))))
		default:
			n += k
		}
		n = min(n, len(b))
		ops = append(ops, b[:n:n])
		if b = b[n:]; ops[len(ops)-1][0] == '.' {
			break
		}
	}
	return ops, b
}

// strange are operations that a state dict does not have, and names of other modules.
var strange = [][]byte{[]byte("cos\nsystem\n"), []byte("cbuiltins\neval\n"), []byte("carray\n_array_reconstructor\n"), []byte("ccopy_reg\n_reconstructor\n"), []byte("ctorch._utils\n_rebuild_tensor_v2\n"),
	[]byte("ccollections\nOrderedDict\n"), []byte("ctorch\nUntypedStorage\n"), []byte("ctorch\nQInt8Storage\n"), {'R'}, {'b'}, {'o'}, {0x81}, {'}'}, {']'}, {')'}, {'('}, {'t'}, {'0'}, {'1'}, {'2'}, {'u'}, {'s'}, {'e'},
	{'N'}, {'.'}, {'Q'}, {'J', 0xff, 0xff, 0xff, 0xff}, {'J', 0, 0, 0, 0x80}, {0x8a, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, {'h', 0}, {'h', 1}, {0x8f}, {0x94}, {0x93}, {0x85}, {0x86}, {0x87}, {'X', 0, 0, 0, 0},
	{'X', 0xff, 0xff, 0xff, 0x7f}, {'K', 0}, {'G', 0x7f, 0xf8, 0, 0, 0, 0, 0, 0}}

// Pickle damages operations of a pickle.
func Pickle(r *rand.Rand, b []byte) []byte {
	ops, rest := operations(b)
	out := elsewhere(r, ops, func(r *rand.Rand, op []byte) []byte {
		switch r.IntN(3) {
		case 0:
			return pick(r, strange)
		case 1:
			if len(op) > 1 {
				op = bytes.Clone(op)
				number(r, op[1:])
				return op
			}
			return append(bytes.Clone(op), pick(r, strange)...)
		}
		if k := arguments[op[0]]; (k == line || k == twoLines || k <= counted1) && len(op) > 2 { // a name of one letter less
			op = bytes.Clone(op)
			op[len(op)-2] ^= 1
			return op
		}
		return pick(r, ops)
	})
	return append(bytes.Join(out, nil), rest...)
}

// Legacy damages one of the five pickles at the head of a checkpoint of before PyTorch 1.6, or what follows them.
func Legacy(r *rand.Rand, b []byte) []byte {
	var parts [][]byte
	for range 5 {
		ops, rest := operations(b)
		parts, b = append(parts, bytes.Join(ops, nil)), rest
	}
	if at := r.IntN(6); at < 5 {
		parts[at] = Pickle(r, parts[at])
	} else {
		b = Bytes(r, b)
	}
	return append(bytes.Join(parts, nil), b...)
}

// AsLegacy writes a checkpoint's archive in the form of before PyTorch 1.6: head is such a file, whose first three pickles are taken. Storages follow in
// the order in which the pickle names them; bytes is the size of an element of a storage's class.
func AsLegacy(archive, head []byte, bytesOf map[string]int) ([]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, f := range z.File {
		_, name, _ := strings.Cut(f.Name, "/")
		files[name] = entry(f)
	}
	var out []byte
	for range 3 {
		ops, rest := operations(head)
		out, head = append(out, bytes.Join(ops, nil)...), rest
	}
	ops, _ := operations(files["data.pkl"])
	var keys []string
	class, size, last := "", map[string]int{}, map[string]int{}
	memo := map[string]string{} // what a later operation says again
	words := []string{}
	for i, op := range ops {
		word, saved := "", false
		switch op[0] {
		case 'c':
			word = string(op[1:])
		case 'X':
			word = string(op[5:])
		case 'h', 'j':
			word = memo[string(op[1:])]
		case 'q', 'r':
			memo[string(op[1:])], saved = words[len(words)-1], true
		}
		if !saved && op[0] != 'K' && op[0] != 'M' && op[0] != 'J' {
			words = append(words, word)
		}
		if strings.HasSuffix(strings.TrimSpace(word), "Storage") {
			class = strings.TrimSpace(word[strings.IndexByte(word, '\n')+1:])
		}
		if i+2 < len(ops) && op[0] == 't' && (ops[i+1][0] == 'Q' || ops[i+2][0] == 'Q') {
			out = append(out, 'N') // it is no view of another storage
			for k := len(words) - 1; k > 0; k-- {
				if _, is := files["data/"+words[k]]; is && words[k] != "" {
					if key := words[k]; last[key] == 0 {
						keys, last[key], size[key] = append(keys, key), 1, bytesOf[class]
					}
					break
				}
			}
		}
		out = append(out, op...)
	}
	out = append(out, 0x80, 2, ']', '(')
	for _, k := range keys {
		out = append(binary.LittleEndian.AppendUint32(append(out, 'X'), uint32(len(k))), k...)
	}
	out = append(out, 'e', '.')
	for _, k := range keys {
		b := files["data/"+k]
		if size[k] == 0 {
			return nil, fmt.Errorf("storage %s: of no known class", k)
		}
		out = append(binary.LittleEndian.AppendUint64(out, uint64(len(b)/size[k])), b...)
	}
	return out, nil
}

// Array damages the header of a NumPy file, or its values.
func Array(r *rand.Rand, b []byte) []byte {
	if len(b) < 12 {
		return Bytes(r, b)
	}
	n := min(10+int(binary.LittleEndian.Uint16(b[8:])), len(b))
	if r.IntN(2) == 0 {
		return append(bytes.Clone(b[:n]), Bytes(r, b[n:])...)
	}
	head := digits(r, b[10:n])
	return append(binary.LittleEndian.AppendUint16(bytes.Clone(b[:8]), uint16(len(head))), append(head, b[n:]...)...)
}

// digits changes numbers of a text.
func digits(r *rand.Rand, text []byte) []byte {
	var at []int
	for i, c := range text {
		if c >= '0' && c <= '9' {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return Bytes(r, text)
	}
	i := pick(r, at)
	return append(text[:i:i], append([]byte(pick(r, []string{"", "-1", "0", "9", "99999", "4294967296", "9223372036854775807", "1e400", "NaN", "1e-320"})), text[i+1:]...)...)
}

// PNG damages chunks; checksums are right.
func PNG(r *rand.Rand, b []byte) []byte {
	if len(b) < 8 {
		return Bytes(r, b)
	}
	var parts [][]byte // kind and data
	for at := 8; at+12 <= len(b); {
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n > len(b)-at-12 {
			break
		}
		parts = append(parts, b[at+4:at+8+n])
		at += 12 + n
	}
	out := bytes.Clone(b[:8])
	for _, p := range elsewhere(r, parts, func(r *rand.Rand, p []byte) []byte { return append(bytes.Clone(p[:4]), head(r, p[4:])...) }) {
		out = append(append(binary.BigEndian.AppendUint32(out, uint32(len(p)-4)), p...), binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(p))...)
	}
	return out
}

// head damages a small record's numbers, a long one's bytes.
func head(r *rand.Rand, b []byte) []byte {
	if len(b) == 0 || len(b) > 64 {
		return Bytes(r, b)
	}
	b = bytes.Clone(b)
	number(r, b[r.IntN(len(b))/4*4:])
	return b
}
