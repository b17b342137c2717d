package appliance

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"schoolgate/audit"
	"schoolgate/policy"
)

// A page that warns has a button to go on, for grown-ups and for children who can
// read the warning. That somebody went on is recorded before the site is open, and
// what they then do there as everything is.

// onwardFor is how long a site is open to the client that went on to it: a lesson's
// half, and no longer than the page's own button works.
const onwardFor = 30 * time.Minute

// findingWentOn is in the event of a press.
const findingWentOn = "went_on"

var (
	errNoWarning = errors.New("there is no warning of this site to go on past")
	errTooMany   = errors.New("too many warnings were gone past in the last half hour")
)

// wentOn answers a press of that button: back to the page that was wanted.
func (a *Appliance) wentOn(w http.ResponseWriter, r *http.Request, client netip.Addr) {
	// A connection that a refusal was told on would go on telling it.
	w.Header().Set("Connection", "close")
	w.Header().Set("Cache-Control", "no-store")
	if err := a.goOn(w, r, client); err != nil {
		a.log.Warn("a warning stands: the button on its page could not be taken", "err", err)
		http.Error(w, "This button works no more. Please go back and load the page again.", http.StatusForbidden)
		return
	}
	w.Header().Set("Location", wanted(r))
	w.WriteHeader(http.StatusSeeOther)
}

func (a *Appliance) goOn(w http.ResponseWriter, r *http.Request, client netip.Addr) error {
	id, err := a.pressOf(w, r, buttonOnward, client)
	if err != nil {
		return err
	}
	shown, err := audit.In(a.config.Load().Box.Data).Event(r.Context(), id)
	if err != nil {
		return err
	}
	host, err := policy.ParseHost(shown.Host)
	if err != nil {
		return errNoWarning
	}
	q := policy.Request{Door: shown.Door, Client: client, Host: host, Time: time.Now()}
	ruling := a.engine.Decide(q)
	if ruling.Verdict != policy.Warn {
		if ruling.Reason == policy.ReasonWarned {
			return nil // pressed twice
		}
		return errNoWarning
	}
	e := ruling.Event(q)
	e.Method, e.Status, e.Finding, e.Use = http.MethodPost, http.StatusSeeOther, findingWentOn, policy.UsePerson
	if err := a.sink.Record(&e); err != nil {
		return err
	}
	if !a.engine.GoOn(client, siteOf(host), q.Time, q.Time.Add(onwardFor)) {
		return errTooMany
	}
	return nil
}

// siteOf is what a person means by a site, the registered domain: a page's pictures
// come from names beside its own. A host below none is its own.
func siteOf(h policy.Host) policy.Host {
	if domain, err := publicsuffix.EffectiveTLDPlusOne(h.String()); err == nil {
		if site, err := policy.ParseHost(domain); err == nil && h.Within(site) {
			return site
		}
	}
	return h
}

// wanted is where the page with the button was shown, which only the browser knows;
// the site's front page, if it does not say. It never leads to another site.
func wanted(r *http.Request) string {
	from, err := url.Parse(r.Referer())
	if err != nil || from.Host != r.Host || !strings.HasPrefix(from.EscapedPath(), "/") || strings.HasPrefix(from.EscapedPath(), "//") {
		return "/"
	}
	return (&url.URL{Path: from.Path, RawPath: from.RawPath, RawQuery: from.RawQuery}).String()
}
