package appliance

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"schoolgate/blocklists"
	"schoolgate/configs"
	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

// The whole box fetches by itself what is due, swaps the new store into its
// decisions, and says how its feeds stand.
func TestARunningBoxFetchesAndSwaps(t *testing.T) {
	b := newSupplyBox(t, twoFeeds)
	b.publish(names("bet", 20), names("bad", 20))
	ports := testkit.FreePorts(t, 3)
	b.write(b.cfg.Box.File, fmt.Sprintf(`policy: policy.yaml
data: var
lists: {feeds: feeds.yaml}
dns: {listen: ["127.0.0.1:%d"], upstreams: ["192.0.2.1:53"]}
proxy: {listen: ["127.0.0.1:%d"], allow_destinations: [127.0.0.0/8]}
metrics: {listen: ["127.0.0.1:%d"]}
`, ports[0], ports[1], ports[2]))
	load := func() (*configs.Config, error) {
		cfg, problems := configs.Load(b.cfg.Box.File)
		return cfg, blocklists.Joined(problems)
	}
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
	page := get(t, fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[2]))
	if !strings.Contains(page, "2 feeds fetched; all green") {
		t.Errorf("readyz: %s", page)
	}
	page = get(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", ports[2]))
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

// Each public feed names its address, its licence and what it gets wrong.
func TestThePublicFeedsAreDeclaredInFull(t *testing.T) {
	feeds := publicFeeds(t)
	fetched := 0
	for _, f := range feeds {
		if f.Remote.URL == "" {
			if !strings.HasPrefix(f.Name, "starter-") {
				t.Errorf("%s is neither fetched nor a starter list", f.Name)
			}
			continue
		}
		fetched++
		if f.Note == "" || f.Licence == "" || !strings.HasPrefix(f.Remote.URL, "https://") {
			t.Errorf("%s: address %q, licence %q, note %q", f.Name, f.Remote.URL, f.Licence, f.Note)
		}
		if f.Kind == blocklists.Mandatory {
			t.Errorf("%s: no public list is mandatory", f.Name)
		}
	}
	if fetched < 40 {
		t.Errorf("only %d feeds are fetched", fetched)
	}
}

func publicFeeds(t *testing.T) []blocklists.Feed {
	t.Helper()
	feeds, problems := blocklists.LoadFeeds(filepath.Join("..", "configs", "feeds.yaml"))
	if err := blocklists.Joined(problems); err != nil {
		t.Fatal(err)
	}
	return feeds.Enabled()
}

// What the shared lists hold of each publisher is read in full as that feed, so
// the declared format and categories are the publisher's.
func TestThePublicFeedsAreReadAsDeclared(t *testing.T) {
	lists := testkit.Lists(t)
	files := publishers(t, lists)
	cache, err := blocklists.OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, f := range publicFeeds(t) {
		file, ok := files[f.Remote.URL]
		if !ok {
			continue
		}
		read++
		if info, err := os.Stat(file); err == nil && info.Size() > 300<<10 && underRace {
			continue // read without the race detector
		}
		got := cache.Import(t.Context(), &f, file, blocklists.UpdateOptions{})
		if got.Err != nil {
			t.Errorf("%s: %v", f.Name, got.Err)
		}
	}
	if read < 40 {
		t.Errorf("only %d feeds have their list in %s", read, lists)
	}
}

// publishers finds the file in the shared lists for each address.
func publishers(t *testing.T, lists string) map[string]string {
	t.Helper()
	table, err := os.Open(filepath.Join(lists, "SOURCES.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	rows, err := csv.NewReader(table).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"https://dsi.ut-capitole.fr/blacklists/download/blacklists.tar.gz":    filepath.Join(lists, "ut1", "blacklists.tar.gz"),
		"https://codeload.github.com/v2fly/domain-list-community/tar.gz/HEAD": filepath.Join(lists, "v2fly", "data.tar.gz"),
	}
	for _, r := range rows {
		repo, path := r[6], r[7]
		files["https://raw.githubusercontent.com/"+repo+"/HEAD/"+path] = filepath.Join(lists, r[0])
	}
	return files
}
