package checkpoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// Files that PyTorch wrote (testdata/make.py), each with all its tensors as PyTorch has them.
func TestFilesOfPyTorch(t *testing.T) {
	want, err := safetensors.Open("testdata/want.safetensors")
	require.NoError(t, err)
	defer want.Close()
	for _, c := range []struct {
		file, format, wrapper string
		tensors               int
		globals               string // a class that must not have been executed
	}{
		{"bare.pth", "pytorch-zip", "", 4, ""},
		{"legacy.pth", "pytorch-legacy", "", 4, ""},
		{"half.pth", "pytorch-zip", "", 4, ""},
		{"bfloat16.pth", "pytorch-zip", "", 1, ""},
		{"types.pth", "pytorch-zip", "", 6, ""},
		{"wrapped.pth", "pytorch-zip", "model", 7, ""},
		{"optimizer_object.pth", "pytorch-zip", "model", 7, "torch.optim.adam.Adam"},
		{"legacy_wrapped.pth", "pytorch-legacy", "state_dict", 7, "torch.optim.adam.Adam"},
		{"ddp.pth", "pytorch-zip", "", 7, ""},
		{"parameters.pth", "pytorch-zip", "", 4, ""},
		{"views.pth", "pytorch-zip", "", 5, ""},
		{"channels_last.pth", "pytorch-zip", "", 1, ""},
		{"tied.pth", "pytorch-zip", "", 3, ""},
		{"plain.safetensors", "safetensors", "", 2, ""},
	} {
		t.Run(c.file, func(t *testing.T) {
			ck, err := Open(filepath.Join("testdata", c.file))
			require.NoError(t, err)
			defer ck.Close()
			require.Equal(t, c.format, ck.Format())
			require.Equal(t, c.wrapper, ck.Wrapper())
			require.Len(t, ck.Names(), c.tensors)
			if c.globals != "" {
				require.Contains(t, ck.Globals(), c.globals)
			}
			n := 0
			for _, x := range want.Tensors {
				if name, ok := strings.CutPrefix(x.Name, c.file+"/"); ok {
					n++
					have := ck.Get(name)
					require.NotNil(t, have, name)
					require.Equal(t, x.Tensor.Type(), have.Type(), name)
					require.True(t, tensor.Equal(x.Tensor, have), name)
				}
			}
			require.Equal(t, c.tensors, n)
			require.NoError(t, ck.CheckSums(context.Background()))
			require.NoError(t, ck.CheckFinite(context.Background()))
		})
	}
}

func TestTied(t *testing.T) {
	ck, err := Open("testdata/tied.pth")
	require.NoError(t, err)
	defer ck.Close()
	require.Equal(t, "first", ck.SharedWith("second"))
	require.Empty(t, ck.SharedWith("first"))
	require.Empty(t, ck.SharedWith("other"))
}

// replace puts new bytes of the same length where old ones are, in a file of PyTorch's.
func replace(t *testing.T, file, old, new string) []byte {
	data, err := os.ReadFile(filepath.Join("testdata", file))
	require.NoError(t, err)
	require.Len(t, new, len(old))
	require.True(t, bytes.Contains(data, []byte(old)), "%q is not in %s", old, file)
	return unsummed(t, bytes.Replace(data, []byte(old), []byte(new), 1))
}

// unsummed takes the sums out of a zip archive, as PyTorch writes it when it is told not to compute them.
func unsummed(t testing.TB, data []byte) []byte {
	if !bytes.HasPrefix(data, []byte(localMagic)) {
		return data
	}
	data = bytes.Clone(data)
	records, err := directory(data)
	require.NoError(t, err)
	at := bytes.Index(data, []byte(centralMagic+"\x00\x00")) // the first of the directory
	for _, r := range records {
		at += bytes.Index(data[at:], []byte(centralMagic))
		copy(data[at+16:], make([]byte, 4))
		copy(data[r.header+14:], make([]byte, 4))
		if end := r.at + r.packed; r.flags&flagDescriptor != 0 {
			require.Equal(t, "PK\x07\x08", string(data[end:][:4]))
			copy(data[end+4:], make([]byte, 4))
		}
		at += 4
	}
	_, err = directory(data)
	require.NoError(t, err)
	return data
}

func TestHostileFiles(t *testing.T) {
	bare, err := os.ReadFile("testdata/bare.pth")
	require.NoError(t, err)
	legacy, err := os.ReadFile("testdata/legacy.pth")
	require.NoError(t, err)
	plain, err := os.ReadFile("testdata/plain.safetensors")
	require.NoError(t, err)
	longHeader := append([]byte{}, plain...)
	binary.LittleEndian.PutUint64(longHeader, 1<<40)
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "the file is empty"},
		{"text", []byte("not a checkpoint at all"), "not a checkpoint"},
		{"truncated zip", bare[:len(bare)-40], "zip:"},
		{"half a zip", bare[:len(bare)/2], "zip:"},
		{"only magic", []byte("PK\x03\x04"), "zip:"},
		{"truncated legacy", legacy[:len(legacy)-5], "truncated?"},
		{"legacy magic alone", legacy[:15], "legacy format"},
		{"safetensors header length", longHeader, "not a checkpoint"},
		{"safetensors data", plain[:len(plain)-1], "plain"},
		{"big endian", replace(t, "bare.pth", "little", "bigger"), "byteorder"},
		// the first tensor claims 4 x 4 = 16 of its storage's 12 elements: BININT1 3, BININT1 4 -> 4, 4
		{"storage too short", replace(t, "bare.pth", "K\x00K\x03K\x04\x86", "K\x00K\x04K\x04\x86"), "a.weight"},
		{"strides past the storage", replace(t, "bare.pth", "K\x04K\x01\x86", "K\xffK\x01\x86"), "a.weight"},
		{"offset past the storage", replace(t, "bare.pth", "K\x00K\x03K\x04\x86", "K\xc8K\x03K\x04\x86"), "a.weight"},
		{"call of a function", replace(t, "bare.pth", "ctorch._utils\n_rebuild_tensor_v2\n", "cposix\nsystem_with_a_padded_name\n"), ""},
		{"opcode", replace(t, "bare.pth", "\x80\x02ccollections", "\x82\x02ccollections"), "opcode"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "plain")
			require.NoError(t, os.WriteFile(path, c.data, 0o600))
			_, err := Open(path)
			require.Error(t, err)
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
	_, err = Open(filepath.Join(t.TempDir(), "none.pth"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(t.TempDir())
	require.ErrorContains(t, err, "the folder holds none of")
}

// CheckFinite names each tensor and counts its elements, in every width and at every place in a word.
func TestCheckFinite(t *testing.T) {
	dir := t.TempDir()
	inf := []byte{0x00, 0x00, 0x80, 0x7f}
	for at := range 5 {
		data := make([]byte, 20)
		copy(data[4*at:], inf)
		x, err := tensor.New(tensor.Float32, []int64{5}, data)
		require.NoError(t, err)
		h := make([]byte, 10)
		copy(h[2*at:], []byte{0x01, 0xfc}) // a negative NaN
		y, err := tensor.New(tensor.Float16, []int64{5}, h)
		require.NoError(t, err)
		top, err := tensor.New(tensor.Float16, []int64{2}, []byte{0xff, 0x7b, 0xff, 0xfb}) // +-65504
		require.NoError(t, err)
		path := filepath.Join(dir, "x.safetensors")
		require.NoError(t, safetensors.WriteFile(path, []safetensors.Named{{Name: "x", Tensor: x}, {Name: "y", Tensor: y}, {Name: "top", Tensor: top}}, nil))
		ck, err := Open(path)
		require.NoError(t, err)
		err = ck.CheckFinite(context.Background())
		require.ErrorContains(t, err, "NaN or infinite weights in x (1 of 5), y (1 of 5)")
		require.NotContains(t, err.Error(), "top")
		require.NoError(t, ck.Close())
	}
}

// Whatever the bytes: an error or a checkpoint whose tensors can be read, never a panic.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	require.NoError(f, err)
	shards, err := filepath.Glob("testdata/shards/*")
	require.NoError(f, err)
	for _, path := range append(files, shards...) {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(data)
		if strings.HasSuffix(path, ".pth") {
			f.Add(unsummed(f, data)) // so that changed bytes get further
		}
	}
	for _, c := range hostile(f) {
		f.Add(c.data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ck, err := parse(data)
		if err != nil {
			return
		}
		if err := ck.useLargest(); err == nil {
			ck.Dropped()
		}
		for _, key := range ck.Keys() {
			x := ck.At(key)
			if x == nil {
				require.True(t, ck.Kind(key) != "" || ck.entries[ck.at[key]].err != nil, key)
			} else if x.NumBytes() < 1<<20 {
				require.EqualValues(t, x.NumBytes(), len(x.Bytes()))
			}
		}
	})
}
