package main

import (
	"bufio"
	"io/fs"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"schoolgate/configs"
	"schoolgate/internal/testkit"
)

// engines are the rows of REQUIREMENTS 4.1 and 4.2: which hosts lead where.
var engines = []struct {
	hosts  []string
	strict string
	// moderate is another host for YouTube alone.
	moderate string
}{
	{[]string{"www.bing.com", "bing.com", "edgeservices.bing.com"}, "strict.bing.com", ""},
	{[]string{"duckduckgo.com", "www.duckduckgo.com", "start.duckduckgo.com", "duck.com", "www.duck.com"}, "safe.duckduckgo.com", ""},
	{[]string{"search.brave.com"}, "forcesafe.search.brave.com", ""},
	{[]string{"www.ecosia.org"}, "strict-safe-search.ecosia.org", ""},
	{[]string{"pixabay.com"}, "safesearch.pixabay.com", ""},
	{[]string{"www.youtube.com", "m.youtube.com", "youtubei.googleapis.com", "youtube.googleapis.com", "www.youtube-nocookie.com"}, "restrict.youtube.com", "restrictmoderate.youtube.com"},
}

// yandexHosts have a safe address, and pupils do not get them all the same.
var yandexHosts = []string{
	"yandex.com", "www.yandex.com", "yandex.ru", "yandex.com.tr", "yandex.kz", "yandex.by", "yandex.uz", "yandex.ua", "yandex.eu", "www.yandex.fr", "ya.ru", "www.ya.ru",
}

// unsafeEngines cannot be held to anything by a name: pupils do not get them.
var unsafeEngines = append(slices.Clone(yandexHosts),
	"search.yahoo.com", "uk.search.yahoo.com", "www.yahoo.com", "search.aol.com", "www.startpage.com", "www.qwant.com", "www.baidu.com", "searx.be", "searx.space",
)

// untouched must be answered as they are, or sign-in, lessons and video break.
var untouched = []string{"accounts.google.com", "classroom.google.com", "drive.google.com", "r1.googlevideo.com", "i.ytimg.com", "yt3.ggpht.com", "redirector.gvt1.com"}

// Every engine of REQUIREMENTS 4.1 and 4.2 at every address of Google, for A, AAAA
// and HTTPS alike (S14, Y14): the safe host and nothing else, strict and moderate
// never swapped, and no answer at all from an engine that cannot be made safe.
func TestSafeSearchOfEveryEngine(t *testing.T) {
	table := engines
	table = append(table, struct {
		hosts            []string
		strict, moderate string
	}{googleHosts(t), "forcesafesearch.google.com", ""})
	const own, own6 = "203.0.113.66", "2001:db8:66::66" // of every engine itself: it may never show
	targets := map[string][2]string{                    // the safe hosts' addresses
		"forcesafesearch.google.com": {"216.239.38.120", "2001:4860:4802:32::78"}, "restrict.youtube.com": {"216.239.38.120", "2001:4860:4802:32::78"},
		"restrictmoderate.youtube.com": {"216.239.38.119", "2001:4860:4802:32::77"}, "strict.bing.com": {"204.79.197.220", ""},
	}
	var records []string
	for _, e := range table {
		for _, host := range e.hosts {
			records = append(records, host+". 300 IN A "+own, host+". 300 IN AAAA "+own6, host+". 300 IN HTTPS 1 . alpn=h2 ipv4hint="+own)
		}
		if _, ok := targets[e.strict]; !ok {
			targets[e.strict] = [2]string{"203.0.113.7", "2001:db8::7"}
		}
	}
	for host, addrs := range targets {
		records = append(records, host+". 300 IN A "+addrs[0], host+". 300 IN HTTPS 1 . alpn=h2")
		if addrs[1] != "" {
			records = append(records, host+". 300 IN AAAA "+addrs[1])
		}
	}
	for _, host := range append(unsafeEngines, untouched...) {
		records = append(records, host+". 300 IN A "+own, host+". 300 IN AAAA "+own6, host+". 300 IN HTTPS 1 . alpn=h2")
	}
	policy := strings.Replace(testkit.SchoolPolicy, "block: [pornography, extremism, gambling, gaming]", "block: [pornography, extremism, gambling, gaming, unsafe_search]", 1)
	policy = strings.Replace(policy, "    band: staff\n", "    band: staff\n    youtube: moderate\n", 1)
	upstream := testkit.NewUpstream(t, records...)
	b := testkit.NewBox(t, testkit.BoxOptions{Upstream: upstream.Addr, Policy: policy})
	b.Start()
	defer b.Stop()
	ask := func(from, name string, qtype uint16) *dns.Msg {
		r, err := b.Ask(from, "udp", name, qtype)
		if err != nil {
			t.Fatalf("%s %s: %v", name, dns.TypeToString[qtype], err)
		}
		return r
	}
	for _, e := range table {
		for _, host := range e.hosts {
			for from, want := range map[string]string{"127.0.0.1": e.strict, "127.0.0.2": e.moderate} {
				if want == "" {
					want = e.strict
				}
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS} {
					leadsTo(t, ask(from, host, qtype), host, qtype, want, targets[want])
				}
			}
		}
	}
	for _, host := range unsafeEngines {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS} {
			if r := ask("127.0.0.1", host, qtype); strings.Contains(r.String(), own) || strings.Contains(r.String(), own6) || qtype == dns.TypeHTTPS && len(r.Answer) > 0 {
				t.Errorf("%s %s for a pupil: %v", host, dns.TypeToString[qtype], r.Answer)
			}
		}
	}
	for _, host := range yandexHosts { // an adult held to safe search gets the safe address, and nothing beside it
		a, six, https := ask("127.0.0.2", host, dns.TypeA), ask("127.0.0.2", host, dns.TypeAAAA), ask("127.0.0.2", host, dns.TypeHTTPS)
		if len(a.Answer) != 1 || !strings.HasSuffix(a.Answer[0].String(), "\t213.180.193.56") || len(six.Answer)+len(https.Answer) > 0 {
			t.Errorf("%s for an adult = %v, %v, %v, want 213.180.193.56 alone", host, a.Answer, six.Answer, https.Answer)
		}
	}
	for _, host := range untouched {
		if r := ask("127.0.0.1", host, dns.TypeA); len(r.Answer) != 1 || !strings.Contains(r.Answer[0].String(), own) {
			t.Errorf("%s = %v, want its own address", host, r.Answer)
		}
	}
}

// leadsTo wants a CNAME to the safe host and its addresses; of another type than
// an address, the CNAME alone.
func leadsTo(t *testing.T, r *dns.Msg, host string, qtype uint16, want string, addrs [2]string) {
	t.Helper()
	addr := ""
	switch qtype {
	case dns.TypeA:
		addr = addrs[0]
	case dns.TypeAAAA:
		addr = addrs[1]
	}
	ok := r.Rcode == dns.RcodeSuccess && len(r.Answer) >= 1
	if ok {
		alias, is := r.Answer[0].(*dns.CNAME)
		ok = is && strings.EqualFold(alias.Hdr.Name, host+".") && alias.Target == want+"."
	}
	switch {
	case !ok:
	case addr == "":
		ok = len(r.Answer) == 1
	case len(r.Answer) != 2 || r.Answer[1].Header().Name != want+".":
		ok = false
	default:
		switch a := r.Answer[1].(type) {
		case *dns.A:
			ok = a.A.Equal(net.ParseIP(addr))
		case *dns.AAAA:
			ok = a.AAAA.Equal(net.ParseIP(addr))
		}
	}
	if !ok {
		t.Errorf("%s %s = %s %v, want %s and %q", host, dns.TypeToString[qtype], dns.RcodeToString[r.Rcode], r.Answer, want, addr)
	}
}

// googleHosts are Google's search hosts in every country.
func googleHosts(t *testing.T) (hosts []string) {
	t.Helper()
	text, err := fs.ReadFile(configs.Sample(), "google-domains.txt")
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(strings.NewReader(string(text))); lines.Scan(); {
		if domain := strings.TrimSpace(lines.Text()); domain != "" && domain[0] != '#' {
			hosts = append(hosts, "www."+domain)
		}
	}
	if len(hosts) < 190 {
		t.Fatalf("%d domains of Google, want all of them", len(hosts))
	}
	return hosts
}
