package configs

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Recipient is a person, or a mailbox that several read, who can be told of
// alerts.
type Recipient struct {
	Roles      []string // dsl, deputy, head, chair, it, leadership or the school's own
	Mail       string   // "" for none
	Webhook    string   // "" for none
	SecretFile string   // of the webhook

	// What is theirs: an alert on any of it is about them and not for them (R36).
	Devices, Logins, Addresses []string
}

// Away is dates on which somebody cannot act, both included, as
// year*10000+month*100+day.
type Away struct {
	Who         string // a role or a mail address
	First, Last int
}

// Hooks is how webhooks are called.
type Hooks struct {
	Networks []netip.Prefix // inside ranges that may be called
	CAFile   string         // trusted besides the system's roots; "" for none
}

// file reads a file name and completes it.
func (r *schoolReader) file(dst *string) func(value) {
	return func(v value) {
		if name, ok := read(v, fileName); ok {
			*dst = r.folder.place(name)
		}
	}
}

// readRecipients reads who is meant by each role. One address is one person,
// however many roles it is written under.
func (r *schoolReader) readRecipients(v value) {
	v.named("role", func(role string, v value) {
		r.roles = append(r.roles, role)
		for _, item := range listed(v) {
			p := Recipient{}
			if item.isFields() {
				item.path = "alerts.recipients.*"
				r.readRecipient(item, &p)
			} else if to, ok := read(item, mailAddress); ok {
				p.Mail = to
			}
			if p.Mail != "" || p.Webhook != "" {
				r.addRecipient(role, p)
			}
		}
	})
}

func (r *schoolReader) readRecipient(v value, p *Recipient) {
	before := len(v.d.problems)
	v.fields(map[string]func(value){
		"mail":        one(&p.Mail, mailAddress),
		"webhook":     one(&p.Webhook, webhook),
		"secret_file": r.file(&p.SecretFile),
		"devices": func(v value) {
			for _, item := range listed(v) {
				p.Devices = append(p.Devices, r.deviceRef(item))
			}
		},
		"logins": func(v value) {
			for _, item := range listed(v) {
				if login, ok := read(item, said); ok {
					p.Logins = append(p.Logins, login)
				}
			}
		},
		"addresses": func(v value) {
			for _, item := range listed(v) {
				if a, ok := read(item, address); ok {
					p.Addresses = append(p.Addresses, a.String())
				}
			}
		},
	})
	switch {
	case !v.d.clean(before):
	case p.Mail == "" && p.Webhook == "":
		v.problem("nobody can be reached by it (write mail: or webhook:)")
	case p.Webhook != "" && p.SecretFile == "":
		v.problem("the webhook has no secret_file (its calls are signed with what is in it)")
	case p.Webhook == "" && p.SecretFile != "":
		v.problem("secret_file is for a webhook, and there is none")
	}
}

func (r *schoolReader) addRecipient(role string, p Recipient) {
	for i := range r.alerts.People {
		known := &r.alerts.People[i]
		if !(p.Mail != "" && strings.EqualFold(known.Mail, p.Mail)) && (p.Webhook == "" || known.Webhook != p.Webhook || p.Mail != "" && known.Mail != "") {
			continue
		}
		if !slices.Contains(known.Roles, role) {
			known.Roles = append(known.Roles, role)
		}
		if known.Webhook == "" {
			known.Webhook, known.SecretFile = p.Webhook, p.SecretFile
		}
		known.Devices = append(known.Devices, p.Devices...)
		known.Logins = append(known.Logins, p.Logins...)
		known.Addresses = append(known.Addresses, p.Addresses...)
		return
	}
	p.Roles = []string{role}
	r.alerts.People = append(r.alerts.People, p)
}

func (r *schoolReader) roleNames() []string { return slices.Clone(r.roles) }

// readAway reads who is absent when. Others stand in for them.
func (r *schoolReader) readAway(v value) {
	v.each(func(v value) {
		v = v.as("absence")
		v.path = "alerts.away.*"
		who := ""
		v.fields(map[string]func(value){
			"who": func(v value) {
				who = r.refer(v, "role or mail address", func() []string {
					names := r.roleNames()
					for i := range r.alerts.People {
						if m := r.alerts.People[i].Mail; m != "" {
							names = append(names, m)
						}
					}
					return names
				})
			},
			"dates": func(v value) {
				for _, item := range listed(v) {
					if d, ok := read(item, dateRange); ok {
						r.alerts.Away = append(r.alerts.Away, Away{First: d[0], Last: d[1]})
					}
				}
			},
		})
		if !v.has("who") || blank(v, "dates") {
			v.problem("it does not say who and when (write who: dsl, dates: 2026-12-01 to 2026-12-04)")
		}
		for i := range r.alerts.Away {
			if r.alerts.Away[i].Who == "" {
				r.alerts.Away[i].Who = who
			}
		}
	})
}

// checkSubjects warns of a school in which an alert on its leaders would reach
// nobody (R36).
func (r *schoolReader) checkSubjects(v value) {
	if slices.Contains(r.roles, "chair") {
		return
	}
	for _, p := range r.alerts.People {
		if slices.Contains(p.Roles, "head") && len(p.Devices)+len(p.Logins)+len(p.Addresses) > 0 {
			r.warn(v.pos(), "alerts: nobody is named as chair (of governors), so an alert on the head would reach nobody")
			return
		}
	}
}

// webhook reads an address that is called: https, and nothing in it that could be
// taken for something else.
func webhook(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(s, "?# \t") || len(s) > 500 {
		return "", fmt.Errorf("bad webhook %q: want an https address without ? and #, such as https://hooks.school.example/alerts", clip(s))
	}
	return s, nil
}
