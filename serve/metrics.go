package serve

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// seconds are the bounds of the histograms of durations.
var seconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// measures are what /metrics shows.
type measures struct {
	set              *metrics.Set
	running, waiting atomic.Int64
}

func newMeasures(s *Server) *measures {
	metrics.ExposeMetadata(true)
	m := &measures{set: metrics.NewSet()}
	gauge := func(name string, f func() float64) { m.set.NewGauge(name, f) }
	gauge("syncsam_inferences_running", func() float64 { return float64(m.running.Load()) })
	gauge("syncsam_inferences_waiting", func() float64 { return float64(m.waiting.Load()) })
	gauge("syncsam_ready", func() float64 {
		if s.ready.Load() {
			return 1
		}
		return 0
	})
	for _, a := range s.artifacts {
		label := fmt.Sprintf("{model=%q}", a.Segment)
		gauge("syncsam_embedding_cache_bytes"+label, func() float64 { _, b := a.cache.size(); return float64(b) })
		gauge("syncsam_embedding_cache_entries"+label, func() float64 { n, _ := a.cache.size(); return float64(n) })
		gauge("syncsam_embedding_cache_bytes_limit"+label, func() float64 { return float64(a.cache.most) })
	}
	m.set.RegisterMetricsWriter(func(w io.Writer) {
		for _, counter := range []string{"hits", "misses"} {
			metrics.WriteMetadataIfNeeded(w, "syncsam_embedding_cache_"+counter+"_total", "counter")
			for _, a := range s.artifacts {
				n := a.cache.hits.Load()
				if counter == "misses" {
					n = a.cache.misses.Load()
				}
				metrics.WriteCounterUint64(w, fmt.Sprintf("syncsam_embedding_cache_%s_total{model=%q}", counter, a.Segment), n)
			}
		}
	})
	return m
}

// answered counts a request; model is "" where it was about none that there is.
func (m *measures) answered(model string, status int) {
	m.set.GetOrCreateCounter(fmt.Sprintf("syncsam_requests_total{model=%q,code=\"%d\"}", model, status)).Inc()
}

// took notes how long something of a model took: a request, or the inference when it had its turn.
func (m *measures) took(what, model string, begun time.Time) {
	m.set.GetOrCreatePrometheusHistogramExt(fmt.Sprintf("syncsam_%s_duration_seconds{model=%q}", what, model), seconds).UpdateDuration(begun)
}

// write writes all in Prometheus' text format, with what the process takes.
func (m *measures) write(w io.Writer) {
	m.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
	metrics.WriteFDMetrics(w)
}
