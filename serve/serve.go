// Package serve answers the Open Inference Protocol, version 2, over HTTP for the graphs of artifacts, and for whole segmentations.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"syncsam-convert/artifact"
	"syncsam-convert/engine"
	"syncsam-convert/internal/guard"
	"syncsam-convert/internal/memory"
	"syncsam-convert/segment"
)

// Options of a server. Zero values are the defaults.
type Options struct {
	Engine     string // engine.Names
	Run        engine.Options
	Parallel   int   // inferences at a time; others wait for their turn
	MaxRequest int64 // bytes of a request, unpacked
	Cache      int64 // bytes of image embeddings that are kept, for each artifact
}

// The defaults of Options, how many requests wait for their turn at most, and how long a server that is to end waits for those that it answers.
const (
	DefaultParallel   = 2
	DefaultMaxRequest = 128 << 20
	DefaultCache      = 256 << 20
	mostWaiting       = 256
	patience          = 30 * time.Second
)

// SegmentModel is the name of the model that does all that the command run does.
const SegmentModel = "segment"

// secondSuffix ends the names of the second artifact's models.
const secondSuffix = "_2"

// An Artifact is one that is served.
type Artifact struct {
	Name     string // of its folder
	Manifest *artifact.Manifest
	Segment  string   // name of its model that takes pictures and prompts
	Models   []string // names of all its models

	dir       string
	predictor *segment.Predictor
	more      []engine.Session
	cache     *cache
}

// A Server answers for one artifact or two.
type Server struct {
	o         Options
	artifacts []*Artifact
	models    map[string]Model
	names     []string // of the models, in order
	files     *files
	measures  *measures
	ready     atomic.Bool
	local     bool // it listens to this machine alone
	turns     chan struct{}
	bodies    *semaphore.Weighted // bytes of requests that are in memory
	answering sync.WaitGroup
}

// Open loads artifacts, after their files were held against their manifests' hashes.
func Open(dirs []string, o Options) (s *Server, err error) {
	if len(dirs) < 1 || len(dirs) > 2 {
		return nil, fmt.Errorf("have %d artifacts, want one or two", len(dirs))
	}
	if o.Engine == "" {
		o.Engine = engine.Names()[0]
	}
	for _, d := range []struct {
		name  string
		value *int64
		def   int64
	}{{"request size", &o.MaxRequest, DefaultMaxRequest}, {"cache", &o.Cache, DefaultCache}} {
		if *d.value == 0 {
			*d.value = d.def
		}
		if *d.value < 0 {
			return nil, fmt.Errorf("%s: have %d bytes, want a positive number", d.name, *d.value)
		}
	}
	if o.Parallel == 0 {
		o.Parallel = DefaultParallel
	}
	if o.Parallel < 1 || o.Parallel > 1024 {
		return nil, fmt.Errorf("parallel: have %d, want 1 to 1024 inferences at a time", o.Parallel)
	}
	s = &Server{o: o, models: map[string]Model{}, turns: make(chan struct{}, o.Parallel), bodies: semaphore.NewWeighted(max(memory.Limit()/2, o.MaxRequest))}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.files, err = newFiles(max(memory.Limit()/8, o.MaxRequest)); err != nil {
		s.files = nil
		return s, err
	}
	for i, dir := range dirs {
		if err := s.add(dir, []string{"", secondSuffix}[i]); err != nil {
			return s, err
		}
	}
	s.measures = newMeasures(s)
	s.ready.Store(true)
	return s, nil
}

// add loads an artifact, whose models' names get a suffix.
func (s *Server) add(dir, suffix string) error {
	p, err := segment.Open(dir, s.o.Engine, s.o.Run)
	if err != nil {
		return err
	}
	name := dir
	if abs, err := filepath.Abs(dir); err == nil {
		name = filepath.Base(abs)
	}
	man := p.Manifest()
	a := &Artifact{dir: filepath.Clean(dir), Name: name, Manifest: man, Segment: SegmentModel + suffix, predictor: p, cache: newCache(s.o.Cache)}
	s.artifacts = append(s.artifacts, a)
	for _, f := range man.Files {
		if path.Ext(f.Name) != ".onnx" || path.Base(f.Name) != f.Name { // those of a plan folder are the same models in another dialect
			continue
		}
		var session engine.Session
		switch i := slices.Index(man.Graphs(), f.Name); i {
		case 0:
			session = p.Image()
		case 1:
			session = p.Decoder()
		default:
			if session, err = engine.Load(s.o.Engine, filepath.Join(dir, f.Name), s.o.Run); err != nil {
				return err
			}
			a.more = append(a.more, session)
		}
		g := &graph{session: session, engine: s.o.Engine, parallel: int64(s.o.Parallel)}
		if g.inputs, g.outputs, err = tensors(filepath.Join(dir, f.Name)); err != nil {
			return err
		}
		s.model(a, strings.TrimSuffix(f.Name, ".onnx")+suffix, g)
	}
	s.model(a, a.Segment, newSegmenter(p, s.files, a.cache))
	return nil
}

func (s *Server) model(a *Artifact, name string, m Model) {
	s.models[name] = m
	a.Models = append(a.Models, name)
	s.names = append(s.names, name)
}

// Models lists the models' names.
func (s *Server) Models() []string { return s.names }

// Close ends the engines' sessions and removes what was uploaded. Nothing may be running.
func (s *Server) Close() error {
	var errs []error
	for _, a := range s.artifacts {
		errs = append(errs, a.predictor.Close())
		for _, m := range a.more {
			errs = append(errs, m.Close())
		}
	}
	if s.files != nil {
		s.files.close()
	}
	return errors.Join(errs...)
}

// Serve answers until ctx ends; then it takes no more requests, and waits for those that it answers: when it returns, nothing is running. What a
// client sends or takes too slowly is cut off. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		s.local = a.IP.IsLoopback()
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	h := &http.Server{
		Handler: s.Handler(), BaseContext: func(net.Listener) context.Context { return running },
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 5 * time.Minute, WriteTimeout: 15 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	done := make(chan error, 1)
	go func() { done <- guard.Do(func() error { return h.Serve(l) }) }()
	select {
	case err := <-done:
		cancel()
		h.Close()
		s.answering.Wait()
		return err
	case <-ctx.Done():
	}
	s.ready.Store(false)
	ending, stop := context.WithTimeout(running, patience)
	defer stop()
	err := h.Shutdown(ending)
	cancel() // what is still running ends at its next step
	if err != nil {
		h.Close()
		err = fmt.Errorf("a request was still running after %s", patience)
	}
	s.answering.Wait()
	return err
}
