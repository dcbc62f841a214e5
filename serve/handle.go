package serve

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"syncsam-convert/internal/guard"
	"syncsam-convert/internal/plain"
	"syncsam-convert/internal/version"
)

// name is the server's, extensions are what it knows of the protocol's.
const name = "syncsam-convert"

var extensions = []string{"binary_tensor_data", "model_configuration", "model_repository"}

// Handler answers requests.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	get := func(pattern string, f func(r *http.Request) (any, error)) {
		mux.Handle("GET "+pattern, s.answer(func(w http.ResponseWriter, r *http.Request) error {
			v, err := f(r)
			if err != nil {
				return err
			}
			return writeJSON(w, http.StatusOK, v)
		}))
	}
	get("/v2", func(*http.Request) (any, error) {
		return map[string]any{"name": name, "version": version.Get().Version, "extensions": extensions}, nil
	})
	get("/v2/{$}", func(*http.Request) (any, error) {
		return map[string]any{"name": name, "version": version.Get().Version, "extensions": extensions}, nil
	})
	get("/v2/health/live", func(*http.Request) (any, error) { return map[string]bool{"live": true}, nil })
	get("/v2/health/ready", func(*http.Request) (any, error) {
		if !s.ready.Load() {
			return nil, refuse(http.StatusServiceUnavailable, "the server is ending")
		}
		return map[string]bool{"ready": true}, nil
	})
	for _, at := range []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"} {
		get(at, s.metadata)
		get(at+"/ready", s.modelReady)
		get(at+"/config", s.config)
		mux.Handle("POST "+at+"/infer", s.answer(s.infer))
	}
	get("/v2/models", func(*http.Request) (any, error) { return map[string]any{"models": s.names}, nil })
	mux.Handle("POST /v2/repository/index", s.answer(s.index))
	mux.Handle("GET /metrics", s.answer(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		s.measures.write(w)
		return nil
	}))
	s.pageHandlers(mux)
	mux.Handle("/", s.answer(func(_ http.ResponseWriter, r *http.Request) error {
		return refuse(http.StatusNotFound, "%s %s: there is no such thing here", r.Method, r.URL.Path)
	}))
	return mux
}

// A recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap gives package http what is below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// answer makes a handler of a function whose error becomes the protocol's.
func (s *Server) answer(f func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(plainWriter http.ResponseWriter, r *http.Request) {
		s.answering.Add(1)
		defer s.answering.Done()
		begun, w := time.Now(), &recorder{ResponseWriter: plainWriter}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		err := s.own(r)
		if err == nil {
			err = guard.Do(func() error { return f(w, r) })
		}
		if err != nil && w.status == 0 {
			s.drain(w, r)
			s.fail(w, r, err)
		}
		model := r.PathValue("model")
		if s.models[model] == nil {
			model = ""
		}
		s.measures.answered(model, max(w.status, http.StatusOK))
		if model != "" && r.Method == http.MethodPost {
			s.measures.took("request", model, begun)
		}
	})
}

// own refuses what a page of another host sends from a browser; where the server listens to this machine alone, also what is sent under the name of
// another host, which such a page can make lead here.
func (s *Server) own(r *http.Request) error {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return refuse(http.StatusForbidden, "%w", err)
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if ip := net.ParseIP(host); !s.local || strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback() || host == "" {
		return nil
	}
	return refuse(http.StatusForbidden, "host: have %q, want localhost: the server is for this machine alone", host)
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	var known *Error
	switch {
	case errors.As(err, &known):
		status = known.Status
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		status, err = http.StatusServiceUnavailable, errors.New("the request ended, or the server did")
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	_ = writeJSON(w, status, map[string]string{"error": plain.Text(strings.TrimSpace(err.Error()), plain.MostError)}) // who asked may be gone
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, err = w.Write(text)
	return err
}

// modelOf finds what a path names.
func (s *Server) modelOf(r *http.Request) (string, Model, error) {
	name := r.PathValue("model")
	m := s.models[name]
	if m == nil {
		return "", nil, refuse(http.StatusNotFound, "model: have %q, want one of %s", name, strings.Join(s.names, ", "))
	}
	if v := r.PathValue("version"); v != "" && v != Version {
		return "", nil, refuse(http.StatusNotFound, "model %s: version: have %q, want %s", name, v, Version)
	}
	return name, m, nil
}

func (s *Server) modelReady(r *http.Request) (any, error) {
	name, _, err := s.modelOf(r)
	if err == nil && !s.ready.Load() {
		err = refuse(http.StatusServiceUnavailable, "the server is ending")
	}
	return map[string]any{"name": name, "ready": true}, err
}

type tensorMetadata struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

func (s *Server) metadata(r *http.Request) (any, error) {
	name, m, err := s.modelOf(r)
	if err != nil {
		return nil, err
	}
	tensors := func(specs []Spec) []tensorMetadata {
		out := []tensorMetadata{}
		for _, t := range specs {
			out = append(out, tensorMetadata{t.Name, t.Datatype, t.shape()})
		}
		return out
	}
	return map[string]any{"name": name, "versions": []string{Version}, "platform": m.Platform(), "inputs": tensors(m.Inputs()), "outputs": tensors(m.Outputs())}, nil
}

// config is a model's configuration, as Triton's extension gives it: no model is batched.
func (s *Server) config(r *http.Request) (any, error) {
	name, m, err := s.modelOf(r)
	if err != nil {
		return nil, err
	}
	type tensorConfig struct {
		Name     string  `json:"name"`
		DataType string  `json:"data_type"`
		Dims     []int64 `json:"dims"`
		Optional bool    `json:"optional,omitempty"`
	}
	tensors := func(specs []Spec) []tensorConfig {
		out := []tensorConfig{}
		for _, t := range specs {
			kind := "TYPE_" + t.Datatype
			if t.Datatype == textType {
				kind = "TYPE_STRING"
			}
			out = append(out, tensorConfig{t.Name, kind, t.shape(), t.Optional})
		}
		return out
	}
	return map[string]any{"name": name, "platform": m.Platform(), "max_batch_size": 0, "input": tensors(m.Inputs()), "output": tensors(m.Outputs())}, nil
}

// index lists the models, as Triton's extension does.
func (s *Server) index(w http.ResponseWriter, _ *http.Request) error {
	models := []map[string]string{}
	for _, name := range s.names {
		models = append(models, map[string]string{"name": name, "version": Version, "state": "READY"})
	}
	return writeJSON(w, http.StatusOK, models)
}

// take reads a request's body, unpacked. What it takes of the memory that all bodies share is given back by release.
func (s *Server) take(r *http.Request) (body []byte, release func(), err error) {
	most, packed := s.o.MaxRequest, r.Header.Get("Content-Encoding")
	if r.ContentLength > most {
		return nil, nil, refuse(http.StatusRequestEntityTooLarge, "request: have %d bytes, want at most %d; --max-request allows more", r.ContentLength, most)
	}
	n := most
	if packed == "" && r.ContentLength >= 0 {
		n = r.ContentLength
	}
	waiting, stop := context.WithTimeout(r.Context(), patience)
	defer stop()
	if err := s.bodies.Acquire(waiting, n); err != nil {
		return nil, nil, refuse(http.StatusServiceUnavailable, "other requests take all the memory that there is for them")
	}
	if body, err = unpacked(r, packed, most); err != nil {
		s.bodies.Release(n)
		return nil, nil, err
	}
	return body, func() { s.bodies.Release(n) }, nil
}

// drain reads what a client goes on sending of a request that is refused, up to a bound and as long as it sends: who is cut off while it sends does
// not read the answer.
func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	const silence, piece = 2 * time.Second, 1 << 20
	most := 8 * s.o.MaxRequest
	if r.Header.Get("Expect") != "" || r.ContentLength == 0 || r.ContentLength > most {
		return
	}
	connection := http.NewResponseController(w)
	for total := int64(0); total < most; total += piece {
		if connection.SetReadDeadline(time.Now().Add(silence)) != nil {
			return // not a connection
		}
		if _, err := io.CopyN(io.Discard, r.Body, piece); err != nil {
			return // the end, or whatever it is: the answer is the same
		}
	}
}

// unpacked reads a body of so many bytes at most.
func unpacked(r *http.Request, packed string, most int64) ([]byte, error) {
	var from io.Reader = io.LimitReader(r.Body, most+1)
	var err error
	switch packed {
	case "", "identity":
	case "gzip":
		from, err = gzip.NewReader(from)
	case "deflate":
		from, err = zlib.NewReader(from)
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Encoding: have %q, want gzip, deflate or none", packed)
	}
	var b bytes.Buffer
	if err == nil {
		b.Grow(int(min(max(r.ContentLength, 0)+bytes.MinRead, most)))
		_, err = b.ReadFrom(io.LimitReader(from, most+1))
	}
	switch {
	case err != nil:
		return nil, bad("request: %w", err)
	case int64(b.Len()) > most:
		return nil, refuse(http.StatusRequestEntityTooLarge, "request: have more than %d bytes unpacked; --max-request allows more", most)
	}
	return b.Bytes(), nil
}

// turn waits until an inference may run.
func (s *Server) turn(ctx context.Context) (done func(), err error) {
	if s.measures.waiting.Add(1) > mostWaiting {
		s.measures.waiting.Add(-1)
		return nil, refuse(http.StatusServiceUnavailable, "%d requests are waiting already", mostWaiting)
	}
	defer s.measures.waiting.Add(-1)
	select {
	case s.turns <- struct{}{}:
		s.measures.running.Add(1)
		return func() { s.measures.running.Add(-1); <-s.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Server) infer(w http.ResponseWriter, r *http.Request) error {
	name, m, err := s.modelOf(r)
	if err != nil {
		return err
	}
	body, release, err := s.take(r)
	if err != nil {
		return err
	}
	defer release()
	asked, values, err := parse(body, r.Header.Get(headerLength))
	if err != nil {
		return err
	}
	names, inBinary, err := asked.wanted(m.Outputs())
	if err != nil {
		return err
	}
	if err := m.Check(values); err != nil {
		return err
	}
	done, err := s.turn(r.Context())
	if err != nil {
		return err
	}
	begun := time.Now()
	var out map[string]*Value
	var parameters map[string]any
	err = guard.Do(func() error {
		var err error
		out, parameters, err = m.Infer(r.Context(), values, names)
		return err
	})
	done()
	s.measures.took("inference", name, begun)
	if err != nil {
		return s.pathless(err)
	}
	a, err := respond(name, asked, names, inBinary, out, parameters)
	if err != nil {
		return err
	}
	return a.write(w, r)
}

// pathless takes the folders out of an error, which means nothing to who asked; its status stays.
func (s *Server) pathless(err error) error {
	text := err.Error()
	for _, a := range s.artifacts {
		text = strings.ReplaceAll(text, a.dir+"/", "")
	}
	if text == err.Error() {
		return err
	}
	var known *Error
	if errors.As(err, &known) {
		return &Error{known.Status, errors.New(text)}
	}
	return errors.New(text)
}

// write sends an answer, packed where who asked takes that.
func (a *answer) write(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if len(a.binary) > 0 {
		h.Set("Content-Type", "application/octet-stream")
		h.Set(headerLength, strconv.Itoa(len(a.json)))
	}
	var to io.Writer = w
	var finish func() error
	switch packing := accepted(r.Header.Values("Accept-Encoding")); packing {
	case "gzip":
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is one that there is
		to, finish = z, z.Close
		h.Set("Content-Encoding", packing)
	case "deflate":
		z, _ := zlib.NewWriterLevel(w, zlib.BestSpeed)
		to, finish = z, z.Close
		h.Set("Content-Encoding", packing)
	default:
		h.Set("Content-Length", fmt.Sprint(a.size()))
	}
	for _, b := range append([][]byte{a.json}, a.binary...) {
		if _, err := to.Write(b); err != nil {
			return err
		}
	}
	if finish != nil {
		return finish()
	}
	return nil
}

// accepted is the packing of a response that a header asks for: gzip, deflate or none.
func accepted(header []string) string {
	var names []string
	for _, part := range strings.Split(strings.Join(header, ","), ",") {
		name, q, _ := strings.Cut(strings.ReplaceAll(part, " ", ""), ";")
		if f, err := strconv.ParseFloat(strings.TrimPrefix(q, "q="), 64); err != nil || f > 0 {
			names = append(names, strings.ToLower(name))
		}
	}
	for _, known := range []string{"gzip", "deflate"} {
		if slices.Contains(names, known) {
			return known
		}
	}
	return ""
}
