package nested

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"schoolgate/policy"
)

// Max is how many addresses inside one address are judged.
const Max = 4

// carrier is a service that fetches the address in a parameter.
type carrier struct {
	site   string
	params []string
}

var carriers = []carrier{
	{"translate.google.com", []string{"u"}},
	{"translate.google.co.uk", []string{"u"}},
	{"webcache.googleusercontent.com", []string{"q"}},
	{"www.google.com", []string{"imgurl", "imgrefurl", "cache"}},
	{"www.google.co.uk", []string{"imgurl", "imgrefurl", "cache"}},
	{"images.google.com", []string{"imgurl", "imgrefurl"}},
	{"docs.google.com", []string{"url"}},
	{"cc.bingj.com", []string{"u", "url"}},
	{"www.translatetheweb.com", []string{"a"}},
	{"www.microsofttranslator.com", []string{"a"}},
	{"translate.yandex.com", []string{"url"}},
	{"papago.naver.net", []string{"url"}},
	{"view.officeapps.live.com", []string{"src"}},
	{"web.archive.org", []string{"url"}},
	{"archive.today", []string{"url"}},
	{"archive.ph", []string{"url"}},
	{"archive.is", []string{"url"}},
	{"external-content.duckduckgo.com", []string{"u"}},
	{"proxy.duckduckgo.com", []string{"u"}},
	{"images.weserv.nl", []string{"url"}},
	{"wsrv.nl", []string{"url"}},
	{"textise.net", []string{"strurl"}},
}

// mirrors are domains under which other hosts are written as one label, with
// "-" for "." and "--" for "-".
var mirrors = []string{".translate.goog", ".cdn.ampproject.org", ".turbopages.org"}

// Addresses lists the addresses inside an address: in a label of its host, in its
// path, and in the parameters of services that fetch them. With anywhere, every
// parameter counts: of a site nobody knows, nobody knows what it does with them.
func Addresses(h policy.Host, path string, anywhere bool) []policy.URL {
	var list []policy.URL
	add := func(raw string) {
		if u, ok := address(raw); ok && u.Host != h && len(list) < Max && !slices.Contains(list, u) {
			list = append(list, u)
		}
	}
	for _, suffix := range mirrors {
		if label, ok := strings.CutSuffix(h.String(), suffix); ok {
			add("https://" + mirrored(label) + path)
		}
	}
	way, query, _ := strings.Cut(path, "?")
	for _, raw := range inPath(h, way, query) {
		add(raw)
	}
	for _, raw := range inQuery(h, query, anywhere) {
		add(raw)
	}
	return list
}

// May tells nearly every address apart at a glance: it holds no other.
func May(host, path string) bool {
	for _, suffix := range mirrors {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	if len(path) < 5 {
		return false
	}
	if strings.Contains(path, "%") || strings.Contains(path, ":/") || strings.Contains(path, "aHR0") {
		return true
	}
	for _, c := range carriers {
		if host == c.site {
			return true
		}
	}
	for _, s := range bareHosts {
		if strings.HasSuffix(host, s.site) {
			return true
		}
	}
	return host == "web.archive.org"
}

// mirrored is the host that a label stands for. One with hyphens third and
// fourth is written between "0-" and "-0".
func mirrored(label string) string {
	if inner, ok := strings.CutPrefix(label, "0-"); ok {
		label = strings.TrimSuffix(inner, "-0")
	}
	dotted := strings.ReplaceAll(label, "--", "\x00")
	dotted = strings.ReplaceAll(dotted, "-", ".")
	return strings.ReplaceAll(dotted, "\x00", "-")
}

// inPath finds whole addresses in a path, written plainly, escaped or in
// base64, and the hosts that some services write without a scheme.
func inPath(h policy.Host, way, query string) (list []string) {
	text := unescapedFully(way)
	for _, scheme := range []string{"http:/", "https:/"} {
		for at := 0; ; {
			i := strings.Index(strings.ToLower(text[at:]), "/"+scheme)
			if i < 0 {
				break
			}
			at += i + 1
			raw := text[at:]
			if query != "" {
				raw += "?" + query
			}
			list = append(list, raw)
		}
	}
	for part := range strings.SplitSeq(text, "/") {
		if plain := fromBase64(part); plain != "" {
			list = append(list, plain)
		}
	}
	if bare := bareHost(h.String(), text); bare != "" {
		list = append(list, "https://"+bare)
	}
	return list
}

// bareHosts are services that write a host, without a scheme, behind a path.
var bareHosts = []struct{ site, prefix string }{
	{"google.com", "/amp/s/"}, {"google.co.uk", "/amp/s/"}, {"google.com", "/amp/"}, {"google.co.uk", "/amp/"},
	{"cdn.ampproject.org", "/c/s/"}, {"cdn.ampproject.org", "/v/s/"}, {"cdn.ampproject.org", "/i/s/"}, {"cdn.ampproject.org", "/c/"},
	{"wp.com", "/"}, {"r.jina.ai", "/"}, {"12ft.io", "/"}, {"archive.ph", "/"}, {"archive.today", "/"}, {"archive.is", "/"},
}

// bareHost is the host and path that a service writes behind a path of its own.
func bareHost(host, way string) string {
	for _, s := range bareHosts {
		if host != s.site && !strings.HasSuffix(host, "."+s.site) {
			continue
		}
		if rest, ok := strings.CutPrefix(way, s.prefix); ok && strings.Contains(strings.SplitN(rest, "/", 2)[0], ".") {
			return rest
		}
	}
	if host == "web.archive.org" { // /web/2020id_/www.example.org/page
		if rest, ok := strings.CutPrefix(way, "/web/"); ok {
			_, rest, _ = strings.Cut(rest, "/")
			return rest
		}
	}
	return ""
}

// inQuery finds addresses in parameters: of a service known to fetch them, with
// or without a scheme; of any other site, whole ones.
func inQuery(h policy.Host, query string, anywhere bool) (list []string) {
	var params []string
	for _, c := range carriers {
		if h.String() == c.site {
			params = c.params
		}
	}
	if params == nil && !anywhere {
		return nil
	}
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if bare := addressAlone(pair); bare != "" { // ?https://www.example.org/?a=b
			list = append(list, bare)
			continue
		}
		value = unescapedFully(value)
		known := slices.Contains(params, strings.ToLower(key))
		if known {
			value = strings.TrimPrefix(value, "cache:")
		}
		if plain := fromBase64(value); plain != "" {
			value = plain
		}
		lower := strings.ToLower(value)
		switch {
		case strings.HasPrefix(lower, "http://"), strings.HasPrefix(lower, "https://"):
			list = append(list, value)
		case known && strings.Contains(value, "."):
			list = append(list, "https://"+strings.TrimLeft(value, "/"))
		}
	}
	return list
}

// addressAlone is the address that a piece of a query is, without a name for it.
func addressAlone(pair string) string {
	plain := unescapedFully(pair)
	for _, scheme := range []string{"http:/", "https:/"} {
		if len(plain) > len(scheme) && strings.EqualFold(plain[:len(scheme)], scheme) {
			return plain
		}
	}
	return fromBase64(pair)
}

// address reads what may be an address; slashes that a path lost are given back.
func address(raw string) (policy.URL, bool) {
	for _, scheme := range []string{"http:", "https:"} {
		if len(raw) > len(scheme) && strings.EqualFold(raw[:len(scheme)], scheme) {
			raw = scheme + "//" + strings.TrimLeft(raw[len(scheme):], "/")
		}
	}
	if i := strings.IndexByte(raw, ' '); i >= 0 { // cache:address words
		raw = raw[:i]
	}
	u, err := policy.ParseURL(raw)
	if err != nil || !strings.Contains(u.Host.String(), ".") && !strings.Contains(u.Host.String(), ":") {
		return policy.URL{}, false
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, true
}

// unescapedFully takes %-escapes off, at most three times over.
func unescapedFully(s string) string {
	for range 3 {
		got, err := url.PathUnescape(s)
		if err != nil || got == s {
			return s
		}
		s = got
	}
	return s
}

// fromBase64 is the address that a text is in base64, "" if it is none.
func fromBase64(s string) string {
	if len(s) < 12 || len(s) > 4096 {
		return ""
	}
	bare := strings.TrimRight(s, "=")
	for _, e := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding} {
		b, err := e.DecodeString(bare)
		text := string(b)
		if err == nil && (strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")) {
			return text
		}
	}
	return ""
}
