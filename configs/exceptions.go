package configs

import (
	"net/netip"
	"time"

	"schoolgate/policy"
)

// readExceptions reads the school's own words on hosts. Each says for whom, why
// and by whom it was decided, and what opens something says until when.
func (r *schoolReader) readExceptions(v value) {
	v.each(func(v value) {
		v = v.as("exception")
		v.path = "exceptions.*"
		r.readException(v, &r.spec.Exceptions, map[string]policy.Verdict{"allow": policy.Allow, "block": policy.Block})
	})
}

// readPasses reads live passes: one site for one class or client for a while.
func (r *schoolReader) readPasses(v value) {
	v.each(func(v value) {
		v = v.as("pass")
		v.path = "passes.*"
		r.readException(v, &r.spec.Passes, map[string]policy.Verdict{"site": policy.Allow})
	})
}

func (r *schoolReader) readException(v value, into *[]policy.Exception, verdicts map[string]policy.Verdict) {
	var x policy.Exception
	var sites []value
	var by, given string
	exact, isPass, until := false, v.path == "passes.*", time.Time{}
	before := len(v.d.problems)
	readers := map[string]func(value){
		"for":    func(v value) { r.readFor(v, &x) },
		"reason": one(&x.Note, said),
		"by":     one(&by, said),
		"until":  one(&until, moment(r.zone)),
		"exact":  one(&exact, yesNo),
	}
	for word, verdict := range verdicts {
		readers[word] = func(v value) {
			if given != "" {
				v.problem("it has %s already (make two entries of it)", given)
			}
			given, x.Verdict, sites = word, verdict, listed(v)
		}
	}
	v.fields(readers)
	if given == "" {
		v.problem("it names no site (write %s: www.example.org)", oneOf(sorted(keys(verdicts))))
	}
	if !v.has("reason") {
		v.problem("it has no reason (write reason: why, so that it can be reviewed)")
	}
	if !v.has("by") {
		v.problem("nobody answers for it (write by: with a name or role)")
	}
	switch {
	case !v.has("for"):
		v.problem("it does not say for whom (write for: everyone, or for: {group: year5})")
	case isPass && v.d.clean(before) && x.Group == "" && x.Device == "" && !x.Address.IsValid():
		v.problem("a pass is for one class or client (write for: with a group, device or address)")
	}
	if x.Verdict == policy.Allow && given != "" && !v.has("until") {
		v.problem("it has no end (write until: 2027-07-21; what opens something ends by itself)")
	}
	x.Note = x.Note + " (" + by + ")"
	for _, s := range sites {
		rule, ok := read(s.as("%s", v.name), site)
		if !ok {
			continue
		}
		if x.Verdict == policy.Allow && wholeSuffix(rule.Host) {
			s.as("%s", v.name).problem("%q would open every site that ends so (name one site)", rule.Host)
			continue
		}
		one := x
		one.HostRule = policy.HostRule{
			Host: rule.Host, Path: rule.Path, Exact: exact, Verdict: x.Verdict,
			Until: until, Rule: s.pos(), Note: x.Note,
		}
		*into = append(*into, one)
	}
}

// readFor reads for whom something is: everyone, or one profile, group, device
// or address.
func (r *schoolReader) readFor(v value, x *policy.Exception) {
	if v.isText() {
		if v.node.Value != "everyone" {
			v.problem("%v; anyone else is written {group: year5}, {profile: ks2}, {device: name} or {address: 10.2.0.7}", unknown("word", clip(v.node.Value), []string{"everyone"}))
		}
		return
	}
	before := len(v.d.problems)
	v.fields(map[string]func(value){
		"profile": func(v value) { x.Profile = r.profileRef(v) },
		"group":   func(v value) { x.Group = r.groupRef(v) },
		"device":  func(v value) { x.Device = r.deviceRef(v) },
		"address": one(&x.Address, address),
	})
	n := 0
	for _, set := range []bool{x.Profile != "", x.Group != "", x.Device != "", x.Address != netip.Addr{}} {
		if set {
			n++
		}
	}
	switch {
	case n > 1:
		v.problem("it names more than one (make an entry for each)")
	case n == 0 && v.d.clean(before):
		v.problem("it names nobody (write everyone, or {group: year5} for one)")
	}
}
