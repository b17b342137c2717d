package appliance

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// Check is one thing that must be well for the box to be ready.
type Check struct {
	Name string
	Err  error  // nil is well
	Say  string // a word for the operator, well or not
}

// healthHandler serves /metrics, /healthz (the process answers) and /readyz
// (every check is well; each check on a line, for a person).
func (a *Appliance) healthHandler() http.Handler {
	all := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		return prometheus.Gatherers{a.registry, a.alerts.current.Load().registry}.Gather()
	})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		var page strings.Builder
		status := http.StatusOK
		for _, c := range a.Checks() {
			word := "ok"
			if c.Err != nil {
				word, status = "NOT OK", http.StatusServiceUnavailable
			}
			fmt.Fprintf(&page, "%-8s %-10s %s", word, c.Name, c.Say)
			if c.Err != nil {
				fmt.Fprintf(&page, ": %v", c.Err)
			}
			page.WriteByte('\n')
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		fmt.Fprint(w, page.String())
	})
	return mux
}
