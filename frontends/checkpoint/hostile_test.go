package checkpoint

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file is an entry of an archive that is made here.
type file struct {
	name string
	data []byte
}

// archive packs files plainly.
func archive(t testing.TB, files ...file) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		e, err := w.CreateRaw(&zip.FileHeader{Name: f.name, UncompressedSize64: uint64(len(f.data)), CompressedSize64: uint64(len(f.data))})
		require.NoError(t, err)
		_, err = e.Write(f.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// Parts of pickles: a storage of four float32, a tensor of it with its arguments, a dict with one key.
const (
	storage4 = "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
	rebuild  = "ctorch._utils\n_rebuild_tensor_v2\n"
	tail     = "\x89}tR"
)

func tensorOf(arguments string) string { return rebuild + "(" + storage4 + arguments + tail }

func dictOf(values string) string { return "\x80\x02}(" + values + "u." }

func key(name string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(name)))) + name
}

const plainTensor = "K\x00K\x04\x85K\x01\x85" // offset, shape, stride

// packed is an archive with a pickle and a storage of four elements.
func packed(t testing.TB, pkl string) []byte {
	return archive(t, file{"a/data.pkl", []byte(pkl)}, file{"a/byteorder", []byte("little")}, file{"a/data/0", make([]byte, 16)})
}

// legacyOf is a file of the format before PyTorch 1.6.
func legacyOf(object, storageClass string, count int) []byte {
	magic := "\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
	body := strings.ReplaceAll(object, "FloatStorage", storageClass)
	out := []byte(magic + "\x80\x02M\xe9\x03." + "\x80\x02}X\x0d\x00\x00\x00little_endian\x88s." + body + "\x80\x02]X\x01\x00\x00\x000a.")
	out = binary.LittleEndian.AppendUint64(out, uint64(count))
	return append(out, make([]byte, 16)...)
}

type hostileFile struct {
	name string
	data []byte
	want string // in the error; "" for a file that is read
}

// hostile are files that a stranger could have made, the advisories about PyTorch's loader and its scanners among them.
func hostile(t testing.TB) []hostileFile {
	good := packed(t, dictOf(key("w")+tensorOf(plainTensor)))
	call := func(module, name, arguments string) string {
		return "c" + module + "\n" + name + "\n" + arguments + "R"
	}
	system := call("os", "system", key("id")+"\x85")
	huge := strings.Repeat("}", 8<<20)
	shape := "(" + strings.Repeat("K\x01", 50_000) + "tq\x01" // one tuple that all tensors share
	sharing := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(key(fmt.Sprint("k", i)) + tensorOf("K\x00h\x01h\x01"))
		}
		return dictOf(key("s") + shape + b.String())
	}
	const fromType = "ctorch._tensor\n_rebuild_from_type_v2\n"
	nested := fromType + strings.Repeat("("+fromType+"ctorch\nTensor\n", 3000) + ")" + strings.Repeat("}t", 3000) + "R"
	list := []hostileFile{
		{"plain", good, ""},
		{"attributes", packed(t, dictOf(key("w")+tensorOf(plainTensor)+key("args")+call("argparse", "Namespace", ")"))), ""},
		// CVE-2025-32434, CVE-2026-24747: code that runs while tensors are made; a state given to what is a tensor.
		{"CVE-2025-32434", packed(t, dictOf(key("w")+tensorOf(plainTensor)+key("x")+system)), `key "x" is an object of class os.system, which is not executed`},
		{"CVE-2026-24747", packed(t, dictOf(key("w")+tensorOf(plainTensor)+key("k")+"K\x01s")), "pickle: opcode 0x73"},
		{"CVE-2026-24747, a state", packed(t, "\x80\x02"+tensorOf(plainTensor)+"}b."), "no dict"},
		// CVE-2025-10155: a pickle under another name. CVE-2025-10156: a wrong sum stops scanners and not loaders. CVE-2025-10157: submodules of dangerous ones.
		{"CVE-2025-10155", []byte(dictOf(key("x") + system)), "a pickle that torch.save did not write"},
		{"CVE-2025-10156", bytes.Replace(archiveSummed(t, dictOf(key("w")+tensorOf(plainTensor))), []byte("little"), []byte("litt1e"), 1), "it is damaged"},
		{"CVE-2025-10157", packed(t, dictOf(key("w")+tensorOf(plainTensor)+key("x")+call("asyncio.unix_events", "_UnixSubprocessTransport._start", ")"))), "asyncio.unix_events._UnixSubprocessTransport._start"},
		{"the name of a function", packed(t, dictOf(key("w")+tensorOf(plainTensor)+key("x")+"cos\nsystem\n")), "the class or function os.system"},
		{"array", packed(t, dictOf(key("w")+tensorOf(plainTensor)+key("x")+call("array", "_array_reconstructor", "(carray\narray\nU\x01bK\x0eB\x04\x00\x00\x00\x00\x00\x00\x00t"))), "array._array_reconstructor"},
		{"copy_reg", packed(t, dictOf(key("w")+tensorOf(plainTensor)+key("x")+call("copy_reg", "_reconstructor", "(cos\npopen\nc__builtin__\nobject\nNt"))), "os.popen"},
		{"an integer as a class", packed(t, "\x80\x02K\x01)R."), "a call of what is no function"},
		{"a class of a large list", packed(t, "\x80\x02]("+strings.Repeat("K\x01", 1<<17)+"e)R."), "a call of what is no function"},
		{"empty stack", packed(t, "\x80\x020."), "the stack is empty"},
		{"no mark", packed(t, "\x80\x02t."), "no mark is open"},
		{"half an item", packed(t, "\x80\x02}(K\x01u."), "a key without a value"},
		{"memo", packed(t, "\x80\x02h\x07."), "memo entry 7 was never written"},
		{"empty dicts", packed(t, "\x80\x02("+huge+"t."), "of memory"},
		{"a shape that is shared", packed(t, sharing(1000)), "rank: have 50000, want at most 64"},
		{"negative offset", packed(t, dictOf(key("w")+tensorOf("J\xff\xff\xff\xffK\x04\x85K\x01\x85"))), "tensor: want (storage, offset, shape, stride)"},
		{"negative stride", packed(t, dictOf(key("w")+tensorOf("K\x00K\x04\x85J\xff\xff\xff\xff\x85"))), "none negative"},
		{"offset past int64", packed(t, dictOf(key("w")+tensorOf("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x04\x85K\x01\x85"))), "too short"},
		{"shape past int64", packed(t, dictOf(key("w")+tensorOf("K\x00\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x86K\x00K\x00\x86"))), `tensor "w"`},
		{"a view repeated", packed(t, dictOf(key("w")+tensorOf("K\x00J\x00\x00\x00\x7f\x85K\x00\x85"))), "too often"},
		{"storage of another size", archive(t, file{"a/data.pkl", []byte(dictOf(key("w") + tensorOf(plainTensor)))}, file{"a/data/0", make([]byte, 20)}), "have 20 bytes, want 4 elements of float32, as the pickle says"},
		{"storage of two types", packed(t, dictOf(key("w")+tensorOf(plainTensor)+key("x")+strings.Replace(tensorOf(plainTensor), "Float", "Int", 1))), "holds both float32 and int32"},
		{"storage of two sizes", packed(t, dictOf(key("w")+tensorOf(plainTensor)+key("x")+strings.Replace(tensorOf(plainTensor), "K\x04tQ", "K\x03tQ", 1))), "has both 4 and 3 elements"},
		{"types in types", packed(t, dictOf(key("w")+tensorOf(plainTensor)+key("x")+nested)), ""},
		{"not UTF-8", packed(t, dictOf(key("\xff")+tensorOf(plainTensor))), "a text that is not UTF-8"},
		{"legacy", legacyOf(dictOf(key("w")+tensorOf(plainTensor)), "FloatStorage", 4), ""},
		{"legacy, untyped", legacyOf(dictOf(key("w")+tensorOf(plainTensor)), "UntypedStorage", 4), ""},
		{"legacy, another count", legacyOf(dictOf(key("w")+tensorOf(plainTensor)), "FloatStorage", 3), "have 3 elements, want the 4 that the pickle says"},
		{"legacy, negative offset", legacyOf(dictOf(key("w")+tensorOf("J\xff\xff\xff\xffK\x04\x85K\x01\x85")), "FloatStorage", 4), "tensor: want (storage, offset, shape, stride)"},
	}
	at := func(change func(d []byte) []byte) []byte { return change(bytes.Clone(good)) }
	central := bytes.Index(good, []byte(centralMagic))
	end := bytes.LastIndex(good, []byte(endMagic))
	local := bytes.Index(good, []byte("a/data/0")) // the first of its two names
	return append(list, []hostileFile{
		{"something before", append([]byte("PK\x03\x04junk"), good...), "something before the archive"},
		{"something behind", append(bytes.Clone(good), "junk"...), "something behind its end"},
		{"an archive before", append(bytes.Clone(good), good...), "something before the archive"},
		{"between", at(func(d []byte) []byte {
			out := append(append(bytes.Clone(d[:central]), "junk"...), d[central:]...)
			binary.LittleEndian.PutUint32(out[len(out)-6:], uint32(central+4))
			return out
		}), "something between"},
		{"names differ", at(func(d []byte) []byte { d[local+7] = '1'; return d }), `its header names it "a/data/1"`},
		{"flags differ", at(func(d []byte) []byte { d[local-30+6] |= 1; return d }), "its header has flags"},
		{"methods differ", at(func(d []byte) []byte { d[local-30+8] = 8; return d }), "and method 8"},
		{"sizes differ", at(func(d []byte) []byte { d[local-30+18]--; return d }), "its header has"},
		{"counts differ", at(func(d []byte) []byte { d[end+8]--; d[end+10]--; return d }), "its directory has not"},
		{"case", archive(t, file{"a/data.pkl", []byte(dictOf(key("w") + tensorOf(plainTensor)))}, file{"a/data/0", make([]byte, 16)}, file{"a/DATA/0", make([]byte, 16)}), `some readers take it for "a/data/0"`},
		{"backslash", archive(t, file{"a/data.pkl", nil}, file{`a\data.pkl`, nil}), `some readers take it for "a/data.pkl"`},
		{"dots", archive(t, file{"a/data.pkl", nil}, file{`a/./data.pkl`, nil}), `some readers take it for "a/data.pkl"`},
		{"a folder by its attributes", at(func(d []byte) []byte { d[central+38] |= 0x10; return d }), "some readers take it for a folder"},
		{"another disk", at(func(d []byte) []byte { d[central+34] = 1; return d }), "a part of an archive in several files"},
		{"a directory on another disk", at(func(d []byte) []byte { d[end+6] = 1; return d }), "a part of an archive in several files"},
		{"twice", archive(t, file{"a/data.pkl", nil}, file{`a/data.pkl`, nil}), "it occurs twice"},
		{"zero", archive(t, file{"a/data.pkl\x00b", nil}), "its name has a zero in it"},
		{"outside", archive(t, file{"a/data.pkl", []byte("}.")}, file{"b/x", nil}), `entry "b/x" does not lie in a/`},
	}...)
}

// archiveSummed is packed with sums.
func archiveSummed(t testing.TB, pkl string) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range []file{{"a/data.pkl", []byte(pkl)}, {"a/byteorder", []byte("little")}, {"a/data/0", make([]byte, 16)}} {
		e, err := w.CreateHeader(&zip.FileHeader{Name: f.name})
		require.NoError(t, err)
		_, err = e.Write(f.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// Each ends in one short line of plain words, within 128 MB and a second or so.
func TestStrangers(t *testing.T) {
	for _, c := range hostile(t) {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "m.pth")
			require.NoError(t, os.WriteFile(path, c.data, 0o600))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			ck, err := Open(path)
			if err == nil {
				for _, key := range ck.Keys() {
					if err == nil {
						err = ck.entries[ck.at[key]].err
					}
				}
				if err == nil {
					err = ck.CheckSums(context.Background())
				}
				defer ck.Close()
			}
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(3*len(c.data)+(256<<20)))
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.Less(t, len(err.Error()), 1000)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "runtime error")
		})
	}
}

// What torch.save's 64-bit end says of itself is held against the rest; so is the sum of what lies beside the storages.
func TestEndsOfArchives(t *testing.T) {
	whole, err := os.ReadFile("testdata/bare.pth")
	require.NoError(t, err)
	wide := bytes.LastIndex(whole, []byte(wideEndMagic))
	locator := bytes.LastIndex(whole, []byte(locatorMagic))
	version := bytes.Index(whole, []byte("bare/version"))
	require.Positive(t, min(wide, locator, version))
	for at, want := range map[int]string{wide + 4: "its end is not where its locator says", wide + 16: "a part of", wide + 20: "a part of", wide + 24: "a part of", wide + 32: "a part of",
		locator + 4: "a part of", locator + 8: "its end is not where", locator + 16: "a part of", version + 64: `entry "bare/version": have the sum`} {
		data := bytes.Clone(whole)
		if at == version+64 { // its content, behind the padding
			at = bytes.Index(data[version:], []byte("3\n")) + version
			require.Greater(t, at, version)
		}
		data[at]++
		_, err := parse(data)
		require.ErrorContains(t, err, want, "byte %d", at)
	}
}

// Sets, numbers and the like beside the weights say nothing of them.
func TestThingsBesideWeights(t *testing.T) {
	for _, of := range [][2]string{{"__builtin__", "set"}, {"builtins", "complex"}, {"argparse", "Namespace"}, {"datetime", "date"}} {
		path := filepath.Join(t.TempDir(), "m.pth")
		require.NoError(t, os.WriteFile(path, packed(t, dictOf(key("w")+tensorOf(plainTensor)+key("x")+"c"+of[0]+"\n"+of[1]+"\n)R")), 0o600))
		ck, err := Open(path)
		require.NoError(t, err, of)
		require.Equal(t, []string{"w"}, ck.Names())
		require.Equal(t, []string{of[0] + "." + of[1]}, ck.Globals())
		require.NoError(t, ck.Close())
	}
}

// A storage whose bytes are not those of its sum is found when the weights are read.
func TestDamagedStorage(t *testing.T) {
	data, err := os.ReadFile("testdata/bare.pth")
	require.NoError(t, err)
	records, err := directory(data)
	require.NoError(t, err)
	for _, r := range records {
		if strings.HasSuffix(r.name, "data/0") {
			data[r.at] ^= 1
		}
	}
	path := filepath.Join(t.TempDir(), "m.pth")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	ck, err := Open(path)
	require.NoError(t, err)
	defer ck.Close()
	require.ErrorContains(t, ck.CheckSums(context.Background()), `entry "bare/data/0": have the sum`)
	require.NoError(t, os.WriteFile(path, unsummed(t, data), 0o600))
	ck, err = Open(path)
	require.NoError(t, err)
	defer ck.Close()
	require.NoError(t, ck.CheckSums(context.Background()))
}

// Whatever the bytes: one way to read an archive, or an error; every file lies within it.
func FuzzDirectory(f *testing.F) {
	for _, c := range hostile(f) {
		if bytes.Contains(c.data, []byte(endMagic)) {
			f.Add(c.data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := directory(data)
		if err != nil {
			require.Less(t, len(err.Error()), 1<<18) // of a name, which the last line shortens
			return
		}
		for _, r := range records {
			require.LessOrEqual(t, r.at+r.packed, uint64(len(data)))
		}
	})
}

// Whatever an archive's pickle holds, the archive around it in order: the same as of FuzzParse, which rarely gets so far.
func FuzzPickleInArchive(f *testing.F) {
	for _, path := range []string{"bare.pth", "odd.pth", "subclasses.pth", "negative.pth", "optimizer_object.pth"} {
		data, err := os.ReadFile(filepath.Join("testdata", path))
		require.NoError(f, err)
		records, err := directory(data)
		require.NoError(f, err)
		for _, r := range records {
			if content, err := r.content(data); err == nil && strings.HasSuffix(r.name, "/data.pkl") {
				f.Add(content)
			}
		}
	}
	for _, c := range hostile(f) {
		if records, err := directory(c.data); err == nil && strings.HasPrefix(c.name, "CVE") {
			content, err := records[0].content(c.data)
			require.NoError(f, err)
			f.Add(content)
		}
	}
	f.Fuzz(func(t *testing.T, pkl []byte) {
		ck, err := parse(packed(t, string(pkl)))
		if err == nil {
			err = ck.useLargest()
			ck.Dropped()
		}
		if err != nil {
			require.NotContains(t, err.Error(), "runtime error")
		}
	})
}

// Whatever an index holds: names of files beside it, or an error.
func FuzzIndex(f *testing.F) {
	for _, s := range []string{`{"weight_map": {"a": "x.safetensors"}}`, `{"weight_map": {"a": "../x"}}`, `{"weight_map": [1]}`, `{"weight_map": {"a": 1}}`, `{"metadata": {"total_size": 28}, "weight_map": {}}`, `[1]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := weightMap(data)
		require.True(t, err != nil || len(files) > 0)
	})
}
