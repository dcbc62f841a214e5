package main

import (
	"io"
	"os"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// newBar is a progress bar on standard error when that is a terminal or force is set, a silent one otherwise.
func newBar(cmd *cobra.Command, force bool, total int, what string) *progressbar.ProgressBar {
	w := cmd.ErrOrStderr()
	f, isFile := w.(*os.File)
	if !force && !(isFile && term.IsTerminal(int(f.Fd()))) {
		w = io.Discard
	}
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30), progressbar.OptionSetRenderBlankState(true))
}

// steps is a bar over named stages of one job.
type steps struct {
	bar   *progressbar.ProgressBar
	names []string
}

func newSteps(cmd *cobra.Command, force bool, names ...string) *steps {
	return &steps{newBar(cmd, force, len(names), names[0]), names}
}

func (s *steps) step(name string) {
	s.bar.Describe(name)
	_ = s.bar.Set(slices.Index(s.names, name)) // a bar that cannot be drawn stops nothing
}

func (s *steps) done() { _ = s.bar.Finish() }
