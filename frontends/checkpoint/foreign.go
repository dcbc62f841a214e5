package checkpoint

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// foreigners are files that people give for checkpoints, by their bytes at an offset, and the way out.
var foreigners = []struct {
	at    int
	magic string
	what  string
}{
	{0, "\x1f\x8b", "a gzip file; unpack it first (gunzip, or tar -xzf)"},
	{0, "BZh", "a bzip2 file; unpack it first"},
	{0, "\xfd7zXZ\x00", "an xz file; unpack it first"},
	{0, "\x28\xb5\x2f\xfd", "a zstd file; unpack it first"},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"},
	{0, "Rar!", "a RAR archive; unpack it first"},
	{0, "\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, TensorFlow); only PyTorch and safetensors checkpoints are read"},
	{0, "GGUF", "a GGUF file; only PyTorch and safetensors checkpoints are read"},
	{0, "\x93NUMPY", "a NumPy file; save the weights with torch.save or safetensors.numpy.save_file"},
	{4, "TFL3", "a TensorFlow Lite model; only PyTorch and safetensors checkpoints are read"},
	{0, "\x89PNG", "a picture"},
	{0, "\xff\xd8\xff", "a picture"},
	{0, "%PDF", "a PDF document"},
	{0, "\x7fELF", "a program"},
	{0, "RZ", "a TensorRT plan or an ONNX Runtime file; only PyTorch and safetensors checkpoints are read"},
	{0, "ptrt", "a TensorRT plan; give the checkpoint that it was built from"},
	{4, "ORTM", "an ONNX Runtime model; give the checkpoint that it was exported from"},
	{4, "ET12", "an ExecuTorch program; give the checkpoint that it was exported from"},
}

// tarAt is where a tar archive has its magic.
const tarAt = 257

var (
	lfsSize = regexp.MustCompile(`(?m)^size (\d+)$`)
	// onnxHead is how ONNX files begin: ir_version, and the producer's name, the opset or the graph.
	onnxHead = regexp.MustCompile(`^\x08[\x03-\x14](\x12[\x00-\x40][ -~]|:|\x42)`)
)

// foreign says what a file is that is none of the formats read here.
func foreign(data []byte) error {
	is := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrNotCheckpoint}, args...)...)
	}
	if len(data) == 0 {
		return is("the file is empty")
	}
	for _, f := range foreigners {
		if len(data) > f.at && bytes.HasPrefix(data[f.at:], []byte(f.magic)) {
			return is("%s", f.what)
		}
	}
	if len(data) > tarAt && bytes.HasPrefix(data[tarAt:], []byte("ustar")) {
		if bytes.HasPrefix(data, []byte("storages")) || bytes.HasPrefix(data, []byte("sys_info")) || bytes.HasPrefix(data, []byte("pickle\x00")) || bytes.HasPrefix(data, []byte("tensors")) {
			return is("PyTorch's tar format of before 2018 is not supported; load it with PyTorch and save it again with torch.save")
		}
		return is("a tar archive; unpack it first (tar -xf)")
	}
	if onnxHead.Match(data) {
		return is("an ONNX model; give the checkpoint that it was exported from (exec, bench and compare take ONNX files)")
	}
	head := data[:min(len(data), 1024)]
	text := strings.ToLower(string(bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")))))
	switch {
	case strings.HasPrefix(text, "version https://git-lfs"):
		size := "the file itself"
		if m := lfsSize.FindSubmatch(head); m != nil {
			size = fmt.Sprintf("the file of %s bytes", m[1])
		}
		return is("a Git LFS pointer; git lfs pull brings %s", size)
	case strings.HasPrefix(text, "<!doctype html"), strings.HasPrefix(text, "<html"):
		return is("an HTML page; the download gave a page (a login, a warning, an error) and not the file")
	case strings.HasPrefix(text, "<?xml"):
		return is("an XML document; the download may have given an error and not the file")
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
		return is("a JSON document; the download may have given an error and not the file")
	case len(bytes.Trim(head, "\x00")) == 0:
		return is("it starts with zeros; the download was not finished")
	case !bytes.ContainsFunc(head, func(r rune) bool { return r < 9 || r > 13 && r < 32 || r == '\ufffd' }):
		return is("a text file")
	}
	return ErrNotCheckpoint
}

// pickled says what a pickle holds that is no state dict.
func pickled(v any) string {
	switch x := v.(type) {
	case *object:
		if x.module {
			return fmt.Sprintf("a whole pickled module of class %s, which is not executed; save its weights alone: torch.save(model.state_dict(), FILE)", x.class)
		}
		if isArray(x) {
			return "a NumPy array (save a tensor: torch.from_numpy)"
		}
		return "an object of class " + x.class
	case *odd:
		return x.kind
	case *strided:
		return "a tensor"
	case class:
		return "the class or function " + x.name
	}
	return fmt.Sprintf("no dict of tensors (%s)", pythonType(v))
}

// isArray reports whether an object is a NumPy array.
func isArray(o *object) bool {
	return strings.HasPrefix(o.class, "numpy.") && strings.HasSuffix(o.class, "._reconstruct")
}

func pythonType(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case string:
		return "a string"
	case int, float64, bool:
		return "a number"
	case []byte:
		return "bytes"
	}
	return "a list or the like"
}
