package proxy

import (
	"mime"
	"net/http"
	"net/url"
	"strings"
)

const dnsMessage = "application/dns-message"

// asksDNS reports whether a request is a DNS question in HTTP clothes (RFC 8484):
// by its type, by what it would accept, or by a question in its parameters (Y4).
func asksDNS(r *http.Request) bool {
	if mediaType(r.Header.Get("Content-Type")) == dnsMessage {
		return true
	}
	for _, line := range r.Header["Accept"] {
		if strings.Contains(strings.ToLower(line), dnsMessage) {
			return true
		}
	}
	return strings.HasSuffix(r.URL.Path, "/dns-query") && (r.Method == http.MethodPost || strings.Contains("&"+r.URL.RawQuery, "&dns="))
}

func mediaType(text string) string {
	kind, _, err := mime.ParseMediaType(text)
	if err != nil {
		kind, _, _ = strings.Cut(text, ";")
	}
	return strings.ToLower(strings.TrimSpace(kind))
}

// unescaped is text without %-escapes, or as it is where they are none.
func unescaped(s string) string {
	if got, err := url.QueryUnescape(s); err == nil {
		return got
	}
	return s
}
