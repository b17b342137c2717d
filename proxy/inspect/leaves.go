package inspect

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"schoolgate/policy"
)

const (
	leafLife  = 6 * 24 * time.Hour // with the backdated day: a week
	leafSlack = 24 * time.Hour     // one with less left is made anew
	maxLeaves = 8192               // in each of two generations
)

// Leaves signs certificates for hosts and keeps them. A kept one is found
// without a lock; a new one is signed once, however many ask. When a generation
// is full the one before it is forgotten, so memory is bounded and what is in
// use stays.
type Leaves struct {
	authorities atomic.Pointer[[]*Authority]
	key         *ecdsa.PrivateKey // of all leaves; it lives and dies with the process
	signed      atomic.Int64

	filling sync.Mutex // guards the change of generations, and of authorities
	now     atomic.Pointer[generation]
	before  atomic.Pointer[generation]
}

type generation struct {
	leaves sync.Map // host name → *leaf
	count  atomic.Int64
}

// leaf is one host's certificate, or the making of it.
type leaf struct {
	once sync.Once
	cert *tls.Certificate
	err  error
	good time.Time // until then it is handed out
}

// NewLeaves makes an empty cache for the authorities of the school. There may be
// none: then nothing is signed until Use brings some.
func NewLeaves(authorities []*Authority) (*Leaves, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	l := &Leaves{key: key}
	l.Use(authorities)
	return l, nil
}

// Use has other authorities sign from now on, and forgets what earlier ones signed.
// Nothing changes, and false is returned, if they are the same.
func (l *Leaves) Use(authorities []*Authority) (changed bool) {
	l.filling.Lock()
	defer l.filling.Unlock()
	if l.authorities.Load() != nil && l.Uses(authorities) {
		return false
	}
	l.authorities.Store(&authorities) // first: what is signed from here on may stay
	l.now.Store(&generation{})
	l.before.Store(&generation{})
	return true
}

// Uses reports whether these are the authorities in use.
func (l *Leaves) Uses(authorities []*Authority) bool {
	return slices.EqualFunc(l.Authorities(), authorities, (*Authority).same)
}

// Authorities are those in use.
func (l *Leaves) Authorities() []*Authority { return *l.authorities.Load() }

func (a *Authority) same(b *Authority) bool {
	return a.Number == b.Number && a.SignsFrom.Equal(b.SignsFrom) && a.Certificate.Equal(b.Certificate) && a.key.Equal(b.key)
}

// Get is a certificate for a host that is good at a moment.
func (l *Leaves) Get(h policy.Host, at time.Time) (*tls.Certificate, error) {
	g := l.now.Load()
	if got, ok := g.leaves.Load(h); ok {
		f := got.(*leaf)
		f.once.Do(func() { l.sign(f, h, at) })
		if f.err == nil && at.Before(f.good) {
			return f.cert, nil
		}
		if g.leaves.CompareAndDelete(h, f) {
			g.count.Add(-1)
		}
	}
	return l.add(h, at)
}

func (l *Leaves) add(h policy.Host, at time.Time) (*tls.Certificate, error) {
	fresh := &leaf{}
	if got, ok := l.before.Load().leaves.Load(h); ok {
		old := got.(*leaf)
		old.once.Do(func() { l.sign(old, h, at) })
		if old.err == nil && at.Before(old.good) {
			fresh = old
		}
	}
	g := l.room()
	got, had := g.leaves.LoadOrStore(h, fresh)
	if !had {
		g.count.Add(1)
	}
	f := got.(*leaf)
	f.once.Do(func() { l.sign(f, h, at) })
	return f.cert, f.err
}

// room is the generation to add to, a new one if the last is full.
func (l *Leaves) room() *generation {
	g := l.now.Load()
	if g.count.Load() < maxLeaves {
		return g
	}
	l.filling.Lock()
	defer l.filling.Unlock()
	if g = l.now.Load(); g.count.Load() >= maxLeaves {
		l.before.Store(g)
		g = &generation{}
		l.now.Store(g)
	}
	return g
}

// sign makes the certificate: for that host and no other, good for a week.
func (l *Leaves) sign(f *leaf, h policy.Host, at time.Time) {
	by, err := Signer(l.Authorities(), at)
	if err != nil {
		f.err = err
		return
	}
	serial, err := newSerial()
	if err != nil {
		f.err = err
		return
	}
	end := at.Add(leafLife)
	if by.Certificate.NotAfter.Before(end) {
		end = by.Certificate.NotAfter
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: clip(h.String(), 64)},
		NotBefore: at.Add(-backdated), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if a, ok := h.Addr(); ok {
		t.IPAddresses = []net.IP{a.AsSlice()}
	} else {
		t.DNSNames = []string{h.String()}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, by.Certificate, &l.key.PublicKey, by.key)
	if err != nil {
		f.err = err
		return
	}
	l.signed.Add(1)
	f.cert = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: l.key}
	f.good = end.Add(-leafSlack)
	f.cert.Leaf, f.err = x509.ParseCertificate(der)
	if next := l.nextChange(at); !next.IsZero() && next.Before(f.good) {
		f.good = next // another authority signs from then on
	}
}

func (l *Leaves) nextChange(at time.Time) time.Time {
	for _, a := range l.Authorities() {
		if a.SignsFrom.After(at) {
			return a.SignsFrom
		}
	}
	return time.Time{}
}

// Covers reports whether the authority that signs now may speak for a host.
func (l *Leaves) Covers(h policy.Host, at time.Time) bool {
	by, err := Signer(l.Authorities(), at)
	return err == nil && by.Covers(h)
}

// Signed is how many certificates were made.
func (l *Leaves) Signed() int64 { return l.signed.Load() }
