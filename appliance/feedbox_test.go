package appliance

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"schoolgate/blocklists"
	"schoolgate/configs"
	"schoolgate/internal/testkit"
	"schoolgate/policy"
	"schoolgate/supply"
)

// feedBox is a school with a server of feeds.
type feedBox struct {
	*testing.T
	cfg    *configs.Config
	server *testkit.FeedServer
}

const feedBoxPolicy = `profiles:
  ks2: {band: ks2, block: [pornography, gambling, gaming, malware], uncategorised: allow}
exceptions:
  - {allow: office.school.example, for: everyone, until: UNTIL, by: IT support, reason: the school's own service}
`

// betsAndFloor is a public feed and a mandatory one.
const betsAndFloor = `feeds:
  - {name: bets, url: SERVER/bets, format: domains, category: gambling, kind: public, weight: 1, licence: test}
  - {name: floor, url: SERVER/floor, format: urls, category: child_abuse, kind: mandatory, licence: test}
`

func newFeedBox(t *testing.T, feeds string) *feedBox {
	t.Helper()
	b := &feedBox{T: t, server: testkit.Feeds(t)}
	dir := t.TempDir()
	until := time.Now().AddDate(0, 6, 0).Format(time.DateOnly)
	b.write(filepath.Join(dir, "schoolgate.yaml"), "policy: policy.yaml\ndata: var\nlists: {feeds: feeds.yaml}\n")
	b.write(filepath.Join(dir, "policy.yaml"), strings.ReplaceAll(feedBoxPolicy, "UNTIL", until))
	b.write(filepath.Join(dir, "feeds.yaml"), strings.ReplaceAll(feeds, "SERVER", b.server.URL))
	cfg, problems := configs.Load(filepath.Join(dir, "schoolgate.yaml"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	b.cfg = cfg
	return b
}

// listens gives the box ports of its own, and says how its configuration is read again.
func (b *feedBox) listens() (load func() (*configs.Config, error)) {
	b.Helper()
	ports := testkit.FreePorts(b, 3)
	file := b.cfg.Box.File
	b.write(file, fmt.Sprintf(`policy: policy.yaml
data: var
lists: {feeds: feeds.yaml}
dns: {listen: ["127.0.0.1:%d"], upstreams: ["192.0.2.1:53"]}
proxy: {listen: ["127.0.0.1:%d"], allow_destinations: [127.0.0.0/8]}
metrics: {listen: ["127.0.0.1:%d"]}
`, ports[0], ports[1], ports[2]))
	return func() (*configs.Config, error) {
		cfg, problems := configs.Load(file)
		return cfg, blocklists.Joined(problems)
	}
}

func (b *feedBox) write(path, text string) {
	b.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

// supply opens the supply of the box; nil takeUp is for a box that does not run.
func (b *feedBox) supply(takeUp func(context.Context) (string, error)) *supply.Supply {
	b.Helper()
	cfg := *b.cfg
	cfg.Box.Proxy.AllowDestinations = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	s, err := supply.Open(&cfg, supply.Options{Roots: b.server.Roots, TakeUp: takeUp})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s
}

func (b *feedBox) fetch() supply.Settled {
	b.Helper()
	_, done, err := b.supply(nil).Fetch(b.Context(), supply.FetchRequest{})
	if err != nil {
		b.Fatal(err)
	}
	return done
}

// listed asks the store in force about a host.
func (b *feedBox) listed(host string, c policy.Category) {
	b.Helper()
	store, done, err := supply.OpenStore(b.Context(), b.cfg, "")
	if err != nil {
		b.Fatal(err)
	}
	defer done()
	h, err := policy.ParseHost(host)
	if err != nil {
		b.Fatal(err)
	}
	if f := store.Classify(h, ""); !f.Categories.Has(c) && f.Mandatory != c {
		b.Errorf("%s is not listed as %s: %v", host, c, f)
	}
}

func (b *feedBox) publish(bets, floor string) {
	b.server.Set("bets", bets)
	b.server.Set("floor", floor)
}

// numbered is a list of so many hosts of a kind.
func numbered(kind string, n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "%s-%d.example\n", kind, i)
	}
	return s.String()
}
