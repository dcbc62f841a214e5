// Command syncsam-beam verifies and calibrates as Apache Beam pipelines.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	beamlog "github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/extworker"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx" // the runners, and the flag --runner

	"syncsam-convert/golden"
	"syncsam-convert/internal/output"
	"syncsam-convert/scale"
)

const usage = `syncsam-beam verify DIR (--data DATA | --golden GOLDEN) --items FILE [flags]
syncsam-beam calibrate CHECKPOINT --calib PATH -o FILE [flags]
syncsam-beam worker PORT                     an external worker pool: --environment_type=EXTERNAL --environment_config=localhost:PORT

Folders are paths that all workers see; the artifact or checkpoint travels with the pipeline. --runner prism (the default), dataflow, flink,
spark or universal, and Beam's own flags, say where it runs.
`

var (
	n        = flag.Int("shards", 64, "how many parts the work has at first")
	attempts = flag.Int("attempts", 3, "how often a pipeline that fails is run")
	data     = flag.String("data", "", "verify: data set's folder")
	goldens  = flag.String("golden", "", "verify: golden folder")
	prompts  = flag.String("prompts", "", "verify: prompt modes (default all)")
	closed   = flag.Bool("closed-loop", false, "verify: also make the prompts anew")
	items    = flag.String("items", "", "verify: file (.csv, .jsonl) to write")
	report   = flag.String("json", "", "verify: file for the report as JSON")
	calib    = flag.String("calib", "", "calibrate: a folder of pictures, a data set or its index")
	out      = flag.String("o", "", "calibrate: statistics file to write")
	quantize = flag.String("quantize", "", "calibrate: cnn, linear or all")
	family   = flag.String("family", "", "calibrate: model family, where the keys do not tell")
	weights  = flag.String("weights", "", "calibrate: key or prefix of the state dict")
	size     = flag.Int64("image-size", 0, "calibrate: side of the input image")
	engine   = flag.String("engine", "go", "go, onnxruntime")
	library  = flag.String("onnxruntime-lib", "", "ONNX Runtime's shared library")
	threads  = flag.Int("threads", 0, "threads of the engine; 0: all")
	loud     = flag.Bool("verbose", false, "show the runner's log")
)

func main() {
	args := arguments(os.Args[1:])
	if !*loud {
		beamlog.SetLogger(quiet{})
	}
	beam.Init() // a worker does not come back
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := 0
	if err := run(ctx, args); err != nil {
		fmt.Fprintln(os.Stderr, "syncsam-beam:", err)
		code = 2
		if errors.Is(err, golden.ErrMismatch) {
			code = 1
		}
	}
	stop()
	scale.Clean()
	os.Exit(code)
}

// arguments parses flags wherever they stand, and gives the rest.
func arguments(args []string) (rest []string) {
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage); flag.PrintDefaults() }
	for len(args) > 0 {
		flag.CommandLine.Parse(args)
		args = flag.Args()
		if len(args) > 0 {
			rest, args = append(rest, args[0]), args[1:]
		}
	}
	return rest
}

func run(ctx context.Context, args []string) error {
	note := func(line string) { fmt.Fprintln(os.Stderr, "syncsam-beam: "+line) }
	switch {
	case len(args) != 2 || *n < 1 || *attempts < 1:
		return fmt.Errorf("have %q, want a command and what it works on, --shards and --attempts of 1 or more:\n%s", args, usage)
	case args[0] == "verify":
		if *items == "" {
			return fmt.Errorf("--items: missing, want the file to write")
		}
		s := scale.Spec{Data: *data, Golden: *goldens, Prompts: *prompts, Engine: *engine, Library: *library, Threads: *threads, Closed: *closed}
		r, err := s.Verify(ctx, runner(), args[1], *items, *n, *attempts, note)
		if err != nil {
			return err
		}
		r.WriteText(os.Stdout)
		if *report != "" {
			if err := output.File(*report, r.WriteJSON); err != nil {
				return err
			}
		}
		return r.Err()
	case args[0] == "calibrate":
		if *calib == "" || *out == "" {
			return fmt.Errorf("--calib and -o: both are needed")
		}
		s := scale.CalibSpec{Calib: *calib, Quantize: *quantize, Family: *family, Weights: *weights, ImageSize: *size, Engine: *engine, Library: *library, Threads: *threads}
		return s.Calibrate(ctx, runner(), args[1], *out, *n, *attempts, note)
	case args[0] == "worker":
		port := 0
		if err := json.Unmarshal([]byte(args[1]), &port); err != nil || port < 1 || port > 65535 {
			return fmt.Errorf("worker: have %q, want a port", args[1])
		}
		pool, err := extworker.StartLoopback(ctx, port)
		if err != nil {
			return err
		}
		<-ctx.Done()
		return pool.Stop(context.Background())
	}
	return fmt.Errorf("have %q, want verify, calibrate or worker", args[0])
}

// runner is Beam's flag.
func runner() string {
	if name := flag.Lookup("runner").Value.String(); name != "" {
		return name
	}
	return "prism"
}

// quiet keeps the runner's errors to the pipeline's own.
type quiet struct{}

func (quiet) Log(context.Context, beamlog.Severity, int, string) {}
