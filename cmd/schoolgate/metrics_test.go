package main

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"schoolgate/internal/testkit"
)

// families are promised to whoever watches the box.
var families = []string{
	"schoolgate_dnsfilter_verdicts_total", "schoolgate_dnsfilter_cache_hits_total", "schoolgate_dnsfilter_seconds", "schoolgate_dnsfilter_cache_entries",
	"schoolgate_dnsfilter_upstream_exchanges_total", "schoolgate_dnsfilter_upstream_seconds",
	"schoolgate_proxy_requests_total", "schoolgate_proxy_decision_seconds",
	"schoolgate_audit_events_total", "schoolgate_audit_fsync_seconds", "schoolgate_audit_last_sync_timestamp_seconds",
	"schoolgate_categories_store_version", "schoolgate_categories_store_names",
	"schoolgate_categories_store_built_timestamp_seconds", "schoolgate_alerts_outbox_queued", "schoolgate_alerts_open", "schoolgate_appliance_reloads_total", "go_goroutines", "process_resident_memory_bytes",
}

// The metrics parse, hold a family for every part, and no label tells who asked or
// for what; the health pages answer.
func TestMetricsNameNobody(t *testing.T) {
	upstream := testkit.NewUpstream(t, "watched.example. 60 IN A 127.0.0.1")
	b := testkit.NewBox(t, testkit.BoxOptions{Upstream: upstream.Addr})
	b.Start()
	defer b.Stop()
	for _, host := range []string{"watched.example", "blocked.example"} {
		if _, err := b.Ask("127.0.1.77", "udp", host, dns.TypeA); err != nil {
			t.Fatal(err)
		}
		fetch(t, b.Client("127.0.1.77"), "http://"+host+":9/")
	}
	b.Run("reload")

	resp, text := health(t, b, "/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	got, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("/metrics: %s: %v", resp.Status, err)
	}
	for _, name := range families {
		if got[name] == nil {
			t.Errorf("/metrics has no family %s", name)
		}
	}
	if t.Failed() {
		t.Logf("families: %s", slices.Sorted(maps.Keys(got)))
	}
	for name, family := range got {
		for _, label := range labels(family) {
			for _, secret := range []string{"watched", "blocked.example", "127.0.1.77", "127.0.0.1"} {
				if strings.Contains(label.GetValue(), secret) && !upstreamLabel(label, upstream.Addr) {
					t.Errorf("%s{%s=%q} tells who asked for what", name, label.GetName(), label.GetValue())
				}
			}
		}
	}
	if resp, text := health(t, b, "/healthz"); resp.StatusCode != http.StatusOK || text != "ok\n" {
		t.Errorf("/healthz = %s %q", resp.Status, text)
	}
	resp, text = health(t, b, "/readyz")
	for _, part := range []string{"policy", "lists", "journal", "dns", "proxy", "alerts"} {
		if resp.StatusCode != http.StatusOK || !strings.Contains(text, "ok       "+part) {
			t.Errorf("/readyz = %s, and does not say that %s is ok:\n%s", resp.Status, part, text)
		}
	}
}

// upstreamLabel: the school's own resolver is named, which is no client.
func upstreamLabel(l *dto.LabelPair, addr string) bool { return strings.Contains(l.GetValue(), addr) }

func labels(f *dto.MetricFamily) (all []*dto.LabelPair) {
	for _, m := range f.GetMetric() {
		all = append(all, m.GetLabel()...)
	}
	return all
}

func health(t *testing.T, b *testkit.Box, path string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Get("http://" + b.Health + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}
