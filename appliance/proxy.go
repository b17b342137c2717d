package appliance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"schoolgate/blockpage"
	"schoolgate/clients"
	"schoolgate/configs"
	"schoolgate/dnsfilter"
	"schoolgate/policy"
	"schoolgate/proxy"
	"schoolgate/proxy/inspect"
	"schoolgate/proxy/pagescan"
)

// authorityDir is the folder of the school's certificate authority.
const authorityDir = "ca"

func (a *Appliance) openProxy(context.Context) (err error) {
	c := a.box().Proxy
	cfg := proxy.Config{
		Listen: texts(c.Listen), TLSListen: texts(c.TLSListen), Name: c.Name, PageListen: texts(c.PageListen),
		Transparent: proxy.Transparent{HTTP: texts(c.Transparent.HTTP), TLS: texts(c.Transparent.TLS)},
		Decider:     &a.engine, Sink: a.sink, Resolver: a.dns, Pages: pages{&a.config, a.tell.tokenOf, a.tell.onwardOf},
		Buttons:      map[string]proxy.Button{blockpage.TellPath: a.told, blockpage.OnwardPath: a.wentOn},
		ConnectPorts: c.ConnectPorts, HTTPPorts: c.HTTPPorts, AllowDestinations: c.AllowDestinations, School: a.box().Gateway.Ranges(),
		Limits: proxy.Limits{Conns: c.MaxConnections, ConnsPerClient: c.MaxPerClient},
		Log:    a.log, Metrics: a.registry,
	}
	if err := a.openAuthorities(); err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	if cfg.Inspection, err = a.inspection(); err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	a.openWatch()
	cfg.Memory, cfg.Watch = a.dns, a.watch
	cfg.TLS = a.proxyTLS()
	if cfg.SignIn, err = clients.NewSignIn(filepath.Join(a.box().Data, clients.PeopleFile), a.log, a.registry); err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	if cfg.Phrases, err = pagescan.Shipped(); err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	a.proxy, err = proxy.New(cfg)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	a.onClose(closeOnce(a.proxy))
	return nil
}

// proxyTLS is the certificate of the proxy inside TLS: the configured one, or one of
// the school's authority for the name of the box. While that cannot sign, nobody gets
// a connection there, and all else goes on (fault F19).
func (a *Appliance) proxyTLS() *tls.Config {
	c := a.box().Proxy
	if len(c.TLSListen) == 0 {
		return nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if c.Certificate != "" {
		config.GetCertificate = a.openKeyPair("proxy", c.Certificate, c.Key).get
		return config
	}
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		name := c.Name
		if name.IsZero() {
			addr, err := netip.ParseAddrPort(hello.Conn.LocalAddr().String())
			if err != nil {
				return nil, err
			}
			if name, err = policy.ParseHost(addr.Addr().Unmap().WithZone("").String()); err != nil {
				return nil, err
			}
		}
		return a.leaves.Get(name, time.Now())
	}
	return config
}

// inspection is what looking into HTTPS takes; nil where it is off. Without an
// authority that can sign, the door starts all the same and looks into nothing:
// what should have been seen is carried or refused, as configured (fault F19).
func (a *Appliance) inspection() (*proxy.Inspection, error) {
	c := a.box().Inspect
	if !c.Enabled {
		return nil, nil
	}
	i := &proxy.Inspection{
		Leaves: a.leaves, Verifier: &inspect.Verifier{}, RefuseUnseen: c.Unseen == configs.RefuseUnseen,
		Tenants: proxy.Tenants{
			Google: strings.Join(c.Google, ","), Microsoft: strings.Join(c.Microsoft, ","),
			MicrosoftDirectory: c.Directory, NoPersonal: !c.Personal,
		},
	}
	var err error
	if i.Never, err = inspect.NewNeverInspect(c.Never); err != nil {
		return nil, err
	}
	a.never = i.Never
	if c.UpstreamRoots != "" {
		if i.Verifier.Roots, err = readRoots(c.UpstreamRoots); err != nil {
			a.log.Error("https is not looked into: by whom to believe sites cannot be read; mend it, then restart schoolgate", "err", err)
			i.Leaves, i.Verifier.Roots, a.rootsTrouble = nil, x509.NewCertPool(), err
		}
	}
	return i, nil
}

// readRoots reads the authorities that sites are believed by.
func readRoots(name string) (*x509.CertPool, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("inspect.upstream_roots: %w", err)
	}
	roots, err := inspect.Roots(text)
	if err != nil {
		return nil, fmt.Errorf("inspect.upstream_roots: %s: %w", name, err)
	}
	return roots, nil
}

// openAuthorities brings those that sign, for inspection and for the proxy inside TLS.
// Where they cannot be used the box starts all the same, and a reload tries again.
func (a *Appliance) openAuthorities() error {
	box := a.box()
	if !box.Inspect.Enabled && (len(box.Proxy.TLSListen) == 0 || box.Proxy.Certificate != "") {
		return nil
	}
	all, err := a.authorities()
	if err != nil {
		a.log.Error("the school's certificate authority cannot be used: https is not looked into, and nobody is served at proxy.tls_listen without a certificate of its own; mend it, then schoolgate reload", "err", err)
		all = nil
	}
	a.leaves, err = inspect.NewLeaves(all)
	return err
}

// takeAuthorities has those sign that are on the disk now, and says so if they are
// others. Ones that cannot be used leave those in use in place.
func (a *Appliance) takeAuthorities() (say string) {
	if a.leaves == nil {
		return ""
	}
	all, err := a.authorities()
	switch {
	case err != nil:
		a.log.Error("certificate authority not taken up, keeping what is in use", "err", err)
		return fmt.Sprintf("\nnot taken up: %v", err)
	case !a.leaves.Use(all):
		return ""
	}
	last := all[len(all)-1]
	return fmt.Sprintf("\ntaken up: the school's certificate authority school-ca-%d, which signs from %s", last.Number, last.SignsFrom.Format(time.DateOnly))
}

// authorities are those that systemd hands over, or those of the data folder. One
// of them must be able to sign now.
func (a *Appliance) authorities() ([]*inspect.Authority, error) {
	all, err := inspect.LoadCredential(os.Getenv("CREDENTIALS_DIRECTORY"))
	if errors.Is(err, inspect.ErrNoAuthority) {
		all, err = inspect.Load(filepath.Join(a.box().Data, authorityDir))
	}
	if err == nil {
		_, err = inspect.Signer(all, time.Now())
	}
	return all, err
}

// nameDecider is who decides for the DNS door. Where the gateway brings every
// connection to the web door, a host with a few listed pages is answered, so that
// the web door can tell its pages apart; elsewhere it stays refused (I3).
func (a *Appliance) nameDecider() dnsfilter.Decider {
	box := a.box()
	if !box.Inspect.Enabled || len(box.Proxy.Transparent.TLS) == 0 || len(box.Proxy.Transparent.HTTP) == 0 {
		return &a.engine
	}
	return settling{a}
}

type settling struct{ box *Appliance }

// Decide asks the policy, and the web door for what only it can settle.
func (s settling) Decide(q policy.Request) policy.Ruling {
	r := s.box.engine.Decide(q)
	if !r.Unsettled() {
		return r
	}
	return s.box.proxy.Settles(q, r)
}

// expiresSoon is how long before the end of its authority a school is told.
const expiresSoon = 90 * 24 * time.Hour

// inspectCheck says how looking into HTTPS stands. An authority that cannot be
// used makes the box unready: pages on mandatory lists cannot be told apart. One in
// use that is no longer on the disk does, too: it goes with the process.
func (a *Appliance) inspectCheck() []Check {
	if !a.box().Inspect.Enabled || a.leaves == nil {
		return nil
	}
	c, now := Check{Name: "inspect", Say: "https is looked into where the policy asks for it"}, time.Now()
	kept, lost := a.authorities()
	used := a.leaves.Authorities()
	_, idle := inspect.Signer(used, now)
	switch {
	case a.rootsTrouble != nil:
		c.Say, c.Err = "https is not looked into", a.rootsTrouble
	case idle != nil && lost == nil:
		c.Say, c.Err = "https is not looked into", errors.New("the school's certificate authority can be used again: run schoolgate reload")
	case idle != nil:
		c.Say, c.Err = "https is not looked into", lost
	case lost != nil:
		c.Say, c.Err = "https is looked into until the next start", fmt.Errorf("the school's certificate authority in use cannot be read any more: %w", lost)
	case !a.leaves.Uses(kept):
		c.Say += "; the authorities on the disk are others than those in use: run schoolgate reload"
	}
	if end := inspect.Ends(used); idle == nil && end.Sub(now) < expiresSoon {
		c.Say += fmt.Sprintf("; the school's certificate authority expires on %s: run schoolgate ca rotate, and give the new certificate to devices", end.Format(time.DateOnly))
	}
	if list := a.proxy.Untrusting(); len(list) > 0 {
		const some = 20
		c.Say += fmt.Sprintf("; the school's certificate is not trusted by %s: %s", number(len(list), "device"), strings.Join(texts(list[:min(some, len(list))]), ", "))
	}
	if n := len(a.proxy.Pinned()); n > 0 {
		c.Say += fmt.Sprintf("; apps refuse it on devices that trust it, for %s (schoolgate ca untrusting)", number(n, "site"))
	}
	return []Check{c}
}

// pages are the block pages, in the words of the configuration in force.
type pages struct {
	config        *atomic.Pointer[configs.Config]
	token, onward func(*policy.Event) string // of the buttons
}

// Page writes the page for a recorded event.
func (p pages) Page(h http.Header, r policy.Ruling, e *policy.Event, gzip bool) ([]byte, error) {
	school := p.config.Load().School
	return blockpage.Pages{School: school.Name, Ask: school.Ask, Token: p.token, Onward: p.onward}.Page(h, r, e, gzip)
}

func number(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
