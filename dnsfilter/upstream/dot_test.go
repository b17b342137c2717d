package upstream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// overTLS puts TLS in front of an upstream's TCP port and counts connections.
func overTLS(t *testing.T, u *testkit.Upstream, perConn int) (addr string, roots *x509.CertPool, accepted *atomic.Int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"dns.example"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(leaf)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	accepted = new(atomic.Int64)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				if c.(*tls.Conn).Handshake() == nil {
					accepted.Add(1)
					relay(c, u.Addr, perConn)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String(), roots, accepted
}

// relay passes so many questions on, then hangs up.
func relay(c net.Conn, to string, questions int) {
	for range questions {
		msg, err := readMessage(c)
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		_, err = up.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
		if err == nil {
			if msg, err = readMessage(up); err == nil {
				_, err = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
			}
		}
		_ = up.Close()
		if err != nil && err != io.EOF {
			return
		}
	}
}

func TestUpstreamOverTLS(t *testing.T) {
	var records []string
	for i := range 40 {
		records = append(records, fmt.Sprintf("www%d.example. 300 IN A 203.0.113.1", i))
	}
	u := testkit.NewUpstream(t, records...)
	ask40 := func(r *Resolver) {
		t.Helper()
		for i := range 40 {
			if got, want := ask(t, r, fmt.Sprintf("www%d.example", i), dns.TypeA), fmt.Sprintf("NOERROR | www%d.example. A 203.0.113.1", i); got != want {
				t.Errorf("Resolve = %s, want %s", got, want)
			}
		}
	}
	t.Run("connections are used again", func(t *testing.T) {
		addr, roots, accepted := overTLS(t, u, 1000)
		r := newResolver(t, Config{Servers: []string{"tls://" + addr + "#dns.example"}, Roots: roots})
		defer r.Close()
		ask40(r)
		if n := accepted.Load(); n > 3 {
			t.Errorf("%d connections for 40 questions", n)
		}
	})
	t.Run("one that the server has closed costs no answer", func(t *testing.T) {
		addr, roots, _ := overTLS(t, u, 3)
		r := newResolver(t, Config{Servers: []string{"tls://" + addr + "#dns.example"}, Roots: roots})
		defer r.Close()
		ask40(r)
	})
	for promise, spoil := range map[string]func(name *string, roots **x509.CertPool){
		"another name":         func(name *string, _ **x509.CertPool) { *name = "other.example" },
		"an unknown authority": func(_ *string, roots **x509.CertPool) { *roots = x509.NewCertPool() },
	} {
		t.Run(promise+" is not believed", func(t *testing.T) {
			addr, roots, accepted := overTLS(t, u, 10)
			name := "dns.example"
			spoil(&name, &roots)
			before := u.Asked("")
			r := newResolver(t, Config{Servers: []string{"tls://" + addr + "#" + name}, Roots: roots})
			defer r.Close()
			if got := ask(t, r, "www1.example", dns.TypeA); got != ErrFailed.Error() {
				t.Errorf("Resolve = %s, want %s", got, ErrFailed)
			}
			if u.Asked("") != before {
				t.Errorf("a question went to a server that could not show who it is (%d handshakes)", accepted.Load())
			}
		})
	}
	for _, bad := range []string{"tls://192.0.2.1", "tls://dns.example#dns.example", "tls://192.0.2.1:853#", "tls://192.0.2.1:0#a"} {
		if r, err := New(Config{Servers: []string{bad}}); err == nil {
			r.Close()
			t.Errorf("New(%s) = nil error", bad)
		}
	}
}
