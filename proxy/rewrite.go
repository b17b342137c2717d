package proxy

import (
	"net/http"
	"strings"

	"schoolgate/policy"
)

// Tenants holds accounts to the school's own (4.3). Empty fields hold nothing.
type Tenants struct {
	Google             string // domains, comma-separated: only accounts of these sign in to Google
	Microsoft          string // tenants, comma-separated: only these are reached from Microsoft sign-in
	MicrosoftDirectory string // the school's own directory, which the restriction is reported to
	NoPersonal         bool   // no personal Microsoft accounts
}

// ofSchool are headers that a school's filter adds. A client's own copies are
// dropped first: who may write them decides what they mean.
var ofSchool = []string{
	"X-Googapps-Allowed-Domains", "Restrict-Access-To-Tenants", "Restrict-Access-Context",
	"Sec-Restrict-Tenant-Access-Policy", "Youtube-Restrict",
}

// sites are domains with everything below them.
func sites(names ...string) (list []policy.Host) {
	for _, n := range names {
		h, err := policy.ParseHost(n)
		if err != nil {
			panic(err) // a constant of this file
		}
		list = append(list, h)
	}
	return list
}

func ofSite(h policy.Host, list []policy.Host) bool {
	for _, d := range list {
		if h.Within(d) {
			return true
		}
	}
	return false
}

var (
	googleSites         = sites("google.com")
	microsoftSignIn     = sites("login.microsoftonline.com", "login.microsoft.com", "login.windows.net")
	microsoftPersonal   = sites("login.live.com")
	youtubeSites        = sites("youtube.com", "youtube-nocookie.com", "youtubei.googleapis.com", "youtube.googleapis.com")
	bingSites, duckDuck = sites("bing.com"), sites("duckduckgo.com", "duck.com")
	yahooSearch         = sites("search.yahoo.com")
)

// rewrite holds a request that can be seen to the school's accounts and to the
// safety modes of its profile. The host was decided; only headers and parameters
// of the request change.
func (s *Server) rewrite(r *http.Request, t *target, ruling *policy.Ruling) {
	for _, name := range ofSchool {
		delete(r.Header, name)
	}
	if t.Door != policy.DoorInspect {
		return
	}
	s.inspector.Tenants.set(r.Header, t.Host)
	if ruling.Profile == nil {
		return
	}
	if mode := ruling.Profile.YouTube; mode != policy.Off && ofSite(t.Host, youtubeSites) {
		r.Header["Youtube-Restrict"] = []string{modeWord(mode, "Strict", "Moderate")}
	}
	if mode := ruling.Profile.SafeSearch; mode != policy.Off {
		safeSearch(r, t.Host, mode)
	}
}

func (t Tenants) set(h http.Header, host policy.Host) {
	switch {
	case t.Google != "" && ofSite(host, googleSites):
		h["X-Googapps-Allowed-Domains"] = []string{t.Google}
	case t.Microsoft != "" && ofSite(host, microsoftSignIn):
		h["Restrict-Access-To-Tenants"] = []string{t.Microsoft}
		if t.MicrosoftDirectory != "" {
			h["Restrict-Access-Context"] = []string{t.MicrosoftDirectory}
		}
	case t.NoPersonal && ofSite(host, microsoftPersonal):
		h["Sec-Restrict-Tenant-Access-Policy"] = []string{"restrict-msa"}
	}
}

func modeWord(m policy.Restriction, strict, moderate string) string {
	if m == policy.Moderate {
		return moderate
	}
	return strict
}

// safeSearch sets the parameter that holds a search to its safety mode, beside
// the safe host that is dialled (4.1).
func safeSearch(r *http.Request, host policy.Host, mode policy.Restriction) {
	switch {
	case googleSearch(host.String()):
		setParameter(r, "q", "safe", "active")
	case ofSite(host, bingSites):
		setParameter(r, "q", "adlt", modeWord(mode, "strict", "moderate"))
	case ofSite(host, duckDuck):
		setParameter(r, "q", "kp", modeWord(mode, "1", "-1"))
	case ofSite(host, yahooSearch):
		setParameter(r, "p", "vm", "r")
	}
}

// googleSearch reports whether a host answers searches of Google's, those that no
// safe host stands in for among them.
func googleSearch(host string) bool {
	for _, name := range []string{"www.", "images.", "cse.", "encrypted.", ""} {
		if strings.HasPrefix(host, name+"google.") {
			return true
		}
	}
	return false
}

// setParameter gives a search one value of a parameter and no other. A search is a
// request with the parameter of its words, or one of those that Google's page of
// advanced searches has in its place, or one that says itself how safe it is to be.
// Names are read as engines read them, unescaped. All else stays as it was written.
func setParameter(r *http.Request, words, name, value string) {
	var kept []string
	search := false
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		key, _, _ := strings.Cut(pair, "=")
		key = strings.ToLower(unescaped(key))
		search = search || key == words || key == name || words == "q" && strings.HasPrefix(key, "as_")
		if pair != "" && key != name {
			kept = append(kept, pair)
		}
	}
	if search {
		r.URL.RawQuery = strings.Join(append(kept, name+"="+value), "&")
	}
}
