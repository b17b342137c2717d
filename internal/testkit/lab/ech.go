package lab

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"net"
	"testing"

	"github.com/miekg/dns"
)

// extensionECH is the number of the encrypted_client_hello extension.
const extensionECH = 0xfe0d

// encryptedHello is what a server of encrypted hellos publishes and keeps, one key
// for each name that shows in their place.
type encryptedHello struct {
	keys  []tls.EncryptedClientHelloKey
	lists map[string][]byte // by that name: what a browser is configured with
	first string
}

func newEncryptedHello(t testing.TB, names ...string) *encryptedHello {
	t.Helper()
	e := &encryptedHello{lists: map[string][]byte{}, first: names[0]}
	for id, name := range names {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		config := echConfig(byte(id+1), key.PublicKey().Bytes(), name)
		e.keys = append(e.keys, tls.EncryptedClientHelloKey{Config: config, PrivateKey: key.Bytes()})
		e.lists[name] = append(binary.BigEndian.AppendUint16(nil, uint16(len(config))), config...)
	}
	return e
}

// echConfig writes an ECHConfig (RFC 9849 section 4): DHKEM with X25519, HKDF-SHA256
// and AES-128-GCM.
func echConfig(id byte, key []byte, name string) []byte {
	const kem, kdf, aead = 0x0020, 0x0001, 0x0001
	be := binary.BigEndian
	body := be.AppendUint16([]byte{id}, kem)
	body = append(be.AppendUint16(body, uint16(len(key))), key...)
	body = be.AppendUint16(be.AppendUint16(be.AppendUint16(body, 4), kdf), aead)
	body = append(body, 0, byte(len(name)))
	body = be.AppendUint16(append(body, name...), 0)
	return append(be.AppendUint16(be.AppendUint16(nil, extensionECH), uint16(len(body))), body...)
}

// records are the HTTPS records of a site behind it.
func (e *encryptedHello) records(name string) []dns.RR {
	h := dns.RR_Header{Name: name, Rrtype: dns.TypeHTTPS, Class: dns.ClassINET, Ttl: 60}
	return []dns.RR{&dns.HTTPS{SVCB: dns.SVCB{Hdr: h, Priority: 1, Target: ".", Value: []dns.SVCBKeyValue{
		&dns.SVCBAlpn{Alpn: []string{"h3", "h2"}},
		&dns.SVCBIPv4Hint{Hint: []net.IP{net.ParseIP(Address(hostFront, false)).To4()}},
		&dns.SVCBECHConfig{ECH: e.lists[e.first]},
	}}}}
}
