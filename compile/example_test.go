package compile_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"syncsam-convert/compile"
)

func ExampleCompile() {
	dir, err := os.MkdirTemp("", "example-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	manifest, err := compile.Compile(context.Background(), compile.Options{
		Checkpoint:  "../golden/data/syncsam-tiny-34/syncsam-tiny-34.pth",
		Output:      filepath.Join(dir, "artifact"),
		Precision:   compile.INT8,
		Calibration: "../golden/data/calibration",
		Rounding:    compile.RoundNearest,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(manifest.Family, manifest.Precision, len(manifest.Quantization.QuantizedNodes), "layers in INT8")
	for _, file := range manifest.Files {
		fmt.Println(file.Name)
	}
	// Output:
	// syncsam-34 int8 52 layers in INT8
	// encoder.onnx
	// decoder.onnx
}
