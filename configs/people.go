package configs

import (
	"net"
	"net/netip"

	"schoolgate/policy"
)

func (r *schoolReader) readGroups(v value) {
	v.named("group", func(name string, v value) {
		g := policy.Group{Name: name, Rule: v.pos()}
		r.groups[name] = v.pos()
		v.fields(map[string]func(value){
			"profile": func(v value) { g.Profile = r.profileRef(v) },
			"addresses": func(v value) {
				v.each(func(v value) { r.addRange(v, Member{Group: name}) })
			},
			"hardware": func(v value) {
				v.each(func(v value) { r.addHardware(v, Member{Group: name}) })
			},
		})
		if g.Profile == "" {
			v.problem("it has no profile (write profile: ks2, for one)")
		}
		r.spec.Groups = append(r.spec.Groups, g)
	})
}

// readDevices reads the device register.
func (r *schoolReader) readDevices(v value) {
	v.named("device", func(name string, v value) {
		m := Member{Device: name, Rule: v.pos()}
		r.devices[name] = v.pos()
		var addresses, hardwares []value
		v.fields(map[string]func(value){
			"group":    func(v value) { m.Group = r.groupRef(v) },
			"address":  func(v value) { addresses = append(addresses, listed(v)...) },
			"hardware": func(v value) { hardwares = append(hardwares, listed(v)...) },
			"quarantine": func(v value) {
				read(v, said) // the reason is for the people who read the file
				m.Quarantined = true
			},
			"unsigned": one(&m.Unsigned, yesNo),
		})
		switch {
		case m.Group == "":
			v.problem("it is in no group (write group: with the name of one)")
		case len(addresses)+len(hardwares) == 0:
			v.problem("it cannot be recognised (write address: or hardware:)")
		}
		for _, a := range addresses {
			r.addAddress(a, m)
		}
		for _, h := range hardwares {
			r.addHardware(h, m)
		}
	})
}

// listed is the items of a list, or the one value that stands in its place.
func listed(v value) (items []value) {
	if !v.isList() {
		return []value{v}
	}
	v.each(func(v value) { items = append(items, v) })
	return items
}

func (r *schoolReader) addAddress(v value, m Member) {
	if a, ok := read(v, address); ok {
		m.Prefix = netip.PrefixFrom(a, a.BitLen())
		r.add(v, "device "+a.String(), a.String(), m)
	}
}

func (r *schoolReader) addRange(v value, m Member) {
	ranges, ok := read(v, addressRange)
	if !ok {
		return
	}
	m.Rule = v.pos()
	for _, p := range ranges {
		m.Prefix = p
		r.add(v, "group "+p.String(), p.String(), m)
	}
}

func (r *schoolReader) addHardware(v value, m Member) {
	mac, ok := read(v, hardware)
	if !ok {
		return
	}
	m.MAC = mac
	if m.Device == "" {
		m.Rule = v.pos()
	}
	r.add(v, macKey(m.Device != "", mac), mac.String(), m)
}

func macKey(device bool, mac net.HardwareAddr) string {
	if device {
		return "device " + mac.String()
	}
	return "group " + mac.String()
}

// add notes a member, unless another of its kind has the same address: then
// nobody could say whose rules are meant.
func (r *schoolReader) add(v value, key, what string, m Member) {
	if prev, taken := r.claims[key]; taken {
		v.problem("%s already belongs to another, in line %d", what, prev.Line)
		return
	}
	r.claims[key] = v.pos()
	r.members = append(r.members, m)
}

// signIn reads whether people sign in at the proxy.
func signIn(s string) (policy.SignIn, error) {
	word, err := choice("choice", "no", "false", "allowed", "required")(s)
	switch word {
	case "allowed":
		return policy.SignInAllowed, err
	case "required":
		return policy.SignInRequired, err
	}
	return policy.NoSignIn, err
}
