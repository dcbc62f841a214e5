package golden_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"syncsam-convert/compile"
	"syncsam-convert/engine"
	"syncsam-convert/golden"
	"syncsam-convert/segment"
)

func ExampleVerify() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	artifact := filepath.Join(dir, "artifact")
	if _, err := compile.Compile(ctx, compile.Options{Checkpoint: "data/syncsam-tiny-34/syncsam-tiny-34.pth", Output: artifact}); err != nil {
		log.Fatal(err)
	}
	predictor, err := segment.Open(artifact, engine.Embedded, engine.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer predictor.Close()
	set, err := golden.Read("data/syncsam-tiny-34")
	if err != nil {
		log.Fatal(err)
	}
	report, err := golden.Verify(ctx, predictor, set, golden.Settings{Modes: []string{"box"}, Tolerance: golden.DefaultTolerance})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d items, DSC %.4f, pass: %v\n", report.Modes["box"].Items, report.Modes["box"].Have, report.Pass)
	// Output:
	// 117 items, DSC 0.8332, pass: true
}
