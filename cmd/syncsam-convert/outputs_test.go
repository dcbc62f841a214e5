//go:build unix

package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// A box of files that commands read, with copies of small ones.
type inbox struct {
	dir, artifact, checkpoint, golden, data, picture, tensors string
}

func copied(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(t, os.WriteFile(to, b, 0o644))
}

func newInbox(t *testing.T) inbox {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	x := inbox{dir, at("artifact"), at("tiny.pth"), at("golden"), at("dataset"), at("picture.png"), at("in.safetensors")}
	copied(t, tiny34, x.checkpoint)
	copied(t, picture, x.picture)
	copied(t, golden34+"/golden.json", at("golden/golden.json"))
	index, err := filepath.Glob("../../golden/data/dataset/*.json")
	require.NoError(t, err)
	require.Len(t, index, 1)
	copied(t, index[0], filepath.Join(x.data, filepath.Base(index[0])))
	copied(t, picture, filepath.Join(x.data, "images", filepath.Base(picture)))
	copied(t, picture, x.tensors)
	must(t, "build", x.checkpoint, "-o", x.artifact, "--external-data")
	return x
}

// sums are the hashes of all files below a folder, and what is no plain file.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if out[path] = d.Type().String(); d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			out[path] = fmt.Sprintf("%x", sha256.Sum256(b))
			return err
		}
		return nil
	}))
	return out
}

// No command writes over what it reads: not over an argument, what another flag names, what lies in a folder that it reads, or is read with a file;
// not by a link, another spelling or a second name, and two outputs do not go to one place.
func TestOutputsAreNoInputs(t *testing.T) {
	x := newInbox(t)
	index := filepath.Join(x.data, "SAMed2D.json")
	if list, _ := filepath.Glob(x.data + "/*.json"); len(list) == 1 {
		index = list[0]
	}
	link, hard := filepath.Join(x.dir, "link"), filepath.Join(x.dir, "hard")
	require.NoError(t, os.Symlink(x.picture, link))
	require.NoError(t, os.Link(x.picture, hard))
	copied(t, x.picture, filepath.Join(x.dir, "seen.overlay.png"))
	encoder := filepath.Join(x.artifact, "encoder.onnx")
	image := filepath.Join(x.data, "images", filepath.Base(picture))
	shards := filepath.Join(x.dir, "shards")
	copied(t, x.checkpoint, filepath.Join(shards, "a.bin"))
	require.NoError(t, os.WriteFile(filepath.Join(shards, "model.index.json"), []byte(`{"weight_map":{"k":"a.bin"}}`), 0o644))
	before := sums(t, x.dir)
	covered := map[string]bool{}
	for _, args := range [][]string{
		{"build", x.checkpoint, "-o", x.checkpoint},
		{"build", x.checkpoint, "-o", x.checkpoint, "--force"},
		{"build", x.checkpoint, "-o", "NEW", "--precision", "int8", "--plan", x.tensors, "--plan-out", x.tensors},
		{"build", x.checkpoint, "-o", "NEW", "--precision", "int8", "--calib", x.data, "--plan-out", image},
		{"build", x.checkpoint, "-o", "NEW", "--precision", "int8", "--calib", x.data, "--plan-out", x.checkpoint},
		{"build", x.checkpoint, "-o", "NEW", "--dump", x.checkpoint},
		{"build", x.checkpoint, "-o", x.data, "--force"},
		{"build", x.checkpoint, "-o", x.golden, "--force"},
		{"calibrate", x.checkpoint, "--calib", x.data, "-o", x.checkpoint},
		{"calibrate", x.checkpoint, "--calib", x.data, "-o", image},
		{"calibrate", x.checkpoint, "--calib", x.picture + "," + x.tensors, "-o", x.tensors},
		{"calibrate", shards, "--calib", x.data, "-o", filepath.Join(shards, "a.bin")},
		{"calibrate", filepath.Join(shards, "model.index.json"), "--calib", x.data, "-o", filepath.Join(shards, "a.bin")},
		{"exec", encoder, "--inputs", x.tensors, "--outputs", x.tensors},
		{"exec", encoder, "--inputs", x.tensors, "--outputs", encoder},
		{"exec", encoder, "--inputs", x.tensors, "--outputs", encoder + ".data"},
		{"run", x.artifact, "--image", x.picture, "--box", "1,1,9,9", "-o", x.picture},
		{"run", x.artifact, "--image", link, "--box", "1,1,9,9", "-o", x.picture},
		{"run", x.artifact, "--image", x.picture, "--box", "1,1,9,9", "-o", link},
		{"run", x.artifact, "--image", hard, "--box", "1,1,9,9", "-o", x.picture},
		{"run", x.artifact, "--image", x.picture + "#window=0:9", "--box", "1,1,9,9", "-o", x.dir + "/./picture.png"},
		{"run", x.artifact, "--image", x.picture, "--box", "1,1,9,9", "-o", encoder},
		{"run", x.artifact, "--image", x.picture, "--box", "1,1,9,9", "-o", filepath.Join(x.artifact, "manifest.json")},
		{"run", x.artifact, "--image", x.picture, "--box", "1,1,9,9", "-o", "NEW", "--overlay", x.picture},
		{"run", x.artifact, "--image", x.picture, "--box", "1,1,9,9", "-o", "NEW", "--overlay", "NEW"},
		{"run", x.artifact, "--image", filepath.Join(x.dir, "seen.overlay.png"), "--box", "1,1,9,9", "-o", filepath.Join(x.dir, "seen.png")},
		{"run", x.artifact, "--image", x.picture, "--box", "1,1,9,9", "-o", "NEW", "--json=" + x.picture},
		{"push", x.artifact, "localhost:1/models/tiny", "--json=" + encoder},
		{"pull", "localhost:1/models/tiny", "-o", x.checkpoint},
		{"picture", x.picture, "-o", x.picture, "--force"},
		{"picture", x.picture + "#window=0:9", "-o", link, "--force"},
		{"compare", x.artifact, x.checkpoint, "--svg", x.checkpoint},
		{"compare", x.artifact, x.checkpoint, "--svg", encoder},
		{"compare", x.artifact, x.checkpoint, "--image", x.picture, "--svg", x.picture},
		{"verify", x.artifact, "--golden", x.golden, "--json", filepath.Join(x.golden, "golden.json")},
		{"build", x.checkpoint, "-o", "NEW", "--json=" + x.checkpoint},
		{"inspect", x.checkpoint, "--json=" + x.checkpoint},
		{"compare", x.artifact, x.checkpoint, "--json=" + encoder},
		{"bench", x.artifact, "--json=" + encoder},
		{"doctor", "--engine", "onnxruntime", "--onnxruntime-lib", x.picture, "--json=" + x.picture},
		{"lint", x.artifact, "--json=" + filepath.Join(x.artifact, "manifest.json")},
		{"picture", x.picture, "-o", "NEW", "--json=" + x.picture},
		{"plan", "lint", encoder, "--json=" + encoder},
		{"verify", x.artifact, "--golden", x.golden, "--json", filepath.Join(x.artifact, "manifest.json")},
		{"verify", x.artifact, "--golden", x.golden, "--junit", index},
		{"verify", x.artifact, "--golden", x.golden, "--junit", image},
		{"verify", x.artifact, "--golden", "paper:2/SyncSAM-SAMed-50", "--data", x.data, "--junit", image},
		{"verify", x.artifact, "--golden", x.golden, "--items", image},
		{"merge", x.picture, x.tensors, "-o", x.tensors},
		{"verify", x.artifact, "--golden", x.golden, "--json", "NEW", "--junit", "NEW"},
		{"export", "triton", x.artifact, "-o", x.checkpoint},
		{"export", "triton", x.artifact, "-o", encoder, "--force"},
		{"export", "triton", x.artifact, "-o", x.artifact, "--force"},
		{"verify", x.artifact, "--golden", x.golden, "--html", x.golden, "--json", filepath.Join(x.golden, "golden.json")},
	} {
		for i := range args {
			if args[i] == "NEW" {
				args[i] = filepath.Join(x.dir, "new")
			}
			if strings.HasPrefix(args[i], "-") {
				name, _, _ := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
				covered[args[0]+" "+name] = true
			}
		}
		r := command(args...)
		require.Equal(t, 2, r.code, "%v\n%s", args, r.err)
		require.Regexp(t, `^syncsam-convert: [^\n]*(the input|is not a folder|not an artifact|two outputs|no model repository)[^\n]*\n$`, r.err, args)
	}
	require.Equal(t, before, sums(t, x.dir), "no input was touched, nothing was left")
	for _, c := range newRoot().Commands() {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if _, writes := f.Annotations["writes"]; writes {
				require.True(t, covered[c.Name()+" "+f.Name] || covered[c.Name()+" "+f.Shorthand], "%s --%s has no row", c.Name(), f.Name)
			}
		})
	}
}

// A name that says that a file is another kind than what is written is refused before any work; a name that says nothing is not.
func TestEndingsSayWhatIsWritten(t *testing.T) {
	dir := built(t, tiny34)
	at := func(name string) string { return filepath.Join(t.TempDir(), name) }
	box := []string{"run", dir, "--image", picture, "--box", "40,40,90,90", "-o"}
	for want, args := range map[string][]string{
		"have the ending .jpg":              append(box[:len(box):len(box)], at("m.jpg")),
		"have the ending .gz":               append(box[:len(box):len(box)], at("m.png.gz")),
		"is a picture, which has no voxels": append(box[:len(box):len(box)], at("m.nii.gz")),
		"is no DICOM":                       append(box[:len(box):len(box)], at("m.dcm")),
		"have the ending .jpeg, want .png":  append(box[:len(box):len(box)], at("m.png"), "--overlay", at("o.jpeg")),
		"have the ending .tif, want .png":   {"picture", picture, "-o", at("p.tif")},
		"have the ending .png, want .svg":   {"compare", dir, tiny34, "--svg", at("c.png")},
	} {
		refused(t, want, args...)
		require.NoFileExists(t, args[len(args)-1])
	}
	must(t, append(box, at("mask"))...)
}

// Every flag that names an output is marked as one.
func TestOutputFlagsAreMarked(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			_, writes := f.Annotations["writes"]
			text := strings.Contains(f.Usage, "to write") || strings.Contains(f.Usage, "file for the") || strings.Contains(f.Usage, "folder for the")
			require.Equal(t, text, writes, "%s --%s: %s", c.Name(), f.Name, f.Usage)
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}

// A report in a folder that is read is a report, and may be written anew.
func TestReportsMayLieBesideWhatTheyAreOf(t *testing.T) {
	x := newInbox(t)
	out := filepath.Join(x.artifact, "mask.png")
	for range 2 {
		must(t, "run", x.artifact, "--image", x.picture, "--box", "40,40,90,90", "-o", out)
		must(t, "compare", x.artifact, x.checkpoint, "--svg", filepath.Join(x.artifact, "error.svg"))
	}
	page := filepath.Join(x.dir, "page")
	require.NoError(t, os.Mkdir(page, 0o755))
	for range 2 {
		must(t, "verify", x.artifact, "--golden", golden34, "--prompts", "box", "--html", page)
	}
	require.NoError(t, os.WriteFile(filepath.Join(page, "index.html"), []byte("<html>mine"), 0o644))
	refused(t, "it is no report of this program", "verify", x.artifact, "--golden", golden34, "--prompts", "box", "--html", page)
	must(t, "build", x.checkpoint, "-o", x.artifact, "--force")
	require.FileExists(t, out, "what the manifest does not list outlives a new build")
	require.NoFileExists(t, filepath.Join(x.artifact, "encoder.onnx.data"), "what it lists does not")
}

// A device stays one, and nothing is put beside it.
func TestOutputsThatAreDevices(t *testing.T) {
	x := newInbox(t)
	before := names(t, filepath.Dir(os.DevNull))
	for _, args := range [][]string{
		{"run", x.artifact, "--image", x.picture, "--box", "40,40,90,90", "-o", os.DevNull},
		{"picture", x.picture, "-o", os.DevNull},
		{"compare", x.artifact, x.checkpoint, "--svg", os.DevNull},
		{"verify", x.artifact, "--golden", golden34, "--prompts", "box", "--json", os.DevNull, "--junit", os.DevNull},
		{"calibrate", x.checkpoint, "--calib", filepath.Join(x.data, "images"), "-o", os.DevNull},
	} {
		must(t, args...)
	}
	info, err := os.Lstat(os.DevNull)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeCharDevice)
	require.Equal(t, before, names(t, filepath.Dir(os.DevNull)))
	refused(t, "is not a folder", "build", x.checkpoint, "-o", os.DevNull, "--force")
}
