package sniff

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// browserHello is what Go's own client sends today, with post-quantum keys.
func browserHello(t testing.TB, name string) []byte {
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		tls.Client(client, &tls.Config{ServerName: name, NextProtos: []string{"h2", "http/1.1"}, InsecureSkipVerify: name == ""}).Handshake()
		client.Close()
	}()
	h, err := Read(server, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return h.Raw
}

// ext is one extension, and the functions below build hellos of any shape.
type ext struct {
	kind uint16
	body []byte
}

func u16(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }

func vec16(b []byte) []byte { return append(u16(len(b)), b...) }

func name(hosts ...string) ext {
	var list []byte
	for _, h := range hosts {
		list = append(append(list, 0), vec16([]byte(h))...)
	}
	return ext{extServerName, vec16(list)}
}

func alpn(protocols ...string) ext {
	var list []byte
	for _, p := range protocols {
		list = append(append(list, byte(len(p))), p...)
	}
	return ext{extALPN, vec16(list)}
}

func body(exts ...ext) []byte {
	b := append(u16(0x0303), make([]byte, 32)...) // version, random
	b = append(b, 0)                              // session id
	b = append(b, vec16([]byte{0x13, 0x01})...)
	b = append(b, 1, 0) // compression
	var list []byte
	for _, e := range exts {
		list = append(append(list, u16(int(e.kind))...), vec16(e.body)...)
	}
	return append(b, vec16(list)...)
}

func message(body []byte) []byte {
	n := len(body)
	return append([]byte{clientHello, byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

// records cuts a message into records of at most n bytes.
func records(msg []byte, n int) (out []byte) {
	for part := range slices.Chunk(msg, n) {
		out = append(append(out, recordHandshake, 3, 1), vec16(part)...)
	}
	return out
}

func whole(exts ...ext) []byte { return records(message(body(exts...)), maxRecord) }

var grease = ext{0x1a1a, nil}

type seen struct {
	SNI     string
	ALPN    []string
	ECH     bool
	Version uint16
}

func TestRead(t *testing.T) {
	pq := ext{51, vec16(make([]byte, 1216))}
	versions := ext{extSupportedVersions, []byte{6, 0x7a, 0x7a, 3, 4, 3, 3}}
	for _, c := range []struct {
		name string
		in   []byte
		want seen
		err  error
	}{
		{"a name", whole(name("a.example")), seen{"a.example", nil, false, 0x0303}, nil},
		{"no name", whole(alpn("h2")), seen{"", []string{"h2"}, false, 0x0303}, nil},
		{"no extensions at all", records(message(body()[:len(body())-2]), maxRecord), seen{Version: 0x0303}, nil},
		{"GREASE, versions, post-quantum keys", whole(grease, name("a.example"), versions, pq, grease, alpn("h2", "http/1.1")),
			seen{"a.example", []string{"h2", "http/1.1"}, false, 0x0304}, nil},
		{"ECH with its outer name", whole(name("cloudflare-ech.com"), ext{extECH, make([]byte, 200)}), seen{"cloudflare-ech.com", nil, true, 0x0303}, nil},
		{"one byte a record", records(message(body(name("a.example"), pq)), 1), seen{"a.example", nil, false, 0x0303}, nil},
		{"cut inside the name", records(message(body(name("a.example"))), 60), seen{"a.example", nil, false, 0x0303}, nil},
		{"40 KiB of padding in three records", whole(name("a.example"), ext{21, make([]byte, 40<<10)}), seen{"a.example", nil, false, 0x0303}, nil},
		{"bytes behind the hello are kept", append(whole(name("a.example")), "more"...), seen{"a.example", nil, false, 0x0303}, nil},
		{"another kind of name beside the host", whole(ext{0, vec16(append([]byte{7, 0, 1, 'x'}, name("a.example").body[2:]...))}), seen{"a.example", nil, false, 0x0303}, nil},

		{"two names in one list", whole(name("a.example", "b.example")), seen{}, ErrTwoNames},
		{"the extension twice", whole(name("a.example"), name("b.example")), seen{}, ErrTwoNames},
		{"ALPN twice", whole(alpn("h2"), alpn("h2")), seen{}, ErrMalformed},
		{"an empty name", whole(name("")), seen{}, ErrMalformed},
		{"an empty list of names", whole(ext{0, vec16(nil)}), seen{}, ErrMalformed},
		{"bytes behind the list of names", whole(ext{0, append(name("a.example").body, 0)}), seen{}, ErrMalformed},
		{"extensions longer than the message", records(message(append(body()[:len(body())-2], 0, 9)), maxRecord), seen{}, ErrMalformed},
		{"an extension longer than its list", records(message(append(body()[:len(body())-2], 0, 4, 0, 0, 0, 9)), maxRecord), seen{}, ErrMalformed},
		{"cut before the ciphers", records(message(make([]byte, 20)), maxRecord), seen{}, ErrMalformed},
		{"an odd list of versions", whole(ext{extSupportedVersions, []byte{3, 3, 4, 3}}), seen{}, ErrMalformed},
		{"an empty record", append([]byte{22, 3, 1, 0, 0}, whole(name("a.example"))...), seen{}, ErrMalformed},
		{"an alert inside the hello", slices.Concat(records(message(body(name("a.example"))), 60)[:65], []byte{21, 3, 1, 0, 2, 2, 40}), seen{}, ErrMalformed},
		{"a ServerHello", records(append([]byte{2}, message(body())[1:]...), maxRecord), seen{}, ErrMalformed},
		{"a record beyond 16 KiB", []byte{22, 3, 1, 0xff, 0xff}, seen{}, ErrMalformed},
		{"says it has 16 MiB", []byte{22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff}, seen{}, ErrTooLarge},
		{"record version 9", []byte{22, 9, 1, 0, 4, 1, 0, 0, 0}, seen{}, ErrNotTLS},
		{"SSLv2", []byte{0x80, 0x2e, 1, 0, 2, 0, 21, 0, 0, 0, 16}, seen{}, ErrSSLv2},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), seen{}, ErrNotTLS},
		{"SSH", []byte("SSH-2.0-OpenSSH\r\n"), seen{}, ErrNotTLS},
		{"SOCKS5", []byte{5, 1, 0}, seen{}, ErrNotTLS},
		{"nothing", nil, seen{}, ErrTruncated},
		{"half a header", []byte{22, 3}, seen{}, ErrTruncated},
		{"half a hello", whole(name("a.example"))[:40], seen{}, ErrTruncated},
	} {
		for way, r := range map[string]io.Reader{
			"at once": bytes.NewReader(c.in), "byte by byte": iotest.OneByteReader(bytes.NewReader(c.in)),
			"with the end": iotest.DataErrReader(bytes.NewReader(c.in)),
		} {
			h, err := Read(r, Limits{})
			if !errors.Is(err, c.err) {
				t.Errorf("%s, %s: error %v, want %v", c.name, way, err, c.err)
			}
			if !bytes.HasPrefix(c.in, h.Raw) {
				t.Errorf("%s, %s: Raw is not what was sent", c.name, way)
			}
			if err == nil {
				if diff := cmp.Diff(c.want, seen{h.SNI, slices.Collect(h.ALPN()), h.ECH, h.MaxVersion()}); diff != "" {
					t.Errorf("%s, %s (-want +got):\n%s", c.name, way, diff)
				}
			}
		}
	}
}

// TestBrowser: what a real client sends is read and kept to the byte.
func TestBrowser(t *testing.T) {
	for _, host := range []string{"www.example.org", ""} {
		raw := browserHello(t, host)
		h, err := Read(bytes.NewReader(raw), Limits{})
		if err != nil || h.SNI != host || h.MaxVersion() != tls.VersionTLS13 || !bytes.Equal(h.Raw, raw) {
			t.Errorf("%q: %+v, %v", host, h, err)
		}
	}
}

// TestBounds: no more is read than the bound allows, and a reader's own error
// comes through, so that a deadline is seen as one.
func TestBounds(t *testing.T) {
	in := whole(name("a.example"), ext{21, make([]byte, 8000)})
	h, err := Read(bytes.NewReader(in), Limits{Bytes: 4096})
	if !errors.Is(err, ErrTooLarge) || len(h.Raw) > 4096 {
		t.Errorf("%d bytes read, %v", len(h.Raw), err)
	}
	if _, err := Read(bytes.NewReader(records(message(body(ext{21, make([]byte, 3000)})), 1)), Limits{Bytes: 4096}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("dribbled: %v", err)
	}
	if _, err := Read(iotest.ErrReader(io.ErrClosedPipe), Limits{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("reader's error: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(whole(grease, name("a.example"), alpn("h2")))
	f.Add(records(message(body(name("a.example"))), 7))
	f.Add(whole(name("a.example", "b.example")))
	f.Add([]byte{0x80, 0x2e, 1, 0, 2})
	f.Add(browserHello(f, "www.example.org"))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, errA := Read(bytes.NewReader(in), Limits{Bytes: 4096})
		b, errB := Read(iotest.OneByteReader(bytes.NewReader(in)), Limits{Bytes: 4096})
		if (errA == nil) != (errB == nil) || a.SNI != b.SNI && errA == nil || a.ECH != b.ECH && errA == nil {
			t.Errorf("read differently in one piece (%+v, %v) and byte by byte (%+v, %v)", a, errA, b, errB)
		}
		if len(a.Raw) > 4096 || !bytes.HasPrefix(in, a.Raw) || !bytes.HasPrefix(in, b.Raw) {
			t.Error("Raw is not the beginning of what came")
		}
		for range a.ALPN() {
		}
		a.MaxVersion()
	})
}

func BenchmarkRead(b *testing.B) {
	hello := browserHello(b, "www.example.org")
	for _, c := range []struct {
		name string
		in   []byte
	}{{"one_record", hello}, {"split_records", records(hello[5:], 500)}} {
		b.Run(c.name, func(b *testing.B) {
			buf := make([]byte, 0, 4096)
			r := bytes.NewReader(nil)
			b.ReportAllocs()
			for b.Loop() {
				r.Reset(c.in)
				if _, err := Read(r, Limits{Buffer: buf}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
