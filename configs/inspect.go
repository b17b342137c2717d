package configs

import (
	"fmt"
	"strconv"
	"strings"

	"schoolgate/policy"
)

// Inspect is looking into HTTPS. It is off until the school has made an
// authority and given its certificate to devices.
type Inspect struct {
	Enabled       bool
	UpstreamRoots string        // trusted instead of the system's authorities; "" for those
	Unseen        Unseen        // what becomes of what should be looked into and cannot be
	Never         []policy.Host // besides the shipped list
	Google        []string      // domains whose accounts may sign in to Google
	Microsoft     []string      // tenants that may be reached from Microsoft sign-in
	Directory     string        // the school's own directory at Microsoft
	Personal      bool          // personal Microsoft accounts may sign in
}

// Unseen is what becomes of a connection that should be looked into and cannot be.
type Unseen string

// The ways to treat it.
const (
	PassUnseen   Unseen = "pass"   // judged by its host alone
	RefuseUnseen Unseen = "refuse" // refused
)

func (l *loader) readInspect(v value, i *Inspect) {
	v.fields(map[string]func(value){
		"enabled":             one(&i.Enabled, yesNo),
		"upstream_roots":      one(&i.UpstreamRoots, fileName),
		"unseen":              one(&i.Unseen, choice("choice", PassUnseen, RefuseUnseen)),
		"never":               many(&i.Never, domain),
		"google_accounts":     many(&i.Google, domainText),
		"microsoft_tenants":   many(&i.Microsoft, domainText),
		"microsoft_directory": one(&i.Directory, directory),
		"personal_microsoft":  one(&i.Personal, yesNo),
	})
	if i.Directory != "" && len(i.Microsoft) == 0 {
		v.problem("microsoft_directory goes together with microsoft_tenants: write both or neither")
	}
}

// domain reads a domain that stands for itself and everything below it.
func domain(s string) (policy.Host, error) {
	r, err := site(s)
	if err == nil && (r.Path != "" || !strings.Contains(r.Host.String(), ".")) {
		err = fmt.Errorf("bad domain %q: want one such as bank.example", clip(s))
	}
	return r.Host, err
}

func domainText(s string) (string, error) {
	h, err := domain(s)
	return h.String(), err
}

// directory reads the identifier of a directory: it goes into a header as it is.
func directory(s string) (string, error) {
	if s == "" || len(s) > 64 || strings.Trim(s, "0123456789abcdefABCDEF-") != "" {
		return "", fmt.Errorf("bad directory %q: want its identifier, such as 01234567-89ab-cdef-0123-456789abcdef", clip(s))
	}
	return s, nil
}

// readInspected reads what a profile looks into: all, none or categories.
func (r *schoolReader) readInspected(p *policy.Profile, v value) {
	if v.isText() {
		word, _ := read(v, choice("choice", "all", "none"))
		p.InspectAll = word == "all"
		return
	}
	v.each(func(v value) {
		if text, ok := v.text(); ok && text == "uncategorised" {
			p.InspectUncategorised = true
			return
		}
		if c, ok := read(v, category); ok {
			p.Inspect = p.Inspect.With(c)
		}
	})
}

// scanLimits is at what score a page is closed where the profile does not say. For
// adults none is read.
var scanLimits = map[policy.AgeBand]int{policy.EYFS: 80, policy.KS1: 80, policy.KS2: 100}

// readScan reads at what score a page is closed, or off.
func readScan(p *policy.Profile, v value) {
	if n, ok := read(v, scanLimit); ok {
		p.Scan, p.ScanRule = n, v.pos()
	}
}

func scanLimit(s string) (int, error) {
	if s == "off" || s == "no" || s == "false" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 50 || n > 1000 {
		return 0, fmt.Errorf("bad score %q: want 50 (strict) to 1000, such as 100, or off", clip(s))
	}
	return n, nil
}
