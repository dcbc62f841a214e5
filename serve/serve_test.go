package serve

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/compile"
	"syncsam-convert/engine"
	"syncsam-convert/internal/families"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
	"syncsam-convert/segment"
)

const picture = "../golden/data/dataset/images/amos_0004_75.png"

var tiny = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "serve-test-*")
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "tiny")
	_, err = compile.Compile(context.Background(), compile.Options{Checkpoint: "../golden/data/syncsam-tiny-34/syncsam-tiny-34.pth", Output: dir})
	return dir, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := tiny(); err == nil {
		os.RemoveAll(filepath.Dir(dir))
	}
	os.Exit(code)
}

// opened serves artifacts; the models are there until the test ends.
func opened(t *testing.T, o Options, dirs ...string) (*Server, http.Handler) {
	t.Helper()
	s, err := Open(dirs, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, s.Handler()
}

func artifactOf(t *testing.T) string {
	t.Helper()
	dir, err := tiny()
	require.NoError(t, err)
	return dir
}

// call makes a request; headers are pairs.
func call(h http.Handler, method, path string, body []byte, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Host = "localhost"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// message makes the body of an inference, with its header's length.
func message(inputs map[string]*Value, inBinary bool, more map[string]any) (body []byte, header string) {
	var list []map[string]any
	var behind []byte
	for name, v := range inputs {
		in := map[string]any{"name": name, "datatype": v.datatype(), "shape": v.Dims}
		if b := v.binaryBytes(); inBinary {
			in["parameters"] = map[string]any{"binary_data_size": len(b)}
			behind = append(behind, b...)
		} else if v.Numbers == nil {
			in["data"] = []string{base64.StdEncoding.EncodeToString(v.Texts[0])}
		} else {
			text, err := v.appendJSON(nil)
			if err != nil {
				panic(err)
			}
			in["data"] = json.RawMessage(text)
		}
		list = append(list, in)
	}
	all := map[string]any{"inputs": list, "id": "one"}
	for k, v := range more {
		all[k] = v
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	if !inBinary {
		return text, ""
	}
	return append(text, behind...), strconv.Itoa(len(text))
}

// answered reads the outputs of an answer.
func answered(t *testing.T, w *httptest.ResponseRecorder) map[string]*Value {
	t.Helper()
	body := w.Body.Bytes()
	require.Equal(t, http.StatusOK, w.Code, string(body[:min(len(body), 500)]))
	var from io.Reader = bytes.NewReader(body)
	var err error
	switch w.Header().Get("Content-Encoding") {
	case "gzip":
		from, err = gzip.NewReader(from)
	case "deflate":
		from, err = zlib.NewReader(from)
	}
	require.NoError(t, err)
	body, err = io.ReadAll(from)
	require.NoError(t, err)
	text, rest := body, []byte(nil)
	if n := w.Header().Get(headerLength); n != "" {
		size, err := strconv.Atoi(n)
		require.NoError(t, err)
		text, rest = body[:size], body[size:]
	}
	var a struct {
		ID      string `json:"id"`
		Outputs []struct {
			Name, Datatype string
			Shape          []int64
			Data           json.RawMessage
			Parameters     struct {
				Size *int `json:"binary_data_size"`
			}
		}
	}
	require.NoError(t, json.Unmarshal(text, &a))
	require.Equal(t, "one", a.ID)
	out := map[string]*Value{}
	for _, o := range a.Outputs {
		if n := o.Parameters.Size; n != nil {
			out[o.Name], err = fromBinary(o.Datatype, o.Shape, rest[:*n])
			rest = rest[*n:]
		} else {
			out[o.Name], err = fromJSON(o.Datatype, o.Shape, o.Data)
		}
		require.NoError(t, err)
	}
	require.Empty(t, rest)
	return out
}

func reason(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var e struct{ Error string }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e), w.Body.String())
	require.NotEmpty(t, e.Error)
	return e.Error
}

// random makes inputs of a model, with sizes of its dynamic dimensions.
func random(specs []Spec, sizes map[string]int64) map[string]*Value {
	r, out := rand.New(rand.NewPCG(3, 4)), map[string]*Value{}
	for _, s := range specs {
		dims, n := []int64{}, int64(1)
		for _, d := range s.Dims {
			size := d.Size
			if size < 0 {
				size = max(sizes[d.Name], 1)
			}
			dims, n = append(dims, size), n*size
		}
		if s.Datatype == "INT64" {
			x := make([]int64, n)
			for i := range x {
				x[i] = int64(r.IntN(9)) // token ids
			}
			out[s.Name] = numbers(tensor.FromInt64(dims, x))
			continue
		}
		x := make([]float32, n)
		for i := range x {
			switch s.Name {
			case "point_coords":
				x[i] = float32(r.IntN(60))
			case "point_labels":
				x[i] = float32(r.IntN(2))
			case "has_mask_input":
				x[i] = 1
			default:
				x[i] = float32(r.NormFloat64())
			}
		}
		out[s.Name] = numbers(tensor.FromFloat32(dims, x))
	}
	return out
}

var boxPrompt = map[string]*Value{boxInput: numbers(tensor.FromFloat32([]int64{1, 4}, []float32{40.5, 30, 120, 110.25}))}

// Of every family, all graphs give what the engine gives of the same tensors, in every form of request and answer, and segment gives what a
// prediction gives.
func TestAllFamilies(t *testing.T) {
	lists, err := filepath.Glob("../compile/testdata/families/*.txt")
	require.NoError(t, err)
	require.Greater(t, len(lists), 5)
	file, err := os.ReadFile(picture)
	require.NoError(t, err)
	for _, list := range lists {
		t.Run(strings.TrimSuffix(filepath.Base(list), ".txt"), func(t *testing.T) {
			checkpoint, dir := filepath.Join(t.TempDir(), "m.safetensors"), filepath.Join(t.TempDir(), "artifact")
			require.NoError(t, families.Write(list, checkpoint))
			man, err := compile.Compile(context.Background(), compile.Options{Checkpoint: checkpoint, Output: dir})
			require.NoError(t, err)
			s, h := opened(t, Options{}, dir)
			require.Len(t, s.Models(), len(man.Files)+1)
			for _, f := range man.Files {
				name := strings.TrimSuffix(f.Name, ".onnx")
				in := random(s.models[name].Inputs(), map[string]int64{"N": 1, "B": 2, "B_mask": 2, "P": 3, "T": 77})
				session, err := engine.Load(engine.Embedded, filepath.Join(dir, f.Name), engine.Options{})
				require.NoError(t, err)
				tensors := map[string]*tensor.Tensor{}
				for k, v := range in {
					tensors[k] = v.Numbers
				}
				want, err := session.Run(context.Background(), tensors)
				require.NoError(t, err, name)
				require.NoError(t, session.Close())
				for _, inBinary := range []bool{true, false} {
					packings := []string{"", "gzip", "deflate"}
					if name == "encoder" { // large
						packings = packings[:1]
					}
					for _, packing := range packings {
						body, header := message(in, inBinary, map[string]any{"parameters": map[string]any{"binary_data_output": inBinary}})
						headers := []string{"Accept-Encoding", packing}
						if inBinary {
							headers = append(headers, headerLength, header)
						}
						if packing != "" {
							var b bytes.Buffer
							var z io.WriteCloser = gzip.NewWriter(&b)
							if packing == "deflate" {
								z = zlib.NewWriter(&b)
							}
							_, err := z.Write(body)
							require.NoError(t, err)
							require.NoError(t, z.Close())
							body, headers = b.Bytes(), append(headers, "Content-Encoding", packing)
						}
						w := call(h, "POST", "/v2/models/"+name+"/infer", body, headers...)
						require.Equal(t, packing, w.Header().Get("Content-Encoding"))
						out := answered(t, w)
						require.Len(t, out, len(want))
						for k, x := range want {
							require.Equal(t, x.Dims(), out[k].Dims, k)
							require.True(t, bytes.Equal(x.Bytes(), out[k].Numbers.Bytes()), "%s %s: binary %v, packing %q", name, k, inBinary, packing)
						}
					}
				}
			}
			p, err := segment.Open(dir, engine.Embedded, engine.Options{})
			require.NoError(t, err)
			defer p.Close()
			m, err := pictures.Read(picture)
			require.NoError(t, err)
			e, err := p.Embed(context.Background(), m)
			require.NoError(t, err)
			want, err := p.Predict(context.Background(), e, prompt.Prompt{Box: &[4]float64{40.5, 30, 120, 110.25}})
			require.NoError(t, err)
			in := map[string]*Value{imageInput: {Dims: []int64{1}, Texts: [][]byte{file}}, boxInput: boxPrompt[boxInput]}
			for _, inBinary := range []bool{true, false} {
				body, header := message(in, inBinary, nil)
				out := answered(t, call(h, "POST", "/v2/models/segment/infer", body, headerLength, header))
				require.Equal(t, []int64{int64(m.H), int64(m.W)}, out[maskOutput].Dims)
				pix := out[maskOutput].Numbers.Bytes()
				for i, x := range want.Mask.Pix {
					require.Equal(t, x*255, pix[i])
				}
				require.True(t, bytes.Equal(tensor.FromFloat32([]int64{int64(len(want.Logits))}, want.Logits).Bytes(), out[lowOutput].Numbers.Bytes()))
			}
		})
	}
}

// A prompt is the same however its client counts dimensions and spells its numbers.
func TestSpellings(t *testing.T) {
	_, h := opened(t, Options{}, artifactOf(t))
	file, err := os.ReadFile(picture)
	require.NoError(t, err)
	var first []byte
	for _, spelling := range []struct{ image, points, labels, box []int64 }{
		{[]int64{1}, []int64{2, 2}, []int64{2}, []int64{1, 4}}, {[]int64{1, 1}, []int64{1, 2, 2}, []int64{1, 2}, []int64{4}},
	} {
		for _, wide := range []bool{false, true} {
			in := map[string]*Value{
				imageInput: {Dims: spelling.image, Texts: [][]byte{file}}, pointsInput: numbers(tensor.FromFloat32(spelling.points, []float32{300, 215, 20, 30})),
				labelsInput: numbers(tensor.FromInt64(spelling.labels, []int64{1, 0})), boxInput: numbers(tensor.FromFloat32(spelling.box, []float32{280, 200, 330, 240})),
			}
			if wide {
				in[pointsInput] = numbers(tensor.FromFloat64(spelling.points, []float64{300, 215, 20, 30}))
				in[labelsInput] = numbers(tensor.FromFloat32(spelling.labels, []float32{1, 0}))
				in[boxInput] = numbers(tensor.FromInt64(spelling.box, []int64{280, 200, 330, 240}))
			}
			body, header := message(in, true, map[string]any{"outputs": []map[string]any{{"name": "low_res_masks", "parameters": map[string]any{"binary_data": true}}}})
			have := answered(t, call(h, "POST", "/v2/models/segment/infer", body, headerLength, header))[lowOutput].Numbers.Bytes()
			if first == nil {
				first = have
			}
			require.True(t, bytes.Equal(first, have), "%v", spelling)
		}
	}
}

// What the protocol's clients ask about the server and its models.
func TestMetadata(t *testing.T) {
	dir := artifactOf(t)
	_, h := opened(t, Options{}, dir, dir)
	for path, want := range map[string]string{
		"/v2":                                 `"extensions":["binary_tensor_data","model_configuration","model_repository"]`,
		"/v2/health/live":                     `{"live":true}`,
		"/v2/health/ready":                    `{"ready":true}`,
		"/v2/models/encoder":                  `"inputs":[{"name":"image","datatype":"FP32","shape":[-1,3,256,256]}]`,
		"/v2/models/encoder/ready":            `"ready":true`,
		"/v2/models/decoder_2":                `{"name":"point_coords","datatype":"FP32","shape":[-1,-1,2]}`,
		"/v2/models/segment_2/versions/1":     `{"name":"mask","datatype":"UINT8","shape":[-1,-1]}`,
		"/v2/models/segment/versions/1/ready": `"name":"segment"`,
		"/v2/models/segment/config":           `{"name":"part","data_type":"TYPE_STRING","dims":[1],"optional":true}`,
		"/metrics":                            "# TYPE syncsam_embedding_cache_hits_total counter",
		"/page/artifacts":                     `"segment":"segment_2"`,
	} {
		w := call(h, "GET", path, nil)
		require.Equal(t, http.StatusOK, w.Code, path)
		require.Contains(t, w.Body.String(), want, path)
	}
	require.Contains(t, call(h, "POST", "/v2/repository/index", []byte("{}")).Body.String(), `"state":"READY"`)
	for _, path := range []string{"/v2/models/nope", "/v2/models/encoder/versions/2", "/v2/models/encoder/versions/2/ready", "/v3", "/v2/models/encoder/nope"} {
		w := call(h, "GET", path, nil)
		require.Equal(t, http.StatusNotFound, w.Code, path)
		reason(t, w)
	}
}
