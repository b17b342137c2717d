package upstream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
)

// listenTLS listens with a certificate for dns.example that roots vouch for.
func listenTLS(t *testing.T) (l net.Listener, roots *x509.CertPool) {
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
	l, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	return l, roots
}

// overTLS puts TLS in front of an upstream's TCP port and counts connections.
func overTLS(t *testing.T, u *testkit.Upstream, perConn int) (addr string, roots *x509.CertPool, accepted *atomic.Int64) {
	t.Helper()
	l, roots := listenTLS(t)
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

// slowTLS is a server over TLS that says of each question it reads whether to answer
// it; the address of what it answers is 203.0.113.1.
func slowTLS(t *testing.T, answers func(conn int, name string) bool) *streams {
	t.Helper()
	l, roots := listenTLS(t)
	var serving sync.WaitGroup
	serve := func(conn int, c net.Conn) {
		defer c.Close()
		for {
			wire, err := readMessage(c)
			if err != nil {
				return
			}
			var m dns.Msg
			if err := m.Unpack(wire); err != nil {
				t.Errorf("question cannot be read: %v", err)
				return
			}
			if !answers(conn, strings.ToLower(m.Question[0].Name)) {
				continue
			}
			m.SetReply(&m)
			rr, _ := dns.NewRR(m.Question[0].Name + " 300 IN A 203.0.113.1")
			m.Answer = append(m.Answer, rr)
			out, err := m.Pack()
			if err != nil {
				t.Errorf("answer cannot be written: %v", err)
				return
			}
			if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
				return
			}
		}
	}
	serving.Go(func() {
		for conn := 1; ; conn++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serve(conn, c) })
		}
	})
	s, err := parseTLS("tls://"+l.Addr().String()+"#dns.example", roots)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.close()
		_ = l.Close()
		serving.Wait()
	})
	return s
}

func overStream(ctx context.Context, s *streams, name string) error {
	wire, _ := WireName(name)
	_, err := s.exchange(ctx, Question{Name: wire, Type: dns.TypeA}, false, true)
	return err
}

// Names that nobody answers for, many more than there are connections, hold up no
// other name (fault F10), and their own end is that of who asked.
func TestSlowNamesOverTLS(t *testing.T) {
	t.Parallel()
	const slow = 5 * maxStreams
	read := make(chan string, slow)
	s := slowTLS(t, func(_ int, name string) bool {
		if strings.HasPrefix(name, "slow") {
			read <- name
			return false
		}
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for i := range slow {
		asking.Go(func() {
			if err := overStream(ctx, s, fmt.Sprintf("slow%d.example", i)); !errors.Is(err, context.Canceled) {
				t.Errorf("a question nobody answers = %v, want %v", err, context.Canceled)
			}
		})
	}
	late := time.After(20 * time.Second)
	for i := range slow {
		select {
		case <-read:
		case <-late:
			t.Fatalf("%d of %d questions reached the server", i, slow)
		}
	}
	for i := range 40 {
		if err := overStream(t.Context(), s, fmt.Sprintf("www%d.example", i)); err != nil {
			t.Errorf("a name beside slow ones: %v", err)
		}
	}
	s.mu.Lock()
	if n := len(s.open); n > maxStreams {
		t.Errorf("%d connections, want at most %d", n, maxStreams)
	}
	s.mu.Unlock()
	cancel()
	asking.Wait()
}

// A connection that has gone silent is given up by who waited on it in vain; who asks
// next, or waits on it as well, is asked for on another.
func TestSilentStream(t *testing.T) {
	t.Parallel()
	s := slowTLS(t, func(conn int, _ string) bool { return conn > 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 2*silentFor)
	defer cancel()
	if err := overStream(ctx, s, "first.example"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("on a silent connection: %v, want %v", err, context.DeadlineExceeded)
	}
	if err := overStream(t.Context(), s, "second.example"); err != nil {
		t.Errorf("after a silent connection: %v", err)
	}
}
