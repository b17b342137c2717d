package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// browser is one client of a proxy.
type browser struct {
	from  string
	trust *x509.CertPool
}

func (b browser) dial(addr string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(b.from)}, Timeout: 10 * time.Second}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(2 * time.Minute)) // nothing here takes longer
}

// client is a connection that asks.
type client struct {
	net.Conn
	in *bufio.Reader
}

func newClient(c net.Conn) *client { return &client{c, bufio.NewReaderSize(c, 16<<10)} }

// ask sends a request and reads the reply to its end, with as little work as can be.
func (c *client) ask(request []byte, status string) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	length := 0
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line[9:], []byte(status)) {
			return fmt.Errorf("reply %q", line)
		}
		if len(line) <= 2 {
			break
		}
		if bytes.EqualFold(line[:min(15, len(line))], []byte("content-length:")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[15:]))); err != nil {
				return err
			}
		}
	}
	_, err := c.in.Discard(length)
	return err
}

func (b browser) connect(proxy, authority string) (net.Conn, error) {
	conn, err := b.dial(proxy)
	if err != nil {
		return nil, err
	}
	c := newClient(conn)
	if err := c.ask([]byte("CONNECT "+authority+" HTTP/1.1\r\nHost: "+authority+"\r\n\r\n"), "200"); err != nil {
		conn.Close()
		return nil, fmt.Errorf("CONNECT: %w", err)
	}
	return conn, nil
}

// secure begins TLS on a connection; without a proxy in between, to the origin.
func (b browser) secure(conn net.Conn, host string) (net.Conn, error) {
	c := tls.Client(conn, &tls.Config{RootCAs: b.trust, ServerName: host, NextProtos: []string{"http/1.1"}})
	if err := c.Handshake(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("handshake for %s: %w", host, err)
	}
	return c, nil
}

func get(target, host string) []byte {
	return []byte("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101\r\n" +
		"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nCookie: a=0123456789abcdef0123456789abcdef\r\n\r\n")
}

// work is done over and over by one goroutine: begin makes what is kept, the rest
// does it once.
type work func() (once func() error, end func(), err error)

// result of a turn.
type result struct {
	rate float64 // a second
	cpu  float64 // µs of the proxy's CPU for each
}

// turn lets some goroutines do work for a time and says what the proxy made of it.
func turn(p peer, w work, at int, length time.Duration) (result, error) {
	var done atomic.Int64
	var wait sync.WaitGroup
	var mu sync.Mutex
	var trouble error
	ready, stop := make(chan struct{}), make(chan struct{})
	var begun sync.WaitGroup
	for range at {
		begun.Add(1)
		wait.Go(func() {
			once, end, err := w()
			if err == nil {
				err = once() // warms up
			}
			begun.Done()
			<-ready
			for err == nil {
				select {
				case <-stop:
					end()
					return
				default:
				}
				if err = once(); err == nil {
					done.Add(1)
				}
			}
			mu.Lock()
			trouble = err // of many the last is enough
			mu.Unlock()
		})
	}
	begun.Wait()
	cpu, began := p.cpu(), time.Now()
	close(ready)
	time.Sleep(length)
	n, took, used := done.Load(), time.Since(began), p.cpu()-cpu
	close(stop)
	wait.Wait()
	if n == 0 {
		return result{}, errors.Join(errors.New("nothing was done"), trouble)
	}
	return result{float64(n) / took.Seconds(), float64(used.Microseconds()) / float64(n)}, trouble
}

// keptPlain asks over one connection.
func (b browser) keptPlain(proxy, host, path, status string) work {
	request := get("http://"+host+path, host)
	return func() (func() error, func(), error) {
		conn, err := b.dial(proxy)
		if err != nil {
			return nil, nil, err
		}
		c := newClient(conn)
		return func() error { return c.ask(request, status) }, func() { conn.Close() }, nil
	}
}

// opened opens a connection for each; by says how it is opened.
func (b browser) opened(by func(host string) (net.Conn, error), host func() string, path string) work {
	return func() (func() error, func(), error) {
		once := func() error {
			name := host()
			conn, err := by(name)
			if err != nil {
				return err
			}
			defer conn.Close()
			c, err := b.secure(conn, name)
			if err != nil || path == "" {
				return err
			}
			return newClient(c).ask(get(path, name), "200")
		}
		return once, func() {}, nil
	}
}

// keptInside asks over one connection inside a tunnel.
func (b browser) keptInside(by func(host string) (net.Conn, error), path string) work {
	return func() (func() error, func(), error) {
		conn, err := by(siteHost)
		if err != nil {
			return nil, nil, err
		}
		secure, err := b.secure(conn, siteHost)
		if err != nil {
			return nil, nil, err
		}
		c, request := newClient(secure), get(path, siteHost)
		return func() error { return c.ask(request, "200") }, func() { conn.Close() }, nil
	}
}

// keptHTTP2 asks over one connection of several streams.
func (b browser) keptHTTP2(by func(host string) (net.Conn, error), path string) work {
	shared := &http.Transport{
		ForceAttemptHTTP2: true, DisableCompression: true,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			conn, err := by(siteHost)
			if err != nil {
				return nil, err
			}
			c := tls.Client(conn, &tls.Config{RootCAs: b.trust, ServerName: siteHost, NextProtos: []string{"h2"}})
			return c, c.Handshake()
		},
	}
	return func() (func() error, func(), error) {
		return func() error {
			resp, err := shared.RoundTrip(must(http.NewRequest("GET", "https://"+siteHost+path, nil)))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.ProtoMajor != 2 || resp.StatusCode != 200 {
				return fmt.Errorf("%s %s", resp.Proto, resp.Status)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		}, shared.CloseIdleConnections, nil
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// bulk fetches so many bytes through a tunnel; each is counted in MB.
func (b browser) bulk(proxy string, size uint64) (seconds float64, err error) {
	conn, err := b.connect(proxy, siteHost+":"+bulkPort)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	began := time.Now()
	if _, err := conn.Write(binary.BigEndian.AppendUint64(helloFor(siteHost), size)); err != nil {
		return 0, err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(conn, int64(size)), make([]byte, 256<<10))
	if err == nil && n != int64(size) {
		err = io.ErrUnexpectedEOF
	}
	return time.Since(began).Seconds(), err
}

// helloFor is a ClientHello as Go sends it.
func helloFor(name string) []byte {
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: name}).Handshake() // it ends with the pipe
	}()
	buf := make([]byte, 4096)
	n := must(server.Read(buf))
	return buf[:n]
}

// firstByte is how long a byte took from the origin's write to the client's read, on
// an open connection.
func firstByte(conn net.Conn, target string) (time.Duration, error) {
	if _, err := conn.Write(get(target, siteHost)); err != nil {
		return 0, err
	}
	br := bufio.NewReader(conn)
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
	}
	var sent uint64
	if err := binary.Read(br, binary.BigEndian, &sent); err != nil {
		return 0, err
	}
	return time.Duration(time.Now().UnixNano() - int64(sent)), nil
}
