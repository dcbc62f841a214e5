package golden

import (
	"encoding/xml"
	"fmt"
	"io"
	"time"

	"syncsam-convert/internal/plain"
)

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Name    string       `xml:"name,attr"`
	Tests   int          `xml:"tests,attr"`
	Fails   int          `xml:"failures,attr"`
	Time    string       `xml:"time,attr"` // seconds
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name  string          `xml:"name,attr"`
	Tests int             `xml:"tests,attr"`
	Fails int             `xml:"failures,attr"`
	Time  string          `xml:"time,attr"`
	Stamp string          `xml:"timestamp,attr,omitempty"`
	Host  string          `xml:"hostname,attr,omitempty"`
	Props []junitProperty `xml:"properties>property,omitempty"`
	Cases []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
}

// WriteJUnit writes the report as JUnit XML: a suite per prompt mode with what it rests on as properties, a case per item, one for the mode's
// summary, and one for the earlier report where there is one. A case's time is what the item took; items that share an image share its encoding.
func (r *Report) WriteJUnit(w io.Writer) error {
	out := junitSuites{Name: fmt.Sprintf("%s %s %s", r.Family, r.Precision, r.Engine), Time: seconds(0)}
	if r.Evidence != nil {
		out.Time = seconds(r.Evidence.Seconds)
	}
	for _, mode := range r.modes {
		s := junitSuite{Name: mode, Props: r.properties()}
		if r.Evidence != nil {
			s.Stamp, s.Host = r.Started.Format(time.RFC3339), r.Host.Name
		}
		all := 0.0
		add := func(name string, took float64, pass bool, why string) {
			c := junitCase{Class: "dsc." + mode, Name: name, Time: seconds(took)}
			if !pass {
				c.Failure = &junitFailure{why}
				s.Fails++
			}
			all += took
			s.Cases = append(s.Cases, c)
		}
		for _, it := range r.Items {
			if it.Mode == mode {
				add(it.Mask, it.Seconds, it.Pass && !it.Dropped, r.itemLine(it))
			}
		}
		m := r.Modes[mode]
		add("summary", 0, m.Pass, r.verdict(mode, m))
		if r.Baseline != nil {
			b := r.Baseline.Modes[mode]
			add("baseline", 0, b.Pass, r.Baseline.line(b))
		}
		s.Tests, s.Time = len(s.Cases), seconds(all)
		out.Tests, out.Fails, out.Suites = out.Tests+s.Tests, out.Fails+s.Fails, append(out.Suites, s)
	}
	return plain.Filter(w, func(w io.Writer) error {
		if _, err := io.WriteString(w, xml.Header); err != nil {
			return err
		}
		e := xml.NewEncoder(w)
		e.Indent("", " ")
		if err := e.Encode(out); err != nil {
			return err
		}
		_, err := io.WriteString(w, "\n")
		return err
	})
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }

// itemLine says how an item came out.
func (r *Report) itemLine(it Result) string {
	if it.Dropped {
		return fmt.Sprintf("DSC %.6f, dropped by more than %g points since the earlier report", it.Have, r.Baseline.MaxDrop)
	}
	return fmt.Sprintf("DSC %.6f, want %.6f (%+.3f points)", it.Have, it.Want, it.Points)
}

// properties name what the results rest on.
func (r *Report) properties() []junitProperty {
	list := []junitProperty{{"family", r.Family}, {"precision", r.Precision}, {"engine", r.Engine}, {"judged_by", r.By()}}
	add := func(name, value string) {
		if value != "" {
			list = append(list, junitProperty{name, value})
		}
	}
	if e := r.Evidence; e != nil {
		add("tool_version", e.Tool.Version)
		add("tool_commit", e.Tool.Commit)
		add("engine_version", e.EngineVersion)
		add("os", e.Host.OS)
		add("arch", e.Host.Arch)
		add("cpu_instructions", e.Host.CPU)
		add("artifact_sha256", e.Artifact.SHA256)
		if e.First != nil {
			add("artifact_a_sha256", e.First.SHA256)
		}
		if e.Golden != nil {
			add("golden_sha256", e.Golden.SHA256)
		}
		if e.Data != nil {
			add("data_sha256", e.Data.SHA256)
		}
	}
	add("source_sha256", r.Source)
	if r.Baseline != nil {
		add("baseline_sha256", r.Baseline.SHA256)
	}
	return list
}
