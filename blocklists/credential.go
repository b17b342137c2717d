package blocklists

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"regexp"
	"strings"
)

// credential is what a publisher asks for before it gives a list. It is read for
// each download, so that it may be changed at any time, and is never kept, logged
// or sent to another server than the one in the feed's address.
type credential struct{ name, value string }

// maxCredential bounds the file, in bytes.
const maxCredential = 4 << 10

var (
	headerName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,63}$`)
	printable  = regexp.MustCompile(`^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$`)
)

// ErrCredential: the file of a feed's credential is not usable. Its text is never
// part of the message.
var ErrCredential = errors.New("auth_file")

// readCredential reads the one line of a feed's auth_file: "basic USER:PASSWORD",
// "bearer TOKEN" or "header NAME: VALUE".
func readCredential(path string) (*credential, error) {
	if path == "" {
		return nil, nil
	}
	text, err := readSecret(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCredential, err)
	}
	c, err := parseCredential(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCredential, path, err)
	}
	return c, nil
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a file", path)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s can be read by others than its owner (mode %o): run chmod 600 on it", path, info.Mode().Perm())
	case info.Size() > maxCredential:
		return "", fmt.Errorf("%s: more than %d bytes", path, maxCredential)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxCredential))
	return string(text), err
}

func parseCredential(text string) (*credential, error) {
	line := strings.TrimSpace(text)
	kind, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	want := errors.New(`want one line: basic USER:PASSWORD, bearer TOKEN or header NAME: VALUE`)
	if !printable.MatchString(rest) {
		return nil, want
	}
	switch strings.ToLower(kind) {
	case "basic":
		if user, _, ok := strings.Cut(rest, ":"); !ok || user == "" {
			return nil, want
		}
		return &credential{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(rest))}, nil
	case "bearer":
		if strings.Contains(rest, " ") {
			return nil, want
		}
		return &credential{"Authorization", "Bearer " + rest}, nil
	case "header":
		name, value, ok := strings.Cut(rest, ":")
		value = strings.TrimSpace(value)
		if !ok || !headerName.MatchString(name) || value == "" || ours[textproto.CanonicalMIMEHeaderKey(name)] {
			return nil, want
		}
		return &credential{textproto.CanonicalMIMEHeaderKey(name), value}, nil
	}
	return nil, want
}

// ours are headers that a credential may not replace.
var ours = map[string]bool{
	"Host": true, "User-Agent": true, "Accept-Encoding": true, "If-None-Match": true, "If-Modified-Since": true,
	"Content-Length": true, "Transfer-Encoding": true, "Connection": true, "Range": true,
}

type credentialKey struct{}

// on puts the credential on the first request of a download. [dialer.redirect]
// takes it off again where a redirect leads to another server.
func (c *credential) on(req *http.Request) *http.Request {
	if c == nil {
		return req
	}
	req = req.WithContext(context.WithValue(req.Context(), credentialKey{}, c))
	req.Header.Set(c.name, c.value)
	return req
}

// dropCredential takes the credential off a redirected request, unless each step
// was at the server that it is for.
func dropCredential(next *http.Request, via []*http.Request) {
	c, ok := next.Context().Value(credentialKey{}).(*credential)
	if !ok {
		return
	}
	for _, step := range append(via[1:len(via):len(via)], next) {
		if !sameServer(via[0].URL, step.URL) {
			next.Header.Del(c.name)
			return
		}
	}
}

func sameServer(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && proxyAddress(a) == proxyAddress(b)
}

// credentialFor is the credential where a small file beside a list is asked of the
// server that the list is on, and none elsewhere.
func (r Remote) credentialFor(address string, c *credential) *credential {
	list, err := url.Parse(r.URL)
	if err != nil {
		return nil
	}
	if other, err := url.Parse(address); err != nil || !sameServer(list, other) {
		return nil
	}
	return c
}
