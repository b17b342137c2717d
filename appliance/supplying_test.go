package appliance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"schoolgate/blocklists"
	"schoolgate/policy"
)

// The whole box fetches by itself what is due, swaps the new store into its
// decisions, and says how its feeds stand.
func TestARunningBoxFetchesAndSwaps(t *testing.T) {
	b := newFeedBox(t, betsAndFloor)
	b.publish(numbered("bet", 20), numbered("bad", 20))
	load := b.listens()
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), Options{Config: cfg, Load: load})
	if err != nil {
		t.Fatal(err)
	}
	a.supply.schedule = blocklists.NewSchedule(time.Now().Add(-time.Hour)) // the first look is due
	a.supply.roots = b.server.Roots
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	host, err := policy.ParseHost("bet-3.example")
	if err != nil {
		t.Fatal(err)
	}
	decided := func() policy.Ruling {
		return a.engine.Decide(policy.Request{Door: policy.DoorDNS, Host: host, Time: time.Now()})
	}
	for decided().Category != policy.Gambling && t.Context().Err() == nil {
		time.Sleep(10 * time.Millisecond) // until the box has come round to it; the test's own deadline ends it
	}
	if got := decided(); got.Verdict != policy.Block || got.StoreVersion == 0 {
		t.Errorf("Decide = %+v", got)
	}
	page := get(t, fmt.Sprintf("http://%s/readyz", cfg.Box.Metrics.Listen[0]))
	if !strings.Contains(page, "2 feeds fetched; all green") {
		t.Errorf("readyz: %s", page)
	}
	page = get(t, fmt.Sprintf("http://%s/metrics", cfg.Box.Metrics.Listen[0]))
	if !strings.Contains(page, `schoolgate_lists_feed_state{feed="floor",state="green"} 1`) {
		t.Error("the state of the feeds is not in the metrics")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
