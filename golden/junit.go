package golden

import (
	"encoding/xml"
	"fmt"
	"io"

	"syncsam-convert/internal/plain"
)

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Name    string       `xml:"name,attr"`
	Tests   int          `xml:"tests,attr"`
	Fails   int          `xml:"failures,attr"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name  string      `xml:"name,attr"`
	Tests int         `xml:"tests,attr"`
	Fails int         `xml:"failures,attr"`
	Cases []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
}

// WriteJUnit writes the report as JUnit XML: a suite per prompt mode, a case per item and one for the mode's summary.
func (r *Report) WriteJUnit(w io.Writer) error {
	out := junitSuites{Name: fmt.Sprintf("%s %s %s", r.Family, r.Precision, r.Engine)}
	for _, mode := range r.modes {
		s := junitSuite{Name: mode}
		add := func(name string, pass bool, why string) {
			c := junitCase{Class: "dsc." + mode, Name: name}
			if !pass {
				c.Failure = &junitFailure{why}
				s.Fails++
			}
			s.Cases = append(s.Cases, c)
		}
		for _, it := range r.Items {
			if it.Mode == mode {
				add(it.Mask, it.Pass, fmt.Sprintf("DSC %.6f, want %.6f (%+.3f points)", it.Have, it.Want, it.Points))
			}
		}
		m := r.Modes[mode]
		add("summary", m.Pass, r.verdict(mode, m))
		s.Tests = len(s.Cases)
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
