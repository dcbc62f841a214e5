// Command library compiles CHECKPOINT to INT8, segments by one box, and verifies: go run . CHECKPOINT CALIBRATION GOLDEN
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"syncsam-convert/compile"
	"syncsam-convert/engine"
	"syncsam-convert/golden"
	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
	"syncsam-convert/segment"
)

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func main() {
	ctx, dir := context.Background(), filepath.Join(must(os.MkdirTemp("", "library-*")), "artifact")
	must(compile.Compile(ctx, compile.Options{Checkpoint: os.Args[1], Output: dir, Precision: compile.INT8, Calibration: os.Args[2], Rounding: compile.RoundNearest}))
	p := must(segment.Open(dir, engine.Embedded, engine.Options{}))
	defer p.Close()
	set := must(golden.Read(os.Args[3]))
	image := must(p.Embed(ctx, must(pictures.Read(set.Images(1)[0]))))
	mask := must(p.Predict(ctx, image, prompt.Prompt{Box: &set.Items[0].Box.Box})).Mask
	fmt.Println(mask.Count(), "pixels in the box of", set.Items[0].Mask)
	report := must(golden.Verify(ctx, p, set, golden.Settings{Modes: []string{"box"}}))
	fmt.Printf("DSC box %.4f\n", report.Modes["box"].Have)
}
