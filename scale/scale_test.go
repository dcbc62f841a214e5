package scale

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"

	"syncsam-convert/calib"
	"syncsam-convert/compile"
	"syncsam-convert/golden"
)

const (
	data       = "../golden/data"
	checkpoint = data + "/syncsam-tiny-34/syncsam-tiny-34.pth"
)

func TestMain(m *testing.M) {
	beam.Init()
	code := m.Run()
	Clean()
	os.Exit(code)
}

func same(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if string(x) != string(y) {
		t.Fatalf("%s and %s differ", a, b)
	}
}

// A pipeline on Prism, of which a worker falls midway, writes the bits of one run: golden set and own data.
func TestVerify(t *testing.T) {
	ctx, tmp := context.Background(), t.TempDir()
	artifact := filepath.Join(tmp, "artifact")
	if _, err := compile.Compile(ctx, compile.Options{Checkpoint: checkpoint, Output: artifact}); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]Spec{
		"golden": {Golden: data + "/syncsam-tiny-34", Prompts: "box", Engine: "go"},
		"data":   {Data: data + "/dataset", Prompts: "box", Engine: "go"},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.Request()
			r.Items = filepath.Join(tmp, name+".csv")
			want, err := r.Run(ctx, artifact)
			if err != nil {
				t.Fatal(err)
			}
			var units, fell atomic.Int64
			fault = func(golden.Unit) {
				if units.Add(1) == 7 {
					fell.Add(1)
					panic("the worker falls")
				}
			}
			defer func() { fault = nil }()
			items, notes := filepath.Join(tmp, name+"-beam.csv"), 0
			have, err := s.Verify(ctx, "prism", artifact, items, 5, 3, func(string) { notes++ })
			if err != nil {
				t.Fatal(err)
			}
			if fell.Load() != 1 || notes != 1 {
				t.Fatalf("have %d falls and %d notes, want 1 of each", fell.Load(), notes)
			}
			for _, end := range []string{"", ".run", ".measured"} {
				same(t, r.Items+end, items+end)
			}
			if a, b := fmt.Sprint(want.Modes["box"]), fmt.Sprint(have.Modes["box"]); a != b {
				t.Fatalf("have %s, want %s", b, a)
			}
			if _, err := os.Stat(items + ".parts"); !os.IsNotExist(err) {
				t.Fatal("parts are left")
			}
		})
	}
}

// Calibration on Prism, of which a worker falls midway, writes the file of one run.
func TestCalibrate(t *testing.T) {
	ctx, tmp := context.Background(), t.TempDir()
	plain, out := filepath.Join(tmp, "plain.safetensors"), filepath.Join(tmp, "beam.safetensors")
	var s *calib.Stats
	s, err := compile.Statistics(ctx, compile.Options{Checkpoint: checkpoint, Calibration: data + "/calibration"}, "")
	if err == nil {
		err = s.WriteFile(plain)
	}
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	calibFault = func(int) {
		if n.Add(1) == 3 {
			panic("the worker falls")
		}
	}
	defer func() { calibFault = nil }()
	if err := (CalibSpec{Calib: data + "/calibration"}).Calibrate(ctx, "prism", checkpoint, out, 5, 3, func(string) {}); err != nil {
		t.Fatal(err)
	}
	same(t, plain, out)
}
