package proxy

import (
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
	kind, _, _ := strings.Cut(text, ";") // what mime.ParseMediaType does, without its parameters
	return strings.ToLower(strings.TrimSpace(kind))
}

// plainType is a media type fit for a record, "" for anything else: what an origin
// writes there is free text.
func plainType(text string) string {
	kind := mediaType(text)
	for i := range len(kind) {
		c := kind[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("/+-._", rune(c)) {
			return ""
		}
	}
	if len(kind) > 100 || strings.Count(kind, "/") != 1 {
		return ""
	}
	return kind
}

// unescaped is text without %-escapes, or as it is where they are none.
func unescaped(s string) string {
	if got, err := url.QueryUnescape(s); err == nil {
		return got
	}
	return s
}
