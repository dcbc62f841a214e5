package golden

import (
	"fmt"
	"io"
	"strings"

	"syncsam-convert/internal/plain"
)

// Escapes of GitHub's workflow commands: of a message, and of a property, which ends at a comma and begins after a colon.
var (
	githubMessage  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// WriteGitHub writes the report as annotations of GitHub's workflows: an error for each prompt mode that failed, a notice for each other one, errors for
// items that failed or dropped and warnings for unstable ones (at most ten of each: GitHub shows no more).
func (r *Report) WriteGitHub(w io.Writer) error {
	line := func(level, title, text string) {
		plain.Fprintf(w, "::%s title=%s::%s\n", level, githubProperty.Replace(title), githubMessage.Replace(text))
	}
	level := func(pass bool) string {
		if pass {
			return "notice"
		}
		return "error"
	}
	for _, note := range r.Notes {
		line("warning", "note", note)
	}
	for _, mode := range r.modes {
		m := r.Modes[mode]
		line(level(m.Pass), mode, r.line(mode))
		if r.Baseline != nil {
			b := r.Baseline.Modes[mode]
			line(level(b.Pass), mode+" since the earlier report", r.Baseline.line(b))
		}
	}
	n := 0
	for _, it := range r.Items {
		if (!it.Pass || it.Dropped) && n < shown {
			line("error", it.Mask+" "+it.Mode, r.itemLine(it))
			n++
		}
	}
	for i, m := range r.Unstable {
		if i < shown {
			line("warning", m.Mask+" "+m.Mode, "unstable: rounding alone changes the answer to this prompt")
		}
	}
	line(level(r.Pass), fmt.Sprintf("%s %s", r.Family, r.Precision), "judged by "+r.By())
	return nil
}
