package appliance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"schoolgate/blocklists"
	"schoolgate/containment"
	"schoolgate/policy"
	"schoolgate/supply"
)

// restless is a running box to which everything is done that the API and the
// commands can do, while it is asked for what a mandatory list holds.
type restless struct {
	*feedBox
	*rand.Rand
	a     *Appliance
	hosts []string // on the mandatory list all the time
	bets  int
}

const restlessFeeds = `feeds:
  - {name: bets, url: SERVER/bets, format: domains, category: gambling, kind: public, weight: 1, licence: test}
  - {name: floor, url: SERVER/floor, format: urls, category: child_abuse, kind: mandatory, licence: test}
  - {name: police, url: SERVER/police, format: urls, category: terrorism, kind: mandatory, licence: test}
`

// mandatory are the entries that stay on the list whatever is done.
func (r *restless) mandatory(extra int) string {
	var s strings.Builder
	for _, h := range r.hosts {
		s.WriteString(h + "\n")
	}
	s.WriteString("pages.example/held/page\n198.51.100.7/held\n")
	return s.String() + numbered("more", extra)
}

// careless is a policy that tries to open all of it, in every way there is.
func (r *restless) careless() string {
	open := func() string { return r.hosts[r.IntN(len(r.hosts))] }
	until := time.Now().AddDate(0, 5, 0).Format(time.DateOnly)
	var s strings.Builder
	fmt.Fprintf(&s, `profiles:
  ks2: {band: ks2, block: [], uncategorised: allow, approved: [open]}
  eyfs: {band: eyfs, block: [], approved_only: %s, uncategorised: allow, approved: [open]}
  staff: {band: staff, block: [], uncategorised: %s, approved: [open]}
groups:
  year5: {profile: ks2, addresses: [127.0.0.0/26]}
  nursery: {profile: eyfs, addresses: [127.0.0.64/26]}
  office: {profile: staff, addresses: [127.0.0.128/26]}
lists:
  open: {sites: [%s, %s, pages.example]}
exceptions:
  - {allow: [%s, pages.example/held/page], for: everyone, until: %s, by: a test, reason: a test}
passes:
  - {site: %s, for: {group: year5}, until: %s, by: a test, reason: a test}
`, []string{"yes", "no"}[r.IntN(2)], []string{"allow", "warn"}[r.IntN(2)], open(), open(), open(), until, open(), until)
	return s.String()
}

// act does one thing to the box. What is refused is as good as what is done.
func (r *restless) act(ctx context.Context) (what string, err error) {
	round := func() error { _, err := r.a.supplyRound(ctx); return err }
	switch r.IntN(9) {
	case 0:
		r.bets += 1 + r.IntN(3)
		r.server.Set("bets", numbered("bet", r.bets))
		return "new public content", r.expire(round)
	case 1:
		r.server.Set("floor", r.mandatory(r.IntN(40)))
		return "new mandatory content", r.expire(round)
	case 2:
		r.server.Set("floor", "<!DOCTYPE html>sorry")
		err := r.expire(round)
		r.server.Set("floor", r.mandatory(3))
		return "a broken mandatory feed", err
	case 3:
		r.write(filepath.Join(filepath.Dir(r.cfg.Box.File), "policy.yaml"), r.careless())
		_, err := r.a.Reload()
		return "another policy", err
	case 4:
		versions, err := r.a.dir.Versions()
		if err != nil || len(versions) == 0 {
			return "no version to go back to", err
		}
		_, err = supply.Rollback(ctx, r.cfg, versions[r.IntN(len(versions))])
		return "going back", err
	case 5:
		r.server.Set("bets", numbered("bet", r.bets)+"childline.org.uk\n")
		err := r.expire(round)
		if status, serr := supply.StatusOf(r.cfg, time.Now()); serr == nil && status.Held != nil {
			_, err = r.live().Release(ctx, supply.Release{Version: status.Held.Version, By: "A Head", Reason: "a test"})
		}
		return "a release", err
	case 6:
		file := filepath.Join(filepath.Dir(r.cfg.Box.File), "feeds.yaml")
		whole, rerr := os.ReadFile(file)
		if rerr != nil {
			return "", rerr
		}
		first, _, _ := strings.Cut(string(whole), "  - {name: floor")
		r.write(file, first)
		done, err := r.live().Build(ctx, nil, nil)
		r.write(file, string(whole))
		if err == nil && done.Version != 0 {
			r.Errorf("a store without the mandatory lists is in force: %s", done.Said)
		}
		return "a feed file without them", err
	case 7:
		host := r.hosts[r.IntN(len(r.hosts))]
		_, err := r.a.contained.Do(containment.Order{Act: containment.ActUnblock, Target: host, By: "A Head", Second: "B Governor", Reason: "a test"}, r.cfg, r.a.table.Load())
		return "an unblock", err
	}
	version, err := r.a.dir.Current()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(r.a.dir.Path(version))
	if err != nil {
		return "", err
	}
	text[len(text)/2] ^= 0xff
	r.write(r.a.dir.Path(version)+".spoilt", string(text)) // never in place: the mapped file is not ours to write
	if err := os.Rename(r.a.dir.Path(version)+".spoilt", r.a.dir.Path(version)); err != nil {
		return "", err
	}
	return "a spoilt store", round()
}

// live is the supply of the running box.
func (r *restless) live() *supply.Supply {
	return r.supply(func(context.Context) (string, error) { return "taken up", r.a.takeUpStore() })
}

// expire makes every feed due and does a round.
func (r *restless) expire(round func() error) error {
	feeds, problems := blocklists.LoadFeeds(r.cfg.Box.Lists.Feeds)
	if err := blocklists.Joined(problems); err != nil {
		return err
	}
	cache, err := blocklists.OpenCache(filepath.Join(r.cfg.Box.Data, "feeds"))
	if err != nil {
		return err
	}
	for _, f := range feeds.Enabled() {
		state, _ := cache.State(&f)
		state.Tried, state.Failures = time.Time{}, 0
		if err := cache.SetState(&f, state); err != nil {
			return err
		}
	}
	return round()
}

// requests are the ways to ask for what is on the list, for one client.
func (r *restless) requests(rng *rand.Rand) policy.Request {
	written := []string{
		"http://%s/", "https://www.%s/a/b?c=d", "HTTP:\\\\%s.:8080\\", "http://x@%s/./%%61", "//%s//..//x",
	}[rng.IntN(5)]
	target := r.hosts[rng.IntN(len(r.hosts))]
	switch rng.IntN(4) {
	case 0:
		written, target = "http://%s/held/x/../page/below?utm=1", "pages.example"
	case 1:
		written, target = "http://%s/HELD/../held/", []string{"198.51.100.7", "0xC6336407", "3325256711", "[::ffff:198.51.100.7]"}[rng.IntN(4)]
	}
	u, err := policy.ParseURL(fmt.Sprintf(written, target))
	if err != nil {
		panic(fmt.Sprintf(written, target) + ": " + err.Error())
	}
	doors := []policy.Door{policy.DoorDNS, policy.DoorHTTP, policy.DoorCONNECT, policy.DoorTLS, policy.DoorInspect, policy.DoorCheck}
	q := policy.Request{Door: doors[rng.IntN(len(doors))], Host: u.Host, Path: u.Path, Time: time.Now().Add(time.Duration(rng.IntN(5000)) * time.Hour)}
	q.Client = netip.AddrFrom4([4]byte{127, 0, 0, byte(rng.IntN(256))})
	whole := target != "pages.example" && !strings.Contains(written, "HELD")
	if whole && rng.IntN(2) == 0 {
		q.Path = "" // as the doors that see no page ask
	}
	return q
}

// A mandatory host or page is never allowed by any door, for any client, whatever
// is done to the box meanwhile: reloads of policies that try to open it, new lists,
// broken lists, going back, releases, a feed file without the list, an unblock, a
// spoilt store (issue 5, item 5; R1, I5).
func TestMandatoryIsNeverAllowedWhateverIsDone(t *testing.T) {
	rounds := 25
	if testing.Short() || underRace {
		rounds = 10
	}
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { r := newRestless(t, seed); r.run(rounds) })
	}
}

func newRestless(t *testing.T, seed uint64) *restless {
	r := &restless{feedBox: newFeedBox(t, restlessFeeds), Rand: rand.New(rand.NewPCG(seed, 9)), bets: 200}
	for i := range 12 {
		r.hosts = append(r.hosts, fmt.Sprintf("held-%d.%s", i, []string{"example", "test", "invalid"}[i%3]))
	}
	load := r.listens()
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	r.cfg = cfg
	r.server.Set("bets", numbered("bet", r.bets))
	r.server.Set("floor", r.mandatory(3))
	r.server.Set("police", numbered("terror", 20))
	r.fetch()
	if r.a, err = New(t.Context(), Options{Config: cfg, Load: load}); err != nil {
		t.Fatal(err)
	}
	r.a.supply.roots = r.server.Roots
	r.a.supply.schedule = blocklists.NewSchedule(time.Now().Add(-time.Hour))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *restless) run(rounds int) {
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	var asked atomic.Int64
	ended := make(chan struct{})
	go func() { // asks while things change
		defer close(ended)
		rng := rand.New(rand.NewPCG(1, 2))
		for ctx.Err() == nil {
			r.refused(rng, "meanwhile")
			asked.Add(1)
		}
	}()
	done := map[string]int{}
	for range rounds {
		what, err := r.act(ctx)
		done[what]++
		if err != nil {
			done[what+", refused"]++
		}
		for range 200 {
			r.refused(r.Rand, what)
		}
		r.checked(what)
		if r.Failed() {
			return
		}
	}
	stop()
	<-ended
	r.Logf("%v; asked %d times meanwhile", done, asked.Load())
}

// refused asks the box as the doors do.
func (r *restless) refused(rng *rand.Rand, after string) {
	q := r.requests(rng)
	if got := r.a.engine.Decide(q); got.Verdict != policy.Block {
		r.Errorf("after %s: %s %s%s for %s = %s by %s (store %d)", after, q.Door, q.Host, q.Path, q.Client, got.Verdict, got.Reason, got.StoreVersion)
	}
}

// checked asks as schoolgate check does: from the files, without the running box.
func (r *restless) checked(after string) {
	r.Helper()
	s, done, err := OpenSnapshot(r.Context(), r.cfg, "")
	if err != nil {
		return // no version can be read: check says so and allows nothing
	}
	defer done()
	for _, p := range s.Policy.Profiles() {
		q := r.requests(r.Rand)
		if got, _, _ := s.DecideFor(p.Name, q); got.Verdict != policy.Block {
			r.Errorf("after %s: check --as %s %s%s = %s by %s", after, p.Name, q.Host, q.Path, got.Verdict, got.Reason)
		}
	}
}
