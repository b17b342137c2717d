package supply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"schoolgate/audit"
	"schoolgate/blocklists"
	"schoolgate/configs"
	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

const supplyPolicy = `profiles:
  ks2:
    band: ks2
    block: [pornography, gambling, gaming, malware]
    uncategorised: allow
    approved: [lessons]
lists:
  lessons: {sites: [maths.example]}
exceptions:
  - allow: office.school.example
    for: everyone
    until: UNTIL
    by: IT support
    reason: the school's own service
`

// box is a school with a server of feeds.
type supplyBox struct {
	*testing.T
	cfg    *configs.Config
	server *testkit.FeedServer
}

func newSupplyBox(t *testing.T, feeds string) *supplyBox {
	t.Helper()
	b := &supplyBox{T: t, server: testkit.Feeds(t)}
	dir := t.TempDir()
	b.write(filepath.Join(dir, "schoolgate.yaml"), "policy: policy.yaml\ndata: var\nlists: {feeds: feeds.yaml}\n")
	until := time.Now().AddDate(0, 6, 0).Format(time.DateOnly)
	b.write(filepath.Join(dir, "policy.yaml"), strings.ReplaceAll(supplyPolicy, "UNTIL", until))
	b.write(filepath.Join(dir, "feeds.yaml"), strings.ReplaceAll(feeds, "SERVER", b.server.URL))
	cfg, problems := configs.Load(filepath.Join(dir, "schoolgate.yaml"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	b.cfg = cfg
	return b
}

func (b *supplyBox) write(path, text string) {
	b.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

func (b *supplyBox) open() *Supply {
	b.Helper()
	s, err := Open(b.cfg, Options{})
	if err != nil {
		b.Fatal(err)
	}
	s.fetcher = blocklists.NewFetcher(blocklists.FetchOptions{
		Roots: b.server.Roots, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	b.Cleanup(s.Close)
	return s
}

func (b *supplyBox) fetch(r FetchRequest) ([]blocklists.Outcome, Settled) {
	b.Helper()
	out, done, err := b.open().Fetch(b.Context(), r)
	if err != nil {
		b.Fatal(err)
	}
	return out, done
}

// facts is what the store in force says of a host.
func (b *supplyBox) facts(host string) policy.Facts {
	b.Helper()
	store, done, err := OpenStore(b.Context(), b.cfg, "")
	if err != nil {
		b.Fatal(err)
	}
	defer done()
	h, err := policy.ParseHost(host)
	if err != nil {
		b.Fatal(err)
	}
	return store.Classify(h, "")
}

func (b *supplyBox) listed(host string, c policy.Category) {
	b.Helper()
	if f := b.facts(host); !f.Categories.Has(c) && f.Mandatory != c {
		b.Errorf("%s is not listed as %s: %v", host, c, f)
	}
}

func (b *supplyBox) unlisted(host string) {
	b.Helper()
	if f := b.facts(host); !f.Categories.Empty() || f.Mandatory != policy.Uncategorised {
		b.Errorf("%s is listed: %v", host, f)
	}
}

const twoFeeds = `feeds:
  - {name: bets, url: SERVER/bets, format: domains, category: gambling, kind: public, weight: 1, licence: test}
  - {name: floor, url: SERVER/floor, format: urls, category: child_abuse, kind: mandatory, licence: test}
`

func (b *supplyBox) publish(bets, floor string) {
	b.server.Set("bets", bets)
	b.server.Set("floor", floor)
}

func names(kind string, n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "%s-%d.example\n", kind, i)
	}
	return s.String()
}

func TestFetchedListsComeIntoForce(t *testing.T) {
	b := newSupplyBox(t, twoFeeds)
	b.publish(names("bet", 20), names("bad", 20))
	out, done := b.fetch(FetchRequest{})
	if len(out) != 2 || done.Version == 0 || done.Held != nil {
		t.Fatalf("Fetch = %+v, %s", out, done.Said)
	}
	b.listed("bet-3.example", policy.Gambling)
	b.listed("bad-3.example", policy.ChildAbuse)
	if _, again := b.fetch(FetchRequest{}); again.Version != 0 || again.Said != "nothing is new" {
		t.Errorf("fetched again: %+v", again)
	}
	b.publish(names("bet", 22), names("bad", 22)) // I2: what is added closes
	b.fetch(FetchRequest{})
	b.listed("bet-21.example", policy.Gambling)
	b.listed("bad-21.example", policy.ChildAbuse)
	b.publish(names("bet", 20), names("bad", 20)) // and what is removed opens
	b.fetch(FetchRequest{})
	b.unlisted("bad-21.example")
}

// A feed that fails does not keep another from coming into force.
func TestAFailedFeedUsesItsLastGoodCopy(t *testing.T) {
	b := newSupplyBox(t, twoFeeds)
	b.publish(names("bet", 20), names("bad", 20))
	b.fetch(FetchRequest{})
	b.publish("<!DOCTYPE html><p>sorry", names("bad", 25))
	out, done := b.fetch(FetchRequest{})
	if out[0].Err != nil || out[1].Err == nil || done.Version == 0 { // mandatory feeds go first
		t.Errorf("Fetch = %+v, %s", out, done.Said)
	}
	b.listed("bet-3.example", policy.Gambling)
	b.listed("bad-24.example", policy.ChildAbuse)
}

// A feed without a copy is left out at first, and a mandatory one that was in
// force is never built without.
func TestALostMandatoryCopyIsNotBuiltWithout(t *testing.T) {
	b := newSupplyBox(t, twoFeeds)
	b.server.Set("floor", names("bad", 20))
	if _, done := b.fetch(FetchRequest{}); done.Version == 0 || len(done.Missing) != 1 {
		t.Fatalf("with one feed of two: %+v", done)
	}
	if err := os.RemoveAll(filepath.Join(feedsFolder(b.cfg), "floor")); err != nil {
		t.Fatal(err)
	}
	b.publish(names("bet", 20), "<!DOCTYPE html><p>sorry")
	if _, _, err := b.open().Fetch(t.Context(), FetchRequest{}); err == nil || !strings.Contains(err.Error(), "floor") {
		t.Errorf("Fetch = %v, want a refusal to build without the mandatory feed", err)
	}
	b.listed("bad-3.example", policy.ChildAbuse)
}

// F14: a version that lists what must stay open waits for a person, and what
// mandatory lists say does not wait.
func TestAVersionThatWouldBlockWhatMustStayOpenIsHeldBack(t *testing.T) {
	for _, host := range []string{"childline.org.uk", "office.school.example"} {
		t.Run(host, func(t *testing.T) {
			b := newSupplyBox(t, twoFeeds)
			b.publish(names("bet", 20), names("bad", 20))
			b.fetch(FetchRequest{})
			b.publish(names("bet", 20)+host+"\n", names("bad", 21))
			_, done := b.fetch(FetchRequest{})
			if done.Held == nil || !strings.Contains(done.Held.String(), host) {
				t.Fatalf("not held back: %+v", done)
			}
			b.unlisted(host)
			b.listed("bad-20.example", policy.ChildAbuse)
			b.publish(names("bet", 20)+host+"\n", names("bad", 22))
			_, again := b.fetch(FetchRequest{})
			if again.Held == nil || again.Held.Version != done.Held.Version {
				t.Fatalf("the same public content is judged again: %+v", again)
			}
			b.listed("bad-21.example", policy.ChildAbuse)
			b.release(done.Held.Version)
			b.listed(host, policy.Gambling)
			b.listed("bad-21.example", policy.ChildAbuse)
			if _, done := b.fetch(FetchRequest{}); done.Held != nil || done.Said != "nothing is new" {
				t.Errorf("after the release: %+v", done)
			}
		})
	}
}

func (b *supplyBox) release(version uint64) {
	b.Helper()
	s := b.open()
	for _, r := range []Release{
		{Version: version, By: "Ann Head"},
		{Version: version, Reason: "looked at"},
		{Version: version + 1, By: "Ann Head", Reason: "looked at"},
	} {
		if _, err := s.Release(b.Context(), r); err == nil {
			b.Errorf("released by %+v", r)
		}
	}
	if _, err := s.Release(b.Context(), Release{Version: version, By: "Ann Head", Reason: "looked at it"}); err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(b.cfg.Box.Lists.Store, releasesName))
	if err != nil {
		b.Fatal(err)
	}
	var r Release
	if err := json.Unmarshal(text, &r); err != nil || r.By != "Ann Head" || r.Reason != "looked at it" || len(r.Held) == 0 {
		b.Errorf("on record: %s (%v)", text, err)
	}
}

// An approved site counts once there are real lists to compare with, and what
// a network check is rightly called never does.
func TestTheGateKnowsWhatIsNew(t *testing.T) {
	b := newSupplyBox(t, twoFeeds)
	b.publish("maths.example\nctest.cdn.nintendo.net\n", names("bad", 20))
	if _, done := b.fetch(FetchRequest{}); done.Held != nil {
		t.Fatalf("the first lists of a box: %s", done.Held)
	}
	b.publish("ctest.cdn.nintendo.net\n", names("bad", 20))
	b.fetch(FetchRequest{})
	b.publish("ctest.cdn.nintendo.net\nmaths.example\n", names("bad", 20))
	if _, done := b.fetch(FetchRequest{}); done.Held == nil || !strings.Contains(done.Held.String(), "maths.example as gambling") {
		t.Errorf("an approved site, newly listed: %+v", done)
	}
}

// What a mandatory list says is never a reason to hold anything back.
func TestAMandatoryListIsNeverHeldBack(t *testing.T) {
	b := newSupplyBox(t, twoFeeds)
	b.publish(names("bet", 20), names("bad", 20))
	b.fetch(FetchRequest{})
	b.browse(names("used", 10), time.Now().Add(-time.Hour))
	b.publish(names("bet", 20), names("bad", 20)+"office.school.example\n"+names("used", 10))
	if _, done := b.fetch(FetchRequest{}); done.Held != nil || done.Version == 0 {
		t.Errorf("Fetch = %+v", done.Held)
	}
	b.listed("office.school.example", policy.ChildAbuse)
	b.listed("used-3.example", policy.ChildAbuse)
}

// A version that is right again ends the hold by itself.
func TestAHoldEndsWhenTheListIsMended(t *testing.T) {
	b := newSupplyBox(t, twoFeeds)
	b.publish(names("bet", 20), names("bad", 20))
	b.fetch(FetchRequest{})
	b.publish(names("bet", 20)+"childline.org.uk\n", names("bad", 20))
	b.fetch(FetchRequest{})
	b.publish(names("bet", 23), names("bad", 20))
	if _, done := b.fetch(FetchRequest{}); done.Held != nil || done.Version == 0 {
		t.Errorf("Fetch = %+v", done)
	}
	if held, err := b.open().held(); held != nil || err != nil {
		t.Errorf("still held: %+v, %v", held, err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.cfg.Box.Lists.Store, heldFolder, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// F14: so does one that would block more than a share of what was used.
func TestAVersionThatWouldBlockMuchOfLastWeekIsHeldBack(t *testing.T) {
	b := newSupplyBox(t, twoFeeds)
	b.publish(names("bet", 20), names("bad", 20))
	b.fetch(FetchRequest{})
	b.browse(names("used", 100), time.Now().Add(-48*time.Hour))
	b.browse(names("longago", 100), time.Now().Add(-20*24*time.Hour))
	for _, c := range []struct {
		name, bets string
		held       bool
	}{
		{"two sites of a hundred", names("bet", 20) + names("used", 2), false},
		{"five sites used a month ago", names("bet", 20) + names("used", 2) + names("longago", 3), false},
		{"nine sites of a hundred", names("bet", 20) + names("used", 9), true},
	} {
		b.publish(c.bets, names("bad", 20))
		_, done := b.fetch(FetchRequest{Accept: true})
		if (done.Held != nil) != c.held {
			t.Errorf("%s: %+v", c.name, done)
		}
		if done.Held != nil && strings.Contains(done.Held.String(), "used-") {
			t.Errorf("what was browsed is shown to the operator: %s", done.Held)
		}
	}
	b.listed("used-1.example", policy.Gambling)
	b.unlisted("used-7.example")
}

func (b *supplyBox) browse(hosts string, at time.Time) {
	b.Helper()
	j, err := audit.Open(audit.In(b.cfg.Box.Data).Path, audit.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for host := range strings.Lines(hosts) {
		ev := policy.Event{Time: at, Door: policy.DoorDNS, Client: "10.0.0.1", Profile: "ks2", Pupil: true, Host: strings.TrimSpace(host), Verdict: policy.Allow}
		if err := j.Record(&ev); err != nil {
			b.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}

// A version that a person went back from is not brought back by itself.
func TestARollbackStaysUntilThereIsNewContent(t *testing.T) {
	b := newSupplyBox(t, twoFeeds)
	b.publish(names("bet", 20), names("bad", 20))
	_, first := b.fetch(FetchRequest{})
	b.publish(names("bet", 22), names("bad", 20))
	b.fetch(FetchRequest{})
	if _, err := Rollback(t.Context(), b.cfg, first.Version); err != nil {
		t.Fatal(err)
	}
	if _, done := b.fetch(FetchRequest{}); done.Version != 0 || !strings.Contains(done.Said, "went back") {
		t.Fatalf("after going back: %+v", done)
	}
	b.unlisted("bet-21.example")
	b.publish(names("bet", 22), names("bad", 21))
	b.fetch(FetchRequest{})
	b.listed("bad-20.example", policy.ChildAbuse)
	b.unlisted("bet-21.example")
	b.publish(names("bet", 23), names("bad", 21))
	b.fetch(FetchRequest{})
	b.listed("bet-22.example", policy.Gambling)
}

// A box that is set up gets the starter lists of a new program: they put right what
// public lists say, and no feed needs to change for it.
func TestAnUpgradeBringsItsStarterLists(t *testing.T) {
	b := newSupplyBox(t, twoFeeds+"  - builtin: starter\n")
	b.publish(names("bet", 20), names("bad", 20))
	_, first := b.fetch(FetchRequest{})
	if _, done := b.fetch(FetchRequest{}); done.Version != 0 || done.Said != "nothing is new" {
		t.Fatalf("without an upgrade: %+v", done)
	}
	b.upgrade("of the next program")
	_, second := b.fetch(FetchRequest{})
	if second.Version <= first.Version || second.Held != nil {
		t.Fatalf("after an upgrade: %+v", second)
	}

	// What a person went back from stays away.
	b.upgrade("")
	b.publish(names("bet", 22), names("bad", 20))
	b.fetch(FetchRequest{})
	b.listed("bet-21.example", policy.Gambling)
	if _, err := Rollback(t.Context(), b.cfg, second.Version); err != nil {
		t.Fatal(err)
	}
	b.upgrade("of the one after")
	if _, done := b.fetch(FetchRequest{}); done.Version <= second.Version {
		t.Errorf("after going back and an upgrade: %+v", done)
	}
	b.unlisted("bet-21.example")
	b.upgrade("")
	if _, done := b.fetch(FetchRequest{}); done.Version != 0 || !strings.Contains(done.Said, "went back") {
		t.Errorf("after it: %+v", done)
	}
}

// A held version of the old starter lists is judged anew with the new ones, once.
func TestAnUpgradeJudgesAHeldVersionAnew(t *testing.T) {
	b := newSupplyBox(t, twoFeeds+"  - builtin: starter\n")
	b.publish(names("bet", 20), names("bad", 20))
	b.fetch(FetchRequest{})
	b.publish(names("bet", 20)+"office.school.example\n", names("bad", 20))
	_, held := b.fetch(FetchRequest{})
	if held.Held == nil {
		t.Fatalf("the school's own service: %s", held.Said)
	}
	b.upgrade("of the next program")
	_, anew := b.fetch(FetchRequest{})
	if anew.Held == nil || anew.Held.Version <= held.Held.Version {
		t.Fatalf("after an upgrade: %+v", anew.Held)
	}
	if _, again := b.fetch(FetchRequest{}); again.Held == nil || again.Held.Version != anew.Held.Version {
		t.Errorf("judged again and again: %+v", again.Held)
	}
}

// upgrade has the program say that its starter lists are others than those stores
// were built of; "" has it say the truth again.
func (b *supplyBox) upgrade(content string) {
	before := starterContent
	b.Cleanup(func() { starterContent = before })
	starterContent = func() string { return content }
	if content == "" {
		starterContent = func() string { return blocklists.Starter()[0].Content() }
	}
}

// A box whose lists all lie on the disk, with no feed to fetch, gets them too.
func TestAnUpgradeOfABoxThatFetchesNothing(t *testing.T) {
	b := newSupplyBox(t, "feeds:\n  - {name: own, path: own.txt, format: domains, category: gambling, kind: curated, licence: ours}\n  - builtin: starter\n")
	b.write(filepath.Join(filepath.Dir(b.cfg.Box.File), "own.txt"), names("bet", 20))
	s := b.open()
	first, err := s.Build(t.Context(), nil, nil)
	if err != nil || first.Version == 0 {
		t.Fatalf("Build = %+v, %v", first, err)
	}
	if s.upgraded(first.Version) {
		t.Error("without an upgrade it is to be built again")
	}
	b.upgrade("of the next program")
	if !s.upgraded(first.Version) {
		t.Error("after an upgrade it is not to be built again")
	}
	if done, err := s.settle(t.Context(), nil); err != nil || done.Version <= first.Version {
		t.Errorf("settle = %+v, %v", done, err)
	}
	b.listed("bet-3.example", policy.Gambling)
}

func TestAListFromAStick(t *testing.T) {
	b := newSupplyBox(t, twoFeeds)
	stick := t.TempDir()
	b.write(filepath.Join(stick, "bets.txt"), names("bet", 20))
	b.write(filepath.Join(stick, "floor"), names("bad", 20))
	b.write(filepath.Join(stick, "holiday.jpg"), "\xff\xd8")
	out, done, err := b.open().Import(t.Context(), ImportRequest{Path: stick})
	if err != nil || len(out) != 2 || done.Version == 0 {
		t.Fatalf("Import = %+v, %+v, %v", out, done, err)
	}
	b.listed("bet-3.example", policy.Gambling)
	b.write(filepath.Join(stick, "update"), names("bet", 21))
	if _, _, err := b.open().Import(t.Context(), ImportRequest{Path: filepath.Join(stick, "update")}); err == nil {
		t.Error("a file that is named after nothing was taken")
	}
	if _, _, err := b.open().Import(t.Context(), ImportRequest{Path: filepath.Join(stick, "update"), Feed: "bets"}); err != nil {
		t.Error(err)
	}
	b.listed("bet-20.example", policy.Gambling)
}

// I2: amber after a day, red after two, and red is not ready unless the list is
// an invented one.
func TestTheAgeOfFeedsIsSeen(t *testing.T) {
	b := newSupplyBox(t, twoFeeds)
	b.publish(names("bet", 20), names("bad", 20))
	b.fetch(FetchRequest{})
	for _, c := range []struct {
		after       time.Duration
		floor, bets blocklists.Freshness
		ready       bool
	}{
		{time.Hour, blocklists.Green, blocklists.Green, true},
		{25 * time.Hour, blocklists.Amber, blocklists.Green, true},
		{49 * time.Hour, blocklists.Red, blocklists.Green, false},
		{8 * 24 * time.Hour, blocklists.Red, blocklists.Amber, false},
		{31 * 24 * time.Hour, blocklists.Red, blocklists.Red, false},
	} {
		status, err := StatusOf(b.cfg, time.Now().Add(c.after))
		if err != nil {
			t.Fatal(err)
		}
		if status.Feeds[0].State != c.bets || status.Feeds[1].State != c.floor || (status.Err() == nil) != c.ready {
			t.Errorf("after %s: %+v, %+v", c.after, status.Feeds, status.Err())
		}
	}
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(NewMetrics(func() *configs.Config { return b.cfg })); err != nil {
		t.Fatal(err)
	}
	const want = `
# HELP schoolgate_lists_feed_entries Entries of the copy of a fetched feed.
# TYPE schoolgate_lists_feed_entries gauge
schoolgate_lists_feed_entries{feed="bets"} 20
schoolgate_lists_feed_entries{feed="floor"} 20
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "schoolgate_lists_feed_entries"); err != nil {
		t.Error(err)
	}
}

// kill -9 anywhere in build, gate, publication and hold leaves a store in force
// that is one of the two, and the next fetch ends what was begun.
func TestAKilledBuildLeavesAWorkingStore(t *testing.T) {
	if at := os.Getenv("KILL_AT"); at != "" {
		killedFetch(t, at)
		return
	}
	for _, held := range []bool{false, true} {
		t.Run(fmt.Sprintf("held=%v", held), func(t *testing.T) {
			for n, alive := 0, false; !alive; n++ {
				alive = killOnce(t, n, held)
				if alive && n < 6 {
					t.Errorf("there are only %d steps", n)
				}
			}
		})
	}
}

func killOnce(t *testing.T, n int, held bool) (alive bool) {
	b := newSupplyBox(t, twoFeeds)
	b.publish(names("bet", 20), names("bad", 20))
	b.fetch(FetchRequest{})
	next := names("bet", 22)
	if held {
		next += "childline.org.uk\n"
	}
	stick := t.TempDir()
	b.write(filepath.Join(stick, "bets"), next)
	b.write(filepath.Join(stick, "floor"), names("bad", 21))
	b.publish(next, names("bad", 21))
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAKilledBuildLeavesAWorkingStore$")
	cmd.Env = append(os.Environ(), "KILL_AT="+strconv.Itoa(n), "KILL_BOX="+b.cfg.Box.File, "KILL_STICK="+stick)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if s, ok := exit.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
			t.Fatalf("the process ended with %v: %s", err, text)
		}
	} else if err != nil {
		t.Fatal(err)
	}
	b.listed("bet-3.example", policy.Gambling)
	b.listed("bad-3.example", policy.ChildAbuse)
	_, done := b.fetch(FetchRequest{})
	if (done.Held != nil) != held {
		t.Errorf("killed at step %d, then: %+v", n, done)
	}
	b.listed("bad-20.example", policy.ChildAbuse)
	if held {
		b.unlisted("bet-21.example")
	} else {
		b.listed("bet-21.example", policy.Gambling)
	}
	return exit == nil
}

func killedFetch(t *testing.T, at string) {
	n, err := strconv.Atoi(at)
	if err != nil {
		t.Fatal(err)
	}
	cfg, problems := configs.Load(os.Getenv("KILL_BOX"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s, err := Open(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.takeUp = func(context.Context) (string, error) { return "", nil }
	steps := 0
	s.step = func(string) {
		if steps++; steps == n+1 {
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, _, err := s.Import(t.Context(), ImportRequest{Path: os.Getenv("KILL_STICK")}); err != nil {
		t.Fatal(err)
	}
}
