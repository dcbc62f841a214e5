// Package compile is the compiler: from a checkpoint to a verified artifact.
//
// A checkpoint is opened, never executed: Open maps its tensors. Lower recognises the model family by the keys, builds the family's graphs
// (an encoder that reads the image and a decoder that reads prompts, or one graph for both) and simplifies them. Calibrate runs the float
// model over pictures and chooses, for every value that becomes an integer, a range: the quantization plan, a text that can be reviewed,
// changed and replayed. Finish takes a copy of the model through the rest of the pipeline with a plan. Write emits it: ONNX files and a
// manifest that says what was done. Each stage gives a value that can be kept, so a search finishes many models of one calibration:
//
//	source, err := compile.Open(compile.Options{Checkpoint: "syncsam-50.pth", Precision: compile.INT8, Calibration: "images/"})
//	lowered, err := source.Lower(ctx)
//	calibrated, err := lowered.Calibrate(ctx)
//	compiled, err := calibrated.Finish(ctx, compile.ONNX, calibrated.Plan)
//	manifest, err := compiled.Write(ctx, "artifact")
//
// Compile does all of it, verifies the artifact against golden Dice results where the options name some, and publishes it in one rename
// or leaves no trace. The stages between are data: package passes lists them for every target and precision, in order, with what each may do
// to results. An artifact is run by package segment, judged by package golden.
package compile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/tensorrt/plans"
	"syncsam-convert/golden"
	"syncsam-convert/internal/guard"
	"syncsam-convert/internal/output"
	"syncsam-convert/ir/quant"
	"syncsam-convert/segment"
)

// Compile builds the artifact that the options describe and publishes it at Output. When the golden results do not hold the error is a
// golden.ErrMismatch, and nothing is left.
func Compile(ctx context.Context, o Options) (*artifact.Manifest, error) {
	if o.Output == "" {
		return nil, fmt.Errorf("-o: missing, want the artifact folder")
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.filled()
	if err := cmp.Or(output.Creatable(o.PlanOut), output.CreatableFolder(o.Debug.Dump)); err != nil {
		return nil, err
	}
	stage, err := artifact.Stage(o.Output, o.Force)
	if err != nil {
		return nil, err
	}
	defer stage.Discard()
	man, plan, err := build(ctx, o, stage.Dir)
	if err != nil {
		return nil, err
	}
	o.Progress(Event{Stage: "publish"})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := o.writePlan(plan); err != nil {
		return nil, err
	}
	return man, stage.Publish()
}

// build fills a folder with the artifact, and gives the plan that it has. A checkpoint that changes meanwhile is an error.
func build(ctx context.Context, o Options, dir string) (man *artifact.Manifest, plan *quant.Plan, err error) {
	err = guard.Do(func() error {
		source, err := Open(o)
		if err != nil {
			return err
		}
		defer source.Close()
		return source.settle(ctx, guard.Do(func() (err error) {
			man, plan, err = source.build(ctx, dir)
			return err
		}))
	})
	return man, plan, err
}

func (s *Source) build(ctx context.Context, dir string) (*artifact.Manifest, *quant.Plan, error) {
	o := s.o
	lowered, err := s.Lower(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := lowered.nameGolden(); err != nil {
		return nil, nil, err
	}
	calibrated, err := lowered.Calibrate(ctx)
	if err != nil {
		return nil, nil, err
	}
	if o.search {
		return calibrated.fastest(ctx, dir)
	}
	plan, folder := calibrated.Plan, filepath.Join(dir, plans.Name)
	if o.Target == TensorRT {
		if err := os.Mkdir(folder, 0o777); err != nil {
			return nil, nil, err
		}
	}
	var beside errgroup.Group
	if o.Target == TensorRT && o.Golden == "" { // nothing can change the plan any more: both models at once
		beside.Go(guard.Func(func() error {
			_, err := calibrated.publish(ctx, TensorRT, plan, folder)
			return err
		}))
	}
	man, err := calibrated.publish(ctx, ONNX, plan, dir)
	if errors.Is(err, golden.ErrMismatch) && o.Precision == INT8 && o.MaxDrop != nil {
		man, plan, err = calibrated.fallBack(ctx, man, dir)
	}
	err = cmp.Or(err, beside.Wait())
	if err != nil || o.Target != TensorRT {
		return man, plan, err
	}
	if o.Golden != "" {
		if _, err := calibrated.publish(ctx, TensorRT, plan, folder); err != nil {
			return nil, nil, err
		}
	}
	pin, err := artifact.Describe(dir, plans.Name+"/"+artifact.ManifestName)
	if err != nil {
		return nil, nil, err
	}
	man.Target, man.Files = TensorRT, append(man.Files, pin)
	return man, plan, man.Write(dir)
}

// nameGolden says before the work that the golden results are of another checkpoint file; those of another family are an error.
func (l *Lowered) nameGolden() error {
	if l.o.Golden == "" {
		return nil
	}
	g, err := golden.Read(l.o.Golden)
	if err != nil {
		return err
	}
	sum, err := l.SHA256()
	if err != nil {
		return err
	}
	same, err := g.SameCheckpoint(l.run.Module.Meta.Family, sum)
	if err != nil {
		return fmt.Errorf("%s: %w", l.o.Golden, err)
	}
	if same {
		return nil
	}
	l.o.Note(fmt.Sprintf("note: %s: the golden set is of another checkpoint file: sha256 %.16s, this one has %.16s", l.o.Golden, g.SHA256, sum))
	return nil
}

// publish finishes one model, writes it into a folder, and proves it where there are golden results. With a golden.ErrMismatch it gives
// the manifest, too.
func (c *Calibrated) publish(ctx context.Context, target string, plan *quant.Plan, dir string) (*artifact.Manifest, error) {
	m, err := c.Finish(ctx, target, plan)
	if err != nil {
		return nil, err
	}
	if c.client != nil && !c.client.Plain() && c.o.Golden != "" {
		return c.publishProved(ctx, m, dir)
	}
	man, err := m.Write(ctx, dir)
	if err != nil || c.o.Golden == "" {
		return man, err
	}
	return man, c.o.prove(ctx, dir, man, golden.Settings{Modes: golden.Modes})
}

// publishProved proves the graphs with their own inputs and outputs, in a folder that goes away, and writes those for the client.
func (c *Calibrated) publishProved(ctx context.Context, m *Compiled, dir string) (*artifact.Manifest, error) {
	scratch, remove, err := output.Scratch()
	if err != nil {
		return nil, err
	}
	defer remove()
	proved, err := m.write(ctx, scratch, nil)
	if err != nil {
		return nil, err
	}
	if err := c.o.prove(ctx, scratch, proved, golden.Settings{Modes: golden.Modes}); err != nil {
		return proved, err
	}
	man, err := m.Write(ctx, dir)
	if err != nil {
		return nil, err
	}
	man.Verification = proved.Verification
	return man, man.Write(dir)
}

// prove verifies the artifact in a folder and adds the result to its manifest.
func (o Options) prove(ctx context.Context, dir string, man *artifact.Manifest, s golden.Settings) error {
	g, err := golden.Read(o.Golden)
	if err != nil {
		return err
	}
	p, err := segment.Open(dir, o.Engine, o.Runtime)
	if err != nil {
		return err
	}
	defer p.Close()
	done := 0
	s.Tolerance, s.MaxDrop, s.Judge, s.Seen = golden.DefaultTolerance, o.MaxDrop, o.Judge, func() {
		done++
		o.Progress(Event{"masks", done, len(g.Items)})
	}
	r, err := golden.Verify(ctx, p, g, s)
	if err != nil {
		return err
	}
	if man.Verification, err = json.Marshal(r.Brief()); err != nil {
		return err
	}
	if err := man.Write(dir); err != nil {
		return err
	}
	return r.Err()
}
