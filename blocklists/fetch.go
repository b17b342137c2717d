package blocklists

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Resolver finds the addresses of a name. The box gives its own, which nobody
// inside the school answers for.
type Resolver interface {
	LookupHost(ctx context.Context, name string) ([]netip.Addr, error)
}

// FetchOptions is what a Fetcher is made from.
type FetchOptions struct {
	Resolver Resolver       // nil is the operating system's
	Proxy    *url.URL       // nil goes straight out; the environment is not asked
	Roots    *x509.CertPool // nil is the operating system's
	Allow    []netip.Prefix // ranges inside the school that may hold a list
	Slowest  int64          // bytes a second, over each Window; 0 is 512
	Window   time.Duration  // 0 is 20 s
}

// Fetcher downloads lists. Whoever serves them is not trusted:
//
//   - TLS is verified, 1.2 or better; a redirect never leads back to plain http
//   - every address is looked at on the socket itself, so neither a name, an
//     answer of the DNS nor a redirect opens the inside of the school (T2)
//   - redirects, headers, size, speed and time are bounded
//   - a credential goes to the server of the feed's address and to no other
type Fetcher struct {
	client  *http.Client
	slowest int64
	window  time.Duration
}

// Bounds of a download that no feed has a reason to change.
const (
	maxRedirects  = 5
	maxHeaders    = 64 << 10 // bytes
	maxRetryAfter = 24 * time.Hour
)

// NewFetcher makes a Fetcher.
func NewFetcher(o FetchOptions) *Fetcher {
	orElse(&o.Slowest, 512)
	orElse(&o.Window, 20*time.Second)
	d := &dialer{resolver: o.Resolver, allow: o.Allow}
	transport := &http.Transport{
		DialContext:            d.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what comes is kept as it came; Read unpacks it under its bounds
		TLSHandshakeTimeout:    15 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxHeaders,
	}
	if o.Proxy != nil {
		transport.Proxy = http.ProxyURL(o.Proxy)
		d.proxy = proxyAddress(o.Proxy)
	}
	client := &http.Client{Transport: transport, CheckRedirect: d.redirect}
	return &Fetcher{client: client, slowest: o.Slowest, window: o.Window}
}

// Close hangs up connections kept for the next download.
func (f *Fetcher) Close() { f.client.CloseIdleConnections() }

// Validators are what a publisher gave with a copy, to be asked for changes with.
type Validators struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

// Download is one thing asked of a publisher.
type Download struct {
	URL      string
	Have     Validators // of the copy at hand; zero asks for everything
	MaxSize  int64
	Timeout  time.Duration
	Plain    bool                    // ask for the bytes as they are, since they will be compared with a checksum
	Progress func(done, total int64) // total is 0 where the publisher does not say; may be nil

	auth *credential // nil for none
}

// Downloaded is what came of it.
type Downloaded struct {
	Unchanged bool // nothing was written: the copy at hand is still what is published
	Validators
	Size   int64
	SHA256 string // of what was written, in hex
}

// StatusError is an answer other than the list.
type StatusError struct {
	Code  int
	After time.Duration // the publisher asks to be left alone for so long; 0 if not
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("the server answered %d %s", e.Code, http.StatusText(e.Code))
	if e.After > 0 {
		text += fmt.Sprintf(" and asks to wait %s", e.After)
	}
	return text
}

// Errors of a download.
var (
	ErrTooSlow  = errors.New("too slow: fewer bytes than a list may take its time for")
	ErrTooLarge = errors.New("larger than max_size")
	ErrRedirect = errors.New("redirect refused")
	ErrInside   = errors.New("an address inside the school, or of this box")
)

// Fetch downloads to w. After an error what was written must be thrown away.
func (f *Fetcher) Fetch(ctx context.Context, d Download, w io.Writer) (Downloaded, error) {
	got, err := f.fetch(ctx, d, w)
	if err != nil {
		return got, fmt.Errorf("fetching %s: %w", d.URL, trimmed(err))
	}
	return got, nil
}

// trimmed drops net/http's own repetition of method and address.
func trimmed(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func (f *Fetcher) fetch(ctx context.Context, d Download, w io.Writer) (Downloaded, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.Timeout, fmt.Errorf("not done within %s", d.Timeout))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	req, err := request(ctx, d)
	if err != nil {
		return Downloaded{}, err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return Downloaded{}, causeOf(ctx, err)
	}
	defer resp.Body.Close()
	got := Downloaded{Validators: Validators{
		ETag: validator(resp, "ETag"), LastModified: validator(resp, "Last-Modified"),
	}}
	switch {
	case resp.StatusCode == http.StatusNotModified && d.Have != Validators{}:
		got.Unchanged = true
		return got, nil
	case resp.StatusCode != http.StatusOK:
		return got, &StatusError{Code: resp.StatusCode, After: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	case resp.ContentLength > d.MaxSize:
		return got, fmt.Errorf("%w: %d bytes", ErrTooLarge, resp.ContentLength)
	}
	body := &bodyReader{r: resp.Body, left: d.MaxSize, total: max(0, resp.ContentLength), progress: d.Progress}
	watched := f.watch(ctx, body, stop)
	sum := sha256.New()
	got.Size, err = io.Copy(io.MultiWriter(w, sum), body)
	watched()
	got.SHA256 = hex.EncodeToString(sum.Sum(nil))
	if err == nil {
		err = ctx.Err() // a server that is hung up on may end what it sent as if that were all
	}
	return got, causeOf(ctx, err)
}

func request(ctx context.Context, d Download) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "schoolgate (a school's filter, fetching its lists)")
	if !d.Plain {
		req.Header.Set("Accept-Encoding", "gzip")
	}
	if d.Have.ETag != "" {
		req.Header.Set("If-None-Match", d.Have.ETag)
	}
	if d.Have.LastModified != "" {
		req.Header.Set("If-Modified-Since", d.Have.LastModified)
	}
	return d.auth.on(req), nil
}

// causeOf says why the context ended, where that is what ended the download.
func causeOf(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ended before the length the server gave")
	}
	return err
}

// maxValidator bounds an ETag that is kept and sent back.
const maxValidator = 256

func validator(resp *http.Response, name string) string {
	if v := resp.Header.Get(name); len(v) <= maxValidator {
		return v
	}
	return ""
}

// retryAfter reads seconds or a date. What the publisher asks for is bounded: it
// must not be able to stop the box asking.
func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// bodyReader counts what arrives and stops at the bound.
type bodyReader struct {
	r           io.Reader
	left, total int64
	done        atomic.Int64
	progress    func(done, total int64)
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.left -= int64(n)
	done := b.done.Add(int64(n))
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	if b.progress != nil {
		b.progress(done, b.total)
	}
	return n, err
}

// watch ends a download that drips: in each window some bytes must arrive. The
// function it gives back ends the watch.
func (f *Fetcher) watch(ctx context.Context, b *bodyReader, stop context.CancelCauseFunc) (end func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(f.window)
		defer tick.Stop()
		need := int64(float64(f.slowest) * f.window.Seconds())
		for last := int64(0); ; {
			select {
			case <-over:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			done := b.done.Load()
			if done-last < need {
				stop(fmt.Errorf("%w (%d bytes in %s)", ErrTooSlow, done-last, f.window))
				return
			}
			last = done
		}
	}()
	return func() { close(over); <-ended }
}
