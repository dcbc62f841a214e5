package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/internal/memory"
	"syncsam-convert/internal/plain"
	"syncsam-convert/serve"
)

func serveCommand() *cobra.Command {
	var o serve.Options
	var listen string
	var quiet bool
	request, cache := size(serve.DefaultMaxRequest), size(serve.DefaultCache)
	c := &cobra.Command{
		Use:   "serve DIR [DIR2] [--listen ADDRESS]",
		Short: "Answer inference requests over HTTP, with a page to try the artifact",
		Long: `Speaks the Open Inference Protocol, version 2 (REST), as Triton and KServe do: a model for each graph of the artifact (encoder, decoder; or
model), and segment, which takes a picture's file and a prompt and gives the mask, as run does. The models of a second artifact have
the same names with _2 behind them. At / is a page to try the artifact, or two side by side; at /metrics are counts for Prometheus.
docs/serve.md has the tensors. It ends on SIGINT and SIGTERM, when the requests that it answers are done.`,
		Example: "  syncsam-convert serve model50\n  syncsam-convert serve model50 small --listen 127.0.0.1:9000 --engine onnxruntime",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return fmt.Errorf("have %d arguments, want one artifact DIR, or two", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.MaxRequest, o.Cache = int64(request), int64(cache)
			l, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", listen)
			if err != nil {
				return fmt.Errorf("--listen %s: %w", listen, err)
			}
			s, err := serve.Open(args, o)
			if err != nil {
				l.Close()
				return err
			}
			if !quiet {
				plain.Fprintf(cmd.OutOrStdout(), "serving %s at http://%s\n", strings.Join(s.Models(), ", "), l.Addr())
			}
			return errors.Join(s.Serve(cmd.Context(), l), s.Close())
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8000", "address and port to listen at; with 0.0.0.0 other machines reach it, too")
	c.Flags().IntVar(&o.Parallel, "parallel", serve.DefaultParallel, "inferences that run at a time; others wait for their turn")
	c.Flags().Var(&request, "max-request", "most bytes of a request, unpacked")
	c.Flags().Var(&cache, "cache", "most bytes of image embeddings that are kept, for each artifact")
	c.Flags().BoolVar(&quiet, "quiet", false, "print nothing but errors")
	addEngine(c, &o.Engine, &o.Run)
	return c
}

// A size is a flag's value in bytes.
type size int64

func (s *size) String() string { return strconv.FormatInt(int64(*s)>>20, 10) + "MB" }
func (s *size) Type() string   { return "size" }
func (s *size) Set(text string) error {
	n, err := memory.Bytes(text, 1<<20)
	if err == nil {
		*s = size(n)
	}
	return err
}
