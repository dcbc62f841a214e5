package serve

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/compile"
	"syncsam-convert/engine"
	"syncsam-convert/internal/families"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
	"syncsam-convert/segment"
	"syncsam-convert/serve/page"
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
				in, want := random(s.models[name].Inputs(), map[string]int64{"N": 1, "B": 2, "B_mask": 2, "P": 3, "T": 77}), map[string]*tensor.Tensor{}
				session, err := engine.Load(engine.Embedded, filepath.Join(dir, f.Name), engine.Options{})
				require.NoError(t, err)
				tensors := map[string]*tensor.Tensor{}
				for k, v := range in {
					tensors[k] = v.Numbers
				}
				want, err = session.Run(context.Background(), tensors)
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

// What the protocol's clients ask about the server and its models.
func TestMetadata(t *testing.T) {
	dir := artifactOf(t)
	_, h := opened(t, Options{}, dir, dir)
	for path, want := range map[string]string{
		"/v2":                                 `"extensions":["binary_tensor_data"]`,
		"/v2/health/live":                     `{"live":true}`,
		"/v2/health/ready":                    `{"ready":true}`,
		"/v2/models/encoder":                  `"inputs":[{"name":"image","datatype":"FP32","shape":[-1,3,256,256]}]`,
		"/v2/models/encoder/ready":            `"ready":true`,
		"/v2/models/decoder_2":                `{"name":"point_coords","datatype":"FP32","shape":[-1,-1,2]}`,
		"/v2/models/segment_2/versions/1":     `{"name":"mask","datatype":"UINT8","shape":[-1,-1]}`,
		"/v2/models/segment/versions/1/ready": `"name":"segment"`,
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

// Requests that are wrong are refused, each with its reason and status, and the next one is answered.
func TestRefused(t *testing.T) {
	s, h := opened(t, Options{MaxRequest: 1 << 20}, artifactOf(t))
	image := `{"name":"image","datatype":"BYTES","shape":[1],"data":["AAAA"]}`
	box := `{"name":"box","datatype":"FP32","shape":[1,4],"data":[1,2,30,40]}`
	segment := func(inputs ...string) string { return `{"inputs":[` + strings.Join(inputs, ",") + `]}` }
	decoder := random(s.models["decoder"].Inputs(), map[string]int64{"P": 2})
	changed := func(name string, v *Value) []byte {
		in := map[string]*Value{}
		for k, x := range decoder {
			in[k] = x
		}
		if in[name] = v; v == nil {
			delete(in, name)
		}
		body, _ := message(in, false, nil)
		return body
	}
	floats := func(dims ...int64) *Value {
		n, err := tensor.Elements(dims)
		require.NoError(t, err)
		return numbers(tensor.FromFloat32(dims, make([]float32, n)))
	}
	zip := func(b []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		z.Write(b)
		z.Close()
		return out.Bytes()
	}
	large, err := os.ReadFile(picture)
	require.NoError(t, err)
	for _, c := range []struct {
		path, body, want string
		status           int
		headers          []string
	}{
		{"segment", "{", "not the JSON", 400, nil},
		{"segment", "", "not the JSON", 400, nil},
		{"segment", "[]", "not the JSON", 400, nil},
		{"segment", strings.Repeat("[", 100000), "not the JSON", 400, nil},
		{"segment", "null", "0 inputs", 400, nil},
		{"segment", `{"inputs":[]}`, "0 inputs", 400, nil},
		{"segment", segment(strings.Split(strings.Repeat(image+"\n", 65), "\n")[:65]...), "65 inputs", 400, nil},
		{"segment", segment(image, image), "there twice", 400, nil},
		{"segment", segment(`{"datatype":"FP32"}`), "has no name", 400, nil},
		{"segment", segment(strings.Replace(image, "[1]", "null", 1)), "shape: it is missing", 400, nil},
		{"segment", segment(image), "have neither", 400, nil},
		{"segment", segment(box), `"image": it is missing`, 400, nil},
		{"segment", segment(image, box), "not a readable picture", 400, nil},
		{"segment", segment(strings.Replace(image, "AAAA", "not base64", 1), box), "want a file in base64", 400, nil},
		{"segment", segment(image, strings.Replace(box, "30", "0", 1)), "want x0 < x1", 400, nil},
		{"segment", segment(image, strings.Replace(box, "30", "1e999", 1)), "have 1e999, want FP32", 400, nil},
		{"segment", segment(image, strings.Replace(box, "30", "NaN", 1)), "not the JSON", 400, nil},
		{"segment", segment(image, strings.Replace(box, "30", `"a"`, 1)), "want FP32", 400, nil},
		{"segment", segment(image, strings.Replace(box, "30", `{"a":1}`, 1)), "have an object", 400, nil},
		{"segment", segment(image, strings.Replace(box, "30,", "", 1)), "have 3 elements, want 4", 400, nil},
		{"segment", segment(image, strings.Replace(box, "40]", "40,50]", 1)), "have 5 elements, want 4", 400, nil},
		{"segment", segment(image, strings.Replace(box, "FP32", "FP31", 1)), `"FP31", which is not supported`, 400, nil},
		{"segment", segment(image, strings.Replace(box, "FP32", "FP16", 1)), "has no form in JSON", 400, nil},
		{"segment", segment(image, strings.Replace(box, "FP32", "UINT8", 1)), "have datatype UINT8, want FP32", 400, nil},
		{"segment", segment(image, strings.Replace(box, "[1,4]", "[-1,4]", 1)), "want sizes of 0 or more", 400, nil},
		{"segment", segment(image, strings.Replace(box, "[1,4]", "[4]", 1)), "have shape [4], want [1 4]", 400, nil},
		{"segment", segment(image, strings.Replace(box, "[1,4]", "[4611686018427387904,4]", 1)), "box", 400, nil},
		{"segment", segment(image, strings.Replace(box, "[1,4]", "[0,4]", 1)), "elements", 400, nil},
		{"segment", segment(image, strings.Replace(box, "[1,2,30,40]", "null", 1)), "want an array", 400, nil},
		{"segment", segment(image, strings.Replace(box, `"data"`, `"parameters":{"binary_data_size":16},"data"`, 1)), "want one of them", 400, nil},
		{"segment", segment(image, strings.Replace(box, `"data":[1,2,30,40]`, `"parameters":{"binary_data_size":16}`, 1)), "binary_data_size: have 16", 400, nil},
		{"segment", segment(image, strings.Replace(box, `"data":[1,2,30,40]`, `"parameters":{"shared_memory_region":"a"}`, 1)), "shared memory", 400, nil},
		{"segment", segment(image, strings.Replace(box, `"box"`, `"bax"`, 1)), `"bax": there is none`, 400, nil},
		{"segment", segment(image, box, `{"name":"part","datatype":"BYTES","shape":[1],"data":["../x"]}`), "part: have", 400, nil},
		{"segment", segment(image, `{"name":"labels","datatype":"INT64","shape":[1],"data":[1]}`), "1 labels of 0 points", 400, nil},
		{"segment", segment(image, `{"name":"points","datatype":"FP32","shape":[1,2],"data":[1,2]}`, `{"name":"labels","datatype":"INT64","shape":[1],"data":[2]}`), "have label 2", 400, nil},
		{"segment", segment(image, `{"name":"points","datatype":"FP32","shape":[1,2],"data":[1,2]}`, `{"name":"labels","datatype":"INT64","shape":[1],"data":[1.5]}`), "want INT64", 400, nil},
		{"segment", segment(strings.Replace(image, "AAAA", base64.StdEncoding.EncodeToString(large), 1), strings.Replace(box, "40]", "4000]", 1)), "outside its 512 x 512", 400, nil},
		{"segment", `{"outputs":[{"name":"nope"}],` + segment(image, box)[1:], `"nope": there is none`, 400, nil},
		{"segment", `{"outputs":[{"name":"mask"},{"name":"mask"}],` + segment(image, box)[1:], "there twice", 400, nil},
		{"segment", `{"outputs":[{"name":"mask","parameters":{"classification":3}}],` + segment(image, box)[1:], "classification", 400, nil},
		{"segment", segment(image, box), headerLength, 400, []string{headerLength, "999999"}},
		{"segment", segment(image, box), headerLength, 400, []string{headerLength, "-1"}},
		{"segment", segment(image, box) + "xx", "2 bytes are left", 400, []string{headerLength, strconv.Itoa(len(segment(image, box)))}},
		{"segment", "abc", "request: ", 400, []string{"Content-Encoding", "gzip"}},
		{"segment", string(zip([]byte(segment(image, box)))[:30]), "request: ", 400, []string{"Content-Encoding", "gzip"}},
		{"segment", "abc", "request: ", 400, []string{"Content-Encoding", "deflate"}},
		{"segment", "abc", "Content-Encoding", 415, []string{"Content-Encoding", "br"}},
		{"segment", strings.Repeat(" ", 1<<20+1), "want at most 1048576", 413, nil},
		{"segment", string(zip(make([]byte, 8<<20))), "more than 1048576 bytes unpacked", 413, []string{"Content-Encoding", "gzip"}},
		{"nope", "{}", `have "nope", want one of encoder, decoder, segment`, 404, nil},
		{"segment/versions/7", "{}", `have "7", want 1`, 404, nil},
		{"decoder", string(changed("point_labels", nil)), `"point_labels": it is missing`, 400, nil},
		{"decoder", string(changed("point_labels", floats(1, 3))), "is 2 of another input", 400, nil},
		{"decoder", string(changed("point_coords", floats(1, 2, 3))), "want [-1 -1 2]", 400, nil},
		{"decoder", string(changed("has_mask_input", numbers(tensor.FromInt64([]int64{1}, []int64{1})))), "have datatype INT64, want FP32", 400, nil},
		{"decoder", string(changed("mask_input", floats(3, 1, 64, 64))), "", 400, nil},
	} {
		w := call(h, "POST", "/v2/models/"+c.path+"/infer", []byte(c.body), c.headers...)
		require.Equal(t, c.status, w.Code, "%.200s: %s", c.body, w.Body)
		why := reason(t, w)
		require.Contains(t, why, c.want)
		require.NotContains(t, why, os.TempDir(), "paths of this machine mean nothing to who asks")
	}
	body, header := message(decoder, true, nil)
	answered(t, call(h, "POST", "/v2/models/decoder/infer", body, headerLength, header))
	text := call(h, "GET", "/metrics", nil).Body.String()
	require.Contains(t, text, `syncsam_requests_total{model="segment",code="413"} 2`)
	require.Contains(t, text, `syncsam_requests_total{model="",code="404"} 1`)
	require.Contains(t, text, `syncsam_request_duration_seconds_count{model="decoder"}`)
	require.Contains(t, text, "syncsam_inferences_running 0")
}

// A request for more than memory holds is refused before any work.
func TestLargeResults(t *testing.T) {
	s, _ := opened(t, Options{}, artifactOf(t))
	in := random(s.models["decoder"].Inputs(), map[string]int64{"P": 2})
	many := int64(1 << 20)
	in["point_coords"] = numbers(tensor.FromFloat32([]int64{many, 1, 2}, make([]float32, 2*many)))
	in["point_labels"] = numbers(tensor.FromFloat32([]int64{many, 1}, make([]float32, many)))
	err := s.models["decoder"].Check(in)
	require.ErrorContains(t, err, "it would take")
	require.Equal(t, http.StatusRequestEntityTooLarge, err.(*Error).Status)
}

// counted is a model that takes its time and tells how many run.
type counted struct {
	mutex     sync.Mutex
	now, most int
	release   chan struct{}
}

func (c *counted) Platform() string              { return "test" }
func (c *counted) Inputs() []Spec                { return nil }
func (c *counted) Outputs() []Spec               { return nil }
func (c *counted) Check(map[string]*Value) error { return nil }
func (c *counted) Infer(ctx context.Context, _ map[string]*Value, _ []string) (map[string]*Value, map[string]any, error) {
	c.mutex.Lock()
	c.now++
	c.most = max(c.most, c.now)
	c.mutex.Unlock()
	select {
	case <-c.release:
	case <-ctx.Done():
	}
	c.mutex.Lock()
	c.now--
	c.mutex.Unlock()
	return nil, nil, ctx.Err()
}

const anything = `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}`

// So many inferences run at a time as Options say; what waits ends with its client, and past a number is refused.
func TestTurns(t *testing.T) {
	s, h := opened(t, Options{Parallel: 3}, artifactOf(t))
	slow := &counted{release: make(chan struct{})}
	s.models["slow"] = slow
	var all sync.WaitGroup
	codes := make(chan int, mostWaiting+64)
	for range mostWaiting + 10 {
		all.Go(func() { codes <- call(h, "POST", "/v2/models/slow/infer", []byte(anything)).Code })
	}
	refused := 0
	require.Eventually(t, func() bool {
		for len(codes) > 0 {
			require.Equal(t, http.StatusServiceUnavailable, <-codes)
			refused++
		}
		return refused == 7 && s.measures.waiting.Load() == mostWaiting
	}, 30*time.Second, 10*time.Millisecond)
	close(slow.release)
	all.Wait()
	close(codes)
	for code := range codes {
		require.Equal(t, http.StatusOK, code)
	}
	require.Equal(t, 3, slow.most)
	require.Zero(t, s.measures.waiting.Load())
}

// panics is a model that breaks down.
type panics struct{ counted }

func (p *panics) Infer(context.Context, map[string]*Value, []string) (map[string]*Value, map[string]any, error) {
	panic("broken")
}

// A model that breaks down costs its request, and no turn.
func TestBreakdown(t *testing.T) {
	s, h := opened(t, Options{Parallel: 1}, artifactOf(t))
	s.models["broken"] = &panics{}
	for range 3 {
		w := call(h, "POST", "/v2/models/broken/infer", []byte(anything))
		require.Equal(t, http.StatusInternalServerError, w.Code)
		require.Equal(t, "internal error: broken", reason(t, w))
	}
	require.Equal(t, http.StatusOK, call(h, "GET", "/v2/health/ready", nil).Code)
}

// The end: what runs is answered, what comes later is not taken, uploaded files are removed.
func TestEnd(t *testing.T) {
	s, err := Open([]string{artifactOf(t)}, Options{})
	require.NoError(t, err)
	slow := &counted{release: make(chan struct{})}
	s.models["slow"] = slow
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	url := "http://" + l.Addr().String()
	w, err := http.Post(url+"/page/picture", "", strings.NewReader("no picture"))
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, w.StatusCode)
	w.Body.Close()
	status := make(chan int, 1)
	go func() {
		w, err := http.Post(url+"/v2/models/slow/infer", "application/json", strings.NewReader(anything))
		if err != nil {
			status <- 0
			return
		}
		w.Body.Close()
		status <- w.StatusCode
	}()
	require.Eventually(t, func() bool { return s.measures.running.Load() == 1 }, 10*time.Second, time.Millisecond)
	end()
	require.Eventually(t, func() bool {
		_, err := net.Dial("tcp", l.Addr().String())
		return err != nil
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, http.StatusServiceUnavailable, call(s.Handler(), "GET", "/v2/health/ready", nil).Code)
	close(slow.release)
	require.Equal(t, http.StatusOK, <-status)
	require.NoError(t, <-ended)
	dir := s.files.dir
	require.NoError(t, s.Close())
	require.NoDirExists(t, dir)
}

// A server of this machine alone answers no page of another host that leads here by a name of its own.
func TestHost(t *testing.T) {
	s, h := opened(t, Options{}, artifactOf(t))
	s.local = true
	for host, want := range map[string]int{"localhost:8000": 200, "127.0.0.1:8000": 200, "[::1]:8000": 200, "LOCALHOST": 200, "evil.example:8000": 403, "10.0.0.1": 403, "localhost.evil.example": 403} {
		r := httptest.NewRequest("GET", "/v2", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, want, w.Code, host)
	}
}

// The cache holds what was used last, within its bound, and makes what several want at a time once.
func TestCache(t *testing.T) {
	c := newCache(100)
	made := 0
	of := func(bytes int64) func() (*segment.Embedded, error) {
		return func() (*segment.Embedded, error) {
			made++
			return &segment.Embedded{Features: map[string]*tensor.Tensor{"x": tensor.FromUint8([]int64{bytes}, make([]byte, bytes))}}, nil
		}
	}
	get := func(k byte, bytes int64) bool {
		_, had, err := c.get(key{k}, of(bytes))
		require.NoError(t, err)
		return had
	}
	require.False(t, get(1, 40))
	require.False(t, get(2, 40))
	require.True(t, get(1, 40))
	require.False(t, get(3, 40)) // 2 goes
	require.True(t, get(1, 40))
	require.False(t, get(2, 40)) // 3 goes
	require.False(t, get(4, 101))
	require.False(t, get(4, 101)) // too large to keep
	n, bytes := c.size()
	require.Equal(t, 2, n)
	require.EqualValues(t, 80, bytes)
	_, _, err := c.get(key{9}, func() (*segment.Embedded, error) { return nil, fmt.Errorf("broken") })
	require.ErrorContains(t, err, "broken")
	require.False(t, get(9, 1)) // an error is not kept

	made = 0
	begun, all := make(chan struct{}), sync.WaitGroup{}
	for range 8 {
		all.Go(func() {
			_, _, err := c.get(key{7}, func() (*segment.Embedded, error) { <-begun; return of(10)() })
			if err != nil {
				t.Error(err)
			}
		})
	}
	close(begun)
	all.Wait()
	require.Equal(t, 1, made)
}

// Uploaded files stay within their bound, except those that are in use.
func TestFiles(t *testing.T) {
	f, err := newFiles(10)
	require.NoError(t, err)
	defer f.close()
	a, releaseA, err := f.put([]byte("aaaaaaa"))
	require.NoError(t, err)
	b, releaseB, err := f.put([]byte("bbbbbbb"))
	require.NoError(t, err)
	require.FileExists(t, f.path(a))
	releaseA()
	require.NoFileExists(t, f.path(a))
	releaseB()
	require.FileExists(t, f.path(b))
	_, ok := f.use(a)
	require.False(t, ok)
	info, err := os.Stat(f.dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	left, err := os.ReadDir(f.dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
}

func samePixels(a, b image.Image) bool {
	if a.Bounds() != b.Bounds() {
		return false
	}
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			r1, g1, b1, a1 := a.At(x, y).RGBA()
			r2, g2, b2, a2 := b.At(x, y).RGBA()
			if r1 != r2 || g1 != g2 || b1 != b2 || a1 != a2 {
				return false
			}
		}
	}
	return true
}

// The page asks nobody but its server, and shows of a file what the command picture writes.
func TestPage(t *testing.T) {
	_, h := opened(t, Options{}, artifactOf(t))
	w := call(h, "GET", "/", nil)
	require.Equal(t, page.HTML, w.Body.Bytes())
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
	for _, no := range []string{"http://", "https://", "//cdn", "@import", "src=\"", "innerHTML", "eval("} {
		require.NotContains(t, string(page.HTML), no)
	}
	for _, c := range []struct {
		file, query, as string
		slices          int
	}{
		{"../golden/data/dataset/images/amos_0004_75.png", "", "", 1},
		{"../pictures/testdata/volumes/ct.nii.gz", "", "#slice=2", 4},
		{"../pictures/testdata/volumes/ct.nii.gz", "?part=slice%3D1%26window%3D-100:200", "#slice=1&window=-100:200", 4},
		{"../pictures/testdata/volumes/frames.dcm", "", "#slice=1", 3},
		{"../pictures/testdata/grey16.tiff", "", "", 1},
	} {
		file, err := os.ReadFile(c.file)
		require.NoError(t, err)
		w := call(h, "POST", "/page/picture"+c.query, file)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		m, err := png.Decode(w.Body)
		require.NoError(t, err)
		want, err := pictures.Read(c.file + c.as)
		require.NoError(t, err)
		require.True(t, samePixels(want.Picture(), m), c.file)
		told := w.Header().Get(pictureHeader)
		require.Contains(t, told, fmt.Sprintf("%%22slices%%22:%d", c.slices))
		id := told[strings.Index(told, "%22id%22:%22")+len("%22id%22:%22"):][:64]
		again := call(h, "GET", "/page/picture/"+id+c.query, nil)
		require.Equal(t, http.StatusOK, again.Code)
		require.Equal(t, told, again.Header().Get(pictureHeader))
	}
	mask, err := os.ReadFile("../golden/data/dataset/masks/amos_0004_75_aorta_000.png")
	require.NoError(t, err)
	m, err := png.Decode(call(h, "POST", "/page/picture?mask=1", mask).Body)
	require.NoError(t, err)
	want, err := pictures.ReadMask("../golden/data/dataset/masks/amos_0004_75_aorta_000.png")
	require.NoError(t, err)
	require.True(t, samePixels(want.Picture(), m))
	for query, body := range map[string]string{"": "no picture", "?part=slice%3D9": string(mask[:0]), "?part=nonsense": string(mask)} {
		w := call(h, "POST", "/page/picture"+query, []byte(body))
		require.Equal(t, http.StatusBadRequest, w.Code, query)
		require.NotContains(t, reason(t, w), os.TempDir())
	}
	require.Equal(t, http.StatusNotFound, call(h, "GET", "/page/picture/"+strings.Repeat("0", 64), nil).Code)
	require.Equal(t, http.StatusNotFound, call(h, "GET", "/page/picture/..%2f..%2fetc%2fpasswd", nil).Code)
}

// What is no artifact, or damaged, is refused before anything is served.
func TestOpen(t *testing.T) {
	for want, open := range map[string]func() (*Server, error){
		"not an artifact":    func() (*Server, error) { return Open([]string{t.TempDir()}, Options{}) },
		"have 0 artifacts":   func() (*Server, error) { return Open(nil, Options{}) },
		"engine: have":       func() (*Server, error) { return Open([]string{artifactOf(t)}, Options{Engine: "x"}) },
		"parallel: have -1":  func() (*Server, error) { return Open([]string{artifactOf(t)}, Options{Parallel: -1}) },
		"request size: have": func() (*Server, error) { return Open([]string{artifactOf(t)}, Options{MaxRequest: -1}) },
		"as in the manifest": func() (*Server, error) {
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(dir, os.DirFS(artifactOf(t))))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "decoder.onnx"), []byte("x"), 0o644))
			_, err := artifact.Read(dir)
			require.NoError(t, err)
			return Open([]string{dir}, Options{})
		},
	} {
		_, err := open()
		require.ErrorContains(t, err, want)
	}
}

// Whatever a request's bytes are, it is read or refused, and what is read fits what it says.
func FuzzRequest(f *testing.F) {
	in := map[string]*Value{"image": {Dims: []int64{2}, Texts: [][]byte{[]byte("a"), []byte("bc")}}, "x": numbers(tensor.FromFloat32([]int64{1, 2}, []float32{1, -2.5})), "n": numbers(tensor.FromInt64([]int64{1}, []int64{-7}))}
	for _, inBinary := range []bool{true, false} {
		body, header := message(in, inBinary, nil)
		f.Add(body, header)
	}
	f.Add([]byte(anything), "")
	f.Add([]byte(`{"inputs":[{"name":"x","datatype":"BYTES","shape":[2],"data":["\"\\]",["a"]]}]}`), "")
	f.Add(append([]byte(`{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":5}}]}`), 1, 0, 0, 0, 'a'), "92")
	f.Fuzz(func(t *testing.T, body []byte, header string) {
		_, values, err := parse(body, header)
		if err != nil {
			require.Equal(t, http.StatusBadRequest, err.(*Error).Status)
			return
		}
		for _, v := range values {
			n, err := tensor.Elements(v.Dims)
			require.NoError(t, err)
			if v.Numbers == nil {
				require.EqualValues(t, n, len(v.Texts))
			} else {
				require.Equal(t, n, v.Numbers.Len())
			}
			again, err := fromBinary(v.datatype(), v.Dims, v.binaryBytes())
			require.NoError(t, err)
			require.True(t, bytes.Equal(again.binaryBytes(), v.binaryBytes()))
		}
	})
}

// Floats come back from JSON bit by bit, also those between which float32 and float64 round in two ways.
func TestFloatsInJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	b := make([]byte, 0, 4<<16)
	for len(b) < cap(b) {
		u := r.Uint32()
		if u>>23&0xff != 0xff {
			b = binary.LittleEndian.AppendUint32(b, u)
		}
	}
	v, err := fromBinary("FP32", []int64{1 << 16}, b)
	require.NoError(t, err)
	text, err := v.appendJSON(nil)
	require.NoError(t, err)
	back, err := fromJSON("FP32", v.Dims, text)
	require.NoError(t, err)
	require.True(t, bytes.Equal(b, back.binaryBytes()))
	_, err = numbers(tensor.FromFloat32([]int64{1}, []float32{float32(math.Inf(1))})).appendJSON(nil)
	require.ErrorContains(t, err, "not finite")
}
