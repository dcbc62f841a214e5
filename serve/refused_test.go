package serve

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/tensor"
)

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
		{"segment", segment(image, strings.Replace(box, "[1,4]", "[2,2]", 1)), "have shape [2 2], want [1 4]", 400, nil},
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
		{"segment", segment(image, `{"name":"points","datatype":"FP32","shape":[1,2],"data":[1,2]}`, `{"name":"labels","datatype":"FP32","shape":[1],"data":[0.5]}`), "have label 0.5", 400, nil},
		{"segment", segment(image, `{"name":"points","datatype":"FP32","shape":[2,1,2],"data":[1,2,3,4]}`), "have shape [2 1 2]", 400, nil},
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
