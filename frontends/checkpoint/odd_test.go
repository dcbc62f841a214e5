package checkpoint

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// Files that PyTorch wrote with what is no plain tensor in them (testdata/make_odd.py): what can be read is as PyTorch has it.
func TestOddFilesOfPyTorch(t *testing.T) {
	want, err := safetensors.Open("testdata/odd.safetensors")
	require.NoError(t, err)
	defer want.Close()
	for _, c := range []struct {
		file, wrapper string
		tensors       int
		dropped       []string
	}{
		{"negative.pth", "", 8, nil},
		{"negative_legacy.pth", "", 8, nil},
		{"shapes.pth", "", 12, nil},
		{"subclasses.pth", "", 6, []string{"sub: class __main__.Sub dropped", "attribute: attribute tag dropped", "parameter: attributes lr_scale, no_decay dropped"}},
		{"subclasses_legacy4.pth", "", 6, []string{"attribute: attribute tag dropped"}},
		{"odd.pth", "", 2, []string{
			"complex is a complex64 tensor [4]", "uint16 is a uint16 tensor [3]", "uint32 is a uint32 tensor [3]", "uint64 is a uint64 tensor [3]", "float8 is a float8_e4m3fn tensor [4]",
			"sparse is a sparse tensor (save it with .to_dense())", "csr is a sparse tensor", "quantized is a quantized tensor (save it with .dequantize())", "channels is a quantized tensor",
			"nested is a nested tensor", "meta is a tensor of the meta device, which has no values", "numpy is a NumPy array", "wrapper is a tensor of a class that keeps its values elsewhere",
			"restored: class __main__.Restored dropped"}},
		{"odd_legacy.pth", "", 2, []string{"complex is a complex64 tensor [4]", "quantized is a quantized tensor"}},
		{"odd_types.safetensors", "", 2, []string{"complex is a C64 tensor [4]", "uint16 is a U16 tensor [3]", "float8 is a F8_E4M3 tensor [4]"}},
		{"protocol3.pth", "", 1, nil}, {"protocol4.pth", "", 1, nil}, {"protocol5.pth", "", 1, nil},
		{"legacy3.pth", "", 1, nil}, {"legacy4.pth", "", 1, nil}, {"legacy5.pth", "", 1, nil},
		{"trainer.pth", "state_dict", 3, nil},
		{"compiled.pth", "", 3, nil},
		{"compiled_inside.pth", "", 3, nil},
		{"dict_class.pth", "model", 3, nil},
		{"beside.pth", "", 4, nil},
		{"loop.pth", "", 1, nil},
		{"shards", "", 3, nil},
	} {
		t.Run(c.file, func(t *testing.T) {
			ck, err := Open(filepath.Join("testdata", c.file))
			require.NoError(t, err)
			defer ck.Close()
			require.Equal(t, c.wrapper, ck.Wrapper())
			dropped := strings.Join(ck.Dropped(), "\n")
			for _, d := range c.dropped {
				require.Contains(t, dropped, d)
			}
			if c.dropped == nil {
				require.Empty(t, dropped)
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
			if !strings.HasPrefix(c.file, "odd") {
				require.Len(t, ck.Names(), n)
			}
			require.NoError(t, ck.CheckSums(context.Background()))
			require.NoError(t, ck.CheckFinite(context.Background()))
		})
	}
}

// A safetensors file is one whatever the length of its header, which the first bytes are.
func TestHeaderLengths(t *testing.T) {
	for pad := range 1400 {
		var out bytes.Buffer
		require.NoError(t, safetensors.Write(&out, []safetensors.Named{{Name: "x", Tensor: tensor.Scalar(1)}}, map[string]string{"pad": strings.Repeat("x", pad)}))
		ck, err := parse(out.Bytes())
		require.NoError(t, err, pad)
		require.Equal(t, []string{"x"}, ck.Keys())
	}
}

// Metadata that this reader does not know refuses the tensor, not the file.
func TestUnknownMetadata(t *testing.T) {
	for file, want := range map[string]string{"conjugate.pth": "conj is a tensor with its conjugate bit set (save it with .resolve_conj())"} {
		ck, err := Open(filepath.Join("testdata", file))
		require.NoError(t, err)
		require.Contains(t, strings.Join(ck.Dropped(), "\n"), want)
		require.NoError(t, ck.Close())
	}
	data := replace(t, "negative.pth", "X\x03\x00\x00\x00neg", "X\x03\x00\x00\x00bit") // the first tensor
	ck, err := parse(data)
	require.NoError(t, err)
	require.NoError(t, ck.useLargest())
	require.NotContains(t, ck.Names(), "w")
	require.Contains(t, strings.Join(ck.Dropped(), "\n"), `w is a tensor with metadata "bit", which may change its values`)
}

// A shard that a name does not lie in, and an index that leaves the folder.
func TestBadIndex(t *testing.T) {
	for text, want := range map[string]string{
		`{"weight_map": {"a.bias": "model-00001-of-00002.safetensors", "none": "model-00001-of-00002.safetensors"}}`: `tensor "none" is not in model-00001-of-00002.safetensors (1 are missing)`,
		`{"weight_map": {"a": "../x.safetensors"}}`:             "not the name of a file beside the index",
		`{"weight_map": {"a": "gone.safetensors"}}`:             "gone.safetensors: no such file",
		`{"weight_map": {}}`:                                    "without weight_map",
		`{"weight_map": {"a": "model.safetensors.index.json"}}`: "",
		`[1]`:                    "no index of shards",
		`{"weight_map": {"a": "`: "no index of shards",
	} {
		dir := t.TempDir()
		shard, err := os.ReadFile("testdata/shards/model-00001-of-00002.safetensors")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "model-00001-of-00002.safetensors"), shard, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), []byte(text), 0o600))
		_, err = Open(dir)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
}

// What people give for checkpoints is named for what it is, with the way out.
func TestForeignFiles(t *testing.T) {
	bare, err := os.ReadFile("testdata/bare.pth")
	require.NoError(t, err)
	var packed bytes.Buffer
	g := gzip.NewWriter(&packed)
	_, err = g.Write(bare)
	require.NoError(t, err)
	require.NoError(t, g.Close())
	zipped := func(method uint16, names ...string) []byte {
		var out bytes.Buffer
		w := zip.NewWriter(&out)
		for _, name := range names {
			f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method})
			require.NoError(t, err)
			_, err = f.Write(bare)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		return out.Bytes()
	}
	tar := make([]byte, 1024)
	copy(tar, "model.pth")
	copy(tar[257:], "ustar")
	for _, c := range []struct{ name, data, want string }{
		{"lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 375042383\n", "a Git LFS pointer; git lfs pull brings the file of 375042383 bytes"},
		{"html", "<!DOCTYPE html><html><head><title>Virus scan warning</title>", "an HTML page"},
		{"html with a mark", "\xef\xbb\xbf\n <HTML>", "an HTML page"},
		{"xml", "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "an XML document"},
		{"json", `{"error": "Repository not found"}`, "a JSON document"},
		{"text", "not a checkpoint at all", "a text file"},
		{"zeros", string(make([]byte, 5000)), "it starts with zeros"},
		{"gzip", packed.String(), "a gzip file; unpack it first"},
		{"tar", string(tar), "a tar archive"},
		{"zip of a checkpoint", string(zipped(zip.Deflate, "folder/model.pth")), "a zip file that holds folder/model.pth; unpack it first"},
		{"npz", string(zipped(zip.Store, "weight.npy")), "a NumPy archive"},
		{"compressed", string(zipped(zip.Deflate, "x/data.pkl")), "compressed"},
		{"hdf5", "\x89HDF\r\n\x1a\n\x00", "an HDF5 file"},
		{"gguf", "GGUF\x03\x00\x00\x00", "a GGUF file"},
		{"npy", "\x93NUMPY\x01\x00", "a NumPy file"},
		{"onnx", "\x08\x08\x12\x07pytorch\x1a\x032.0", "an ONNX model"},
		{"pickle", "\x80\x04\x95\x0a\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s.", `a pickle that torch.save did not write: it holds a dict of 1 items, the first "a"`},
		{"noise", "\x01\x02\x03\xff\xfe\x00\x00", "not a checkpoint"},
		{"empty", "", "the file is empty"},
		{"cut", string(bare[:700]), "a download of 700 bytes that was not finished"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.pth")
			require.NoError(t, os.WriteFile(path, []byte(c.data), 0o600))
			_, err := Open(path)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, path)
			require.NotContains(t, err.Error(), "\n")
		})
	}
	for file, want := range map[string]string{
		"module.pth":         "a whole pickled module of class __main__.Net, which is not executed; save its weights alone: torch.save(model.state_dict(), FILE)",
		"module_legacy.pth":  "a whole pickled module of class __main__.Net",
		"module_in_dict.pth": "it holds no tensors, but model is a whole pickled module of class __main__.Net",
		"tensor.pth":         "the pickle holds no dict, but a tensor",
		"script.pt":          "a TorchScript archive",
	} {
		_, err := Open(filepath.Join("testdata", file))
		require.ErrorContains(t, err, want)
		require.ErrorIs(t, err, ErrNotCheckpoint)
	}
	for file, want := range map[string]string{"data.pkl": "an unpacked PyTorch archive", ".metadata": "a distributed checkpoint", "saved_model.pb": "a TensorFlow model", "manifest.json": "an artifact"} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), nil, 0o600))
		_, err := Open(dir)
		require.ErrorContains(t, err, want)
	}
	_, err = Open("testdata/shards/model-00001-of-00002.safetensors")
	require.ErrorContains(t, err, "it is one of 2 shards; give the folder, or the index")
	dir := t.TempDir()
	for _, name := range []string{"best.pth", "last.pth"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), bare, 0o600))
	}
	_, err = Open(dir)
	require.ErrorContains(t, err, "2 files of weights (best.pth, last.pth); name one")
	require.NoError(t, os.Remove(filepath.Join(dir, "best.pth")))
	ck, err := Open(dir)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "last.pth"), ck.Path())
	require.NoError(t, ck.Close())
}
