package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/pictures"
)

// serve says where it listens, gives the mask that run writes, and ends with status 0 when it is told to.
func TestServe(t *testing.T) {
	dir := built(t, tiny34)
	ctx, end := context.WithCancel(context.Background())
	defer end()
	from, to := io.Pipe()
	code := make(chan int, 1)
	var problems bytes.Buffer
	go func() {
		code <- run(ctx, []string{"serve", dir, dir, "--listen", "127.0.0.1:0", "--parallel", "1", "--max-request", "4MB"}, to, &problems)
		to.Close()
	}()
	line, err := bufio.NewReader(from).ReadString('\n')
	require.NoError(t, err, problems.String())
	names, url, ok := strings.Cut(strings.TrimSpace(line), " at ")
	require.True(t, ok, line)
	require.Equal(t, "serving encoder, decoder, segment, encoder_2, decoder_2, segment_2", names)

	file, err := os.ReadFile(picture)
	require.NoError(t, err)
	head := `{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":` + strconv.Itoa(4+len(file)) + `}},` +
		`{"name":"points","datatype":"FP64","shape":[2,2],"data":[[100.3,90.7],[20,30]]},{"name":"labels","datatype":"INT64","shape":[2],"data":[1,0]}],"outputs":[{"name":"mask"}]}`
	n := len(file)
	body := append(append([]byte(head), byte(n), byte(n>>8), byte(n>>16), byte(n>>24)), file...)
	r, err := http.NewRequest("POST", url+"/v2/models/segment_2/infer", bytes.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Inference-Header-Content-Length", strconv.Itoa(len(head)))
	w, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	var a struct {
		Error   string
		Outputs []struct {
			Shape []int
			Data  []int
		}
	}
	require.NoError(t, json.NewDecoder(w.Body).Decode(&a))
	w.Body.Close()
	require.Empty(t, a.Error)
	out := filepath.Join(t.TempDir(), "mask.png")
	must(t, "run", dir, "--image", picture, "--point", "100.3,90.7", "--point", "20,30,0", "-o", out)
	want, err := pictures.ReadMask(out)
	require.NoError(t, err)
	require.NotZero(t, want.Count())
	require.Len(t, a.Outputs[0].Data, len(want.Pix))
	for i, x := range want.Pix {
		require.Equal(t, 255*int(x), a.Outputs[0].Data[i])
	}
	http.DefaultClient.CloseIdleConnections()
	end()
	require.Zero(t, <-code, problems.String())
	require.Empty(t, problems.String())
}

// What cannot be served is said in one line.
func TestServeRefuses(t *testing.T) {
	dir := built(t, tiny34)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	refused(t, "address already in use", "serve", dir, "--listen", l.Addr().String())
	refused(t, "want one artifact DIR, or two", "serve")
	refused(t, "want one artifact DIR, or two", "serve", dir, dir, dir)
	refused(t, "not an artifact", "serve", t.TempDir(), "--listen", "127.0.0.1:0")
	refused(t, "want a size of at least 1 MB", "serve", dir, "--max-request", "12")
	refused(t, "parallel: have -1", "serve", dir, "--parallel", "-1", "--listen", "127.0.0.1:0")
	refused(t, "engine: have", "serve", dir, "--engine", "x", "--listen", "127.0.0.1:0")
}

// export triton says what it wrote, and what it is missing.
func TestExportTriton(t *testing.T) {
	dir, out := built(t, tiny34), filepath.Join(t.TempDir(), "repository")
	require.Regexp(t, `^encoder: \S+/encoder.onnx, \d+ bytes\ndecoder: `, must(t, "export", "triton", dir, "-o", out))
	require.FileExists(t, filepath.Join(out, "decoder", "1", "model.onnx"))
	refused(t, "exists; --force", "export", "triton", dir, "-o", out)
	refused(t, "-o: it is needed", "export", "triton", dir)
	refused(t, "no command", "export")
	refused(t, "it has no plans", "export", "triton", dir, "-o", out+"2", "--format", "plan")
}
