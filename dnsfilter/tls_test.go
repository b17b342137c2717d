package dnsfilter

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"

	"schoolgate/internal/testkit"
	"schoolgate/policy"
)

// certificate is one for dns.school.test, and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"dns.school.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// DNS over TLS is the same door: the same verdicts, and junk harms nobody.
func TestDNSOverTLS(t *testing.T) {
	cert, pool := certificate(t)
	d := openDoor(t, rules{"": allowed(), "casino.example": blocked(policy.Gambling)}, func(c *Config) {
		c.ListenTLS, c.TLS = []string{"127.0.0.1:0"}, &tls.Config{Certificates: []tls.Certificate{cert}}
	}, "open.example. 300 IN A 203.0.113.1")
	addr := d.TLSAddrs()[0].String()
	for _, junk := range []string{"", "\x00\x10not TLS at all....", "GET / HTTP/1.1\r\n\r\n"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(junk)) // the server may have closed it
		_ = conn.Close()
	}
	c := dns.Client{Net: "tcp-tls", Timeout: 5 * time.Second, TLSConfig: &tls.Config{RootCAs: pool, ServerName: "dns.school.test"}}
	conn, err := c.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for name, want := range map[string]string{"open.example": "NOERROR | A 203.0.113.1", "casino.example": "NOERROR | A 192.0.2.80"} {
		r, _, err := c.ExchangeWithConn(question(name, dns.TypeA), conn)
		if err != nil {
			t.Fatal(err)
		}
		if got := said(r); got != want {
			t.Errorf("%s over TLS = %s, want %s", name, got, want)
		}
	}
	old := dns.Client{Net: "tcp-tls", Timeout: 5 * time.Second, TLSConfig: &tls.Config{RootCAs: pool, ServerName: "dns.school.test", MaxVersion: tls.VersionTLS11}}
	if conn, err := old.Dial(addr); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 is served")
	}
}

// The school's own reverse zone is asked of the school's own server, though it
// lies within a zone that else ends here.
func TestOwnReverseZone(t *testing.T) {
	own := testkit.NewUpstream(t, "7.1.168.192.in-addr.arpa. 300 IN PTR pc7.school.test.", "pc7.school.test. 300 IN A 192.168.1.7")
	d := openDoor(t, rules{"": allowed()}, func(c *Config) {
		c.Zones = map[string][]string{"1.168.192.in-addr.arpa": {own.Addr}, "school.test": {own.Addr}}
	})
	for _, tc := range []struct {
		name  string
		qtype uint16
		want  string
	}{
		{"7.1.168.192.in-addr.arpa", dns.TypePTR, "NOERROR | PTR pc7.school.test."},
		{"7.2.168.192.in-addr.arpa", dns.TypePTR, "NXDOMAIN"},
		{"pc7.school.test", dns.TypeA, "NOERROR | A 192.168.1.7"},
	} {
		if got := said(d.ask(t, tc.name, tc.qtype)); got != tc.want {
			t.Errorf("%s = %s, want %s", tc.name, got, tc.want)
		}
	}
	if n := d.upstream.Asked(""); n != 0 {
		t.Errorf("%d questions about the school's inside left it", n)
	}
}
