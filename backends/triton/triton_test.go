package triton

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/compile"
	"syncsam-convert/internal/families"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/internal/trthost"
)

func build(t *testing.T, o compile.Options) (string, *artifact.Manifest) {
	t.Helper()
	o.Output = filepath.Join(t.TempDir(), "artifact")
	m, err := compile.Compile(context.Background(), o)
	require.NoError(t, err)
	return o.Output, m
}

// family builds a small model of a family.
func family(t *testing.T, name string, o compile.Options) (string, *artifact.Manifest) {
	t.Helper()
	o.Checkpoint = filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, families.Write("../../compile/testdata/families/"+name+".txt", o.Checkpoint))
	return build(t, o)
}

// A message of the text format: its fields in order, values as text or messages.
type message []struct {
	name  string
	value any
}

func (m message) all(name string) (out []any) {
	for _, f := range m {
		if f.name == name {
			out = append(out, f.value)
		}
	}
	return out
}

func (m message) one(t *testing.T, name string) string {
	t.Helper()
	all := m.all(name)
	require.Len(t, all, 1, name)
	return all[0].(string)
}

var field = regexp.MustCompile(`^([a-z_]+)(?:: (.*)| (\{))$`)

// parse reads what this package writes: a field a line. make test-triton parses with protobuf.
func parse(t *testing.T, lines *[]string) (m message) {
	t.Helper()
	for len(*lines) > 0 {
		line := strings.TrimSpace((*lines)[0])
		*lines = (*lines)[1:]
		if line == "}" {
			return m
		}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := field.FindStringSubmatch(line)
		require.NotNil(t, f, line)
		var value any = f[2]
		if f[3] == "{" {
			value = parse(t, lines)
		}
		m = append(m, struct {
			name  string
			value any
		}{f[1], value})
	}
	return m
}

func config(t *testing.T, repository, name string) message {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, name, ConfigName))
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	return parse(t, &lines)
}

// asDeclared wants a configuration to have the tensors that an ONNX file declares.
func asDeclared(t *testing.T, c message, model string) {
	t.Helper()
	f, err := onnxpb.Open(model)
	require.NoError(t, err)
	defer f.Close()
	in, out, err := f.Interface()
	require.NoError(t, err)
	batch := c.one(t, "max_batch_size") != "0"
	for _, group := range []struct {
		field string
		want  []onnxpb.Declared
	}{{"input", in}, {"output", out}} {
		have := c.all(group.field)
		require.Len(t, have, len(group.want))
		for i, w := range group.want {
			m := have[i].(message)
			require.Equal(t, fmt.Sprintf("%q", w.Name), m.one(t, "name"))
			require.Equal(t, "TYPE_"+map[string]string{"float32": "FP32", "float16": "FP16", "int64": "INT64", "uint8": "UINT8"}[w.DType.String()], m.one(t, "data_type"))
			var dims []string
			for _, d := range w.Dims {
				dims = append(dims, fmt.Sprint(d.Size))
			}
			if batch {
				require.Equal(t, "-1", dims[0])
				dims = dims[1:]
			}
			require.Equal(t, "[ "+strings.Join(dims, ", ")+" ]", m.one(t, "dims"))
		}
	}
	warm := c.all("model_warmup")[0].(message)
	for i, w := range warm.all("inputs") {
		require.Equal(t, fmt.Sprintf("%q", in[i].Name), w.(message).one(t, "key"))
		require.NotContains(t, w.(message).all("value")[0].(message).one(t, "dims"), "-1")
	}
	require.Len(t, warm.all("inputs"), len(in))
}

// Of every family, the configuration has what the graphs declare; encoders and models of one graph are batched, decoders are not.
func TestConfigurationsOfAllFamilies(t *testing.T) {
	lists, err := filepath.Glob("../../compile/testdata/families/*.txt")
	require.NoError(t, err)
	require.Greater(t, len(lists), 5)
	for _, list := range lists {
		name := strings.TrimSuffix(filepath.Base(list), ".txt")
		t.Run(name, func(t *testing.T) {
			dir, man := family(t, name, compile.Options{})
			repository := filepath.Join(t.TempDir(), "repository")
			models, err := Export(dir, repository, Options{})
			require.NoError(t, err)
			require.Len(t, models, len(man.Files))
			for _, m := range models {
				c := config(t, repository, m.Name)
				asDeclared(t, c, filepath.Join(dir, m.Name+".onnx"))
				require.Equal(t, fmt.Sprintf("%q", m.Name), c.one(t, "name"))
				want := "0"
				if m.Name == "encoder" || m.Name == "model" || m.Name == "text_encoder" {
					want = "8"
				}
				require.Equal(t, want, c.one(t, "max_batch_size"), m.Name)
				require.Equal(t, want == "8", len(c.all("dynamic_batching")) == 1)
			}
		})
	}
}

// The interface of SAM's official client, whose decoder takes and gives more, and external data, which lie beside their model.
func TestOtherInterfaces(t *testing.T) {
	dir, man := build(t, compile.Options{Checkpoint: "../../golden/data/syncsam-tiny-34/syncsam-tiny-34.pth", Postprocess: true, ExternalData: true})
	repository := filepath.Join(t.TempDir(), "repository")
	_, err := Export(dir, repository, Options{Device: "cpu", MaxBatch: 3})
	require.NoError(t, err)
	for _, name := range []string{"encoder", "decoder"} {
		c := config(t, repository, name)
		asDeclared(t, c, filepath.Join(repository, name, "1", "model.onnx"))
		require.Equal(t, "KIND_CPU", c.all("instance_group")[0].(message).one(t, "kind"))
	}
	require.Equal(t, "3", config(t, repository, "encoder").one(t, "max_batch_size"))
	data := 0
	for _, f := range man.Files {
		if filepath.Ext(f.Name) != ".onnx" {
			data++
			sum, _, err := artifact.Hash(filepath.Join(repository, strings.Split(f.Name, ".")[0], "1", f.Name))
			require.NoError(t, err)
			require.Equal(t, f.SHA256, sum)
		}
	}
	require.Positive(t, data)
}

// Plans are exported where they are built, with the batch and sizes of their profiles; those that do not fit, or run where none does, are refused.
func TestPlans(t *testing.T) {
	dir, _ := build(t, compile.Options{Checkpoint: "../../golden/data/syncsam-tiny-34/syncsam-tiny-34.pth", Target: compile.TensorRT, Profile: "N=1:2:6,P=2:4:9"})
	to := func() string { return filepath.Join(t.TempDir(), "repository") }
	_, err := Export(dir, to(), Options{Format: "plan"})
	require.ErrorContains(t, err, "not built yet")
	repository := to()
	_, err = Export(dir, repository, Options{})
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(repository, "encoder/1/model.onnx"))

	for _, name := range []string{"encoder", "decoder"} {
		plan := filepath.Join(dir, "plan", name+".plan")
		require.NoError(t, os.WriteFile(plan, []byte("plan of "+name), 0o644))
		sum := sha256.Sum256([]byte("plan of " + name))
		of, _, err := artifact.Hash(filepath.Join(dir, "plan", name+".onnx"))
		require.NoError(t, err)
		s := trthost.Sidecar{TensorRT: "10.13.3", GPU: "NVIDIA A100", ComputeCapability: "8.0", Driver: "12.4", ONNX: of, Plan: hex.EncodeToString(sum[:]), Bytes: int64(len("plan of " + name))}
		require.NoError(t, s.Write(plan))
	}
	repository = to()
	_, err = Export(dir, repository, Options{})
	require.NoError(t, err)
	c := config(t, repository, "encoder")
	require.Equal(t, `"tensorrt_plan"`, c.one(t, "platform"))
	require.Equal(t, "6", c.one(t, "max_batch_size"))
	asDeclared(t, c, filepath.Join(dir, "plan/encoder.onnx"))
	text, err := os.ReadFile(filepath.Join(repository, "encoder/1/model.plan"))
	require.NoError(t, err)
	require.Equal(t, "plan of encoder", string(text))
	points := config(t, repository, "decoder").all("model_warmup")[0].(message).all("inputs")[2].(message)
	require.Equal(t, `"point_coords"`, points.one(t, "key"))
	require.Equal(t, "[ 1, 4, 2 ]", points.all("value")[0].(message).one(t, "dims"))

	_, err = Export(dir, to(), Options{Device: "cpu"})
	require.ErrorContains(t, err, "a plan runs on a GPU alone")
	_, err = Export(dir, to(), Options{Device: "cpu", Format: "onnx"})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "plan/decoder.plan"), []byte("another"), 0o644))
	_, err = Export(dir, to(), Options{})
	require.ErrorContains(t, err, "as its sidecar says")
}

// A repository keeps what an export did not write; two artifacts lie side by side; what is not the artifact's own is not exported.
func TestRepository(t *testing.T) {
	dir, _ := build(t, compile.Options{Checkpoint: "../../golden/data/syncsam-tiny-34/syncsam-tiny-34.pth"})
	repository := filepath.Join(t.TempDir(), "repository")
	_, err := Export(dir, repository, Options{})
	require.NoError(t, err)
	_, err = Export(dir, repository, Options{})
	require.Error(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(repository, "resnet/1"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(repository, "resnet/config.pbtxt"), []byte("name: \"resnet\"\n"), 0o644))
	_, err = Export(dir, repository, Options{Prefix: "b_", Force: true})
	require.NoError(t, err)
	_, err = Export(dir, repository, Options{MaxBatch: 2, Force: true})
	require.NoError(t, err)
	for _, name := range []string{"encoder", "decoder", "b_encoder", "b_decoder", "resnet"} {
		require.FileExists(t, filepath.Join(repository, name, ConfigName))
	}
	require.Equal(t, "2", config(t, repository, "encoder").one(t, "max_batch_size"))
	require.Equal(t, "8", config(t, repository, "b_encoder").one(t, "max_batch_size"))
	require.NoError(t, os.WriteFile(filepath.Join(repository, "encoder", ConfigName), []byte("name: \"encoder\"\n"), 0o644))
	_, err = Export(dir, repository, Options{Force: true})
	require.ErrorContains(t, err, "not written by this program")

	for want, o := range map[string]Options{"format: have": {Format: "x"}, "device: have": {Device: "tpu"}, "largest batch": {MaxBatch: -1}, "prefix: have": {Prefix: "../"}, "it has no plans": {Format: "plan"}} {
		_, err := Export(dir, filepath.Join(t.TempDir(), "r"), o)
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "decoder.onnx"), []byte("x"), 0o644))
	none := filepath.Join(t.TempDir(), "none")
	_, err = Export(dir, none, Options{})
	require.ErrorContains(t, err, "as in the manifest")
	require.NoDirExists(t, none)
}
