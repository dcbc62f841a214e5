package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"syncsam-convert/artifact"
	"syncsam-convert/frontends/onnx"
	"syncsam-convert/internal/trthost"
	"syncsam-convert/ir/tensor"
)

// planSession runs the plan that was built of a model; the model itself only tells the names.
type planSession struct {
	goSession
	host *trthost.Host
	plan string
}

// loadPlan finds the plan of a model: beside it, or in the artifact's plan folder. A plan is loaded only when its sidecar says that it
// was built of that very model, for this machine.
func loadPlan(path string, o Options) (Session, error) {
	dir, name := filepath.Split(path)
	if _, err := os.Stat(filepath.Join(dir, "plan", name)); err == nil {
		path = filepath.Join(dir, "plan", name)
	}
	plan := strings.TrimSuffix(path, ".onnx") + ".plan"
	if _, err := os.Stat(plan); err != nil {
		return nil, fmt.Errorf("engine tensorrt: %w; plan build makes it", err)
	}
	side, err := trthost.ReadSidecar(plan)
	if err != nil {
		return nil, fmt.Errorf("engine tensorrt: %w", err)
	}
	for _, f := range []struct{ path, want string }{{plan, side.Plan}, {path, side.ONNX}} {
		sum, _, err := artifact.Hash(f.path)
		if err != nil {
			return nil, err
		}
		if sum != f.want {
			return nil, fmt.Errorf("engine tensorrt: %s: have sha256 %s, want %s as %s says", f.path, sum, f.want, trthost.SidecarOf(plan))
		}
	}
	host, err := trthost.Find(o.TensorRT)
	if err != nil {
		return nil, fmt.Errorf("engine tensorrt: %w", err)
	}
	if err := side.Suits(host.Library, host.GPU); err != nil {
		return nil, fmt.Errorf("engine tensorrt: %s: %w", plan, err)
	}
	m, err := onnx.Open(path)
	if err != nil {
		return nil, err
	}
	return &planSession{goSession{model: m}, host, plan}, nil
}

func (s *planSession) Run(ctx context.Context, inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	return s.host.Infer(ctx, s.plan, inputs)
}
