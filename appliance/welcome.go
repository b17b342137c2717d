package appliance

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"schoolgate/alerts"
	"schoolgate/configs"
	"schoolgate/supply"
)

// newReloadMetric counts reloads by outcome.
func newReloadMetric(reg prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "schoolgate_appliance_reloads_total", Help: "Reloads by outcome.",
	}, []string{"outcome"})
	reg.MustRegister(c)
	return c
}

// Checks says what must be well for the box to be ready.
func (a *Appliance) Checks() []Check {
	box, store := a.box(), a.store.Load()
	checks := []Check{
		{Name: "policy", Say: a.config.Load().School.File + ", version " + a.engine.Current().Policy.Version},
		{Name: "lists", Say: supply.Summary(store.Info(), time.Now())},
		{Name: "journal", Say: "the audit journal takes records", Err: a.journal.Err()},
		{Name: "dns", Say: "listening on " + strings.Join(texts(box.DNS.Listen), ", ")},
		{Name: "proxy", Say: "listening on " + strings.Join(texts(box.Proxy.Listen), ", ")},
	}
	checks[1].Err = a.damageNow().Err()
	if a.standsIn(store) && checks[1].Err == nil { // the key is lost
		checks[1].Err = errors.New("the box's own category store cannot be read: pupils reach only what the starter lists or an adult know: run schoolgate lists build or lists rollback")
	}
	if !store.Readable() {
		checks[1].Err = fmt.Errorf("the category store can no longer be read; everything it is asked for is refused: run schoolgate reload")
	}
	checks = append(checks, a.diskCheck())
	checks = append(checks, a.memoryCheck()...)
	checks = append(checks, a.dnssecCheck()...)
	checks = append(checks, a.containedCheck())
	checks = append(checks, a.inspectCheck()...)
	checks = append(checks, a.keyPairChecks()...)
	checks = append(checks, a.watchCheck()...)
	checks = append(checks, a.mandatoryCheck(store.Info())...)
	return append(checks, a.supplyCheck(), alertCheck(a.alerts.current.Load().Status()))
}

// lateMail is how long a mail may wait before the operator is told.
const lateMail = time.Hour

// alertCheck says how the telling stands. Mail trouble does not make the box
// unready (fault F13): alerts are late and not lost.
func alertCheck(s alerts.Status) Check {
	say := []string{fmt.Sprintf("%d mails waiting", s.Queued)}
	if s.Oldest > lateMail {
		say = append(say, "the oldest for "+supply.Age(s.Oldest)+": "+string(s.Trouble))
	}
	if s.Unaddressed > 0 {
		say = append(say, fmt.Sprintf("%d alerts that nobody is configured to hear of", s.Unaddressed))
	}
	if s.Dead > 0 {
		say = append(say, fmt.Sprintf("%d mails given up", s.Dead))
	}
	c := Check{Name: "alerts", Say: strings.Join(say, "; ")}
	if !s.Ready() {
		c.Err = s.State
	}
	return c
}

// listen is a door and where it listens.
type listen struct {
	name, say string
	at        []netip.AddrPort
}

// listening is every door of a configuration that listens somewhere.
func listening(box *configs.Box) []listen {
	all := []listen{
		{"DNS", "UDP and TCP", box.DNS.Listen},
		{"DNS", "over TLS", box.DNS.DoTListen},
		{"DNS", "over HTTPS", box.DNS.DoHListen},
		{"proxy", "HTTP and CONNECT", box.Proxy.Listen},
		{"proxy", "the same inside TLS, where people sign in", box.Proxy.TLSListen},
		{"gateway", "what devices send to port 80", box.Proxy.Transparent.HTTP},
		{"gateway", "what devices send to port 443", box.Proxy.Transparent.TLS},
		{"pages", "the block page, for devices that DNS sends here", box.Proxy.PageListen},
	}
	return slices.DeleteFunc(all, func(l listen) bool { return len(l.at) == 0 })
}

// Welcome tells the person at the terminal what listens, which lists are loaded
// and how old they are, and what to try.
func (a *Appliance) Welcome() string {
	cfg := a.config.Load()
	box, info := cfg.Box, a.store.Load().Info()
	var b strings.Builder
	from := box.File
	if from == "" {
		from = "the sample school in the binary (no --config was given)"
	}
	fmt.Fprintf(&b, "Schoolgate is filtering, configured by %s\n", from)
	for _, d := range listening(&box) {
		fmt.Fprintf(&b, "  %-8s %s (%s)\n", d.name, strings.Join(texts(d.at), ", "), d.say)
	}
	if len(box.Metrics.Listen) > 0 {
		fmt.Fprintf(&b, "  health   http://%s/readyz, /healthz, /metrics\n", strings.Join(texts(box.Metrics.Listen), ", "))
	}
	fmt.Fprintf(&b, "  data     %s\n", box.Data)
	fmt.Fprintf(&b, "  lists    %s\n", supply.Summary(info, time.Now()))
	for _, s := range info.Sources {
		fmt.Fprintf(&b, "           %-28s %8d entries, %s old\n", s.Name, s.Entries, supply.Age(time.Since(s.Date)))
	}
	if supply.StarterOnly(info) {
		b.WriteString("           These are STARTER LISTS: a few well-known names of each category, and invented\n" +
			"           mandatory entries. They show how the filter works and protect nobody. Build real\n" +
			"           ones with: schoolgate lists build --feeds FILE\n")
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintf(&b, "  note     %s\n", w.Error())
	}
	if len(box.DNS.Listen) > 0 && len(box.Proxy.Listen) > 0 {
		dns, proxy := box.DNS.Listen[0], box.Proxy.Listen[0]
		fmt.Fprintf(&b, "Try, in another terminal:\n"+
			"  bin/schoolgate check --as ks2 www.roblox.com\n"+
			"  dig @%s -p %d www.roblox.com\n"+
			"  curl -i -x http://%s http://www.roblox.com/\n", dns.Addr(), dns.Port(), proxy)
	}
	return b.String()
}
