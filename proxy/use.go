package proxy

import (
	"net/http"
	"strings"

	"schoolgate/policy"
)

// useOf tells a page that a person opened from what pages and programs fetch by
// themselves (R42), by what the browser says of it: Fetch Metadata inside TLS, and
// for old browsers and plain HTTP, where there is none, what would be accepted.
func useOf(r *http.Request) policy.Use {
	mode := r.Header.Get("Sec-Fetch-Mode")
	switch {
	case strings.Contains(r.Header.Get("Sec-Purpose")+r.Header.Get("Purpose"), "prefetch"):
		return policy.UseBackground // shown to nobody, and perhaps never will be
	case mode == "":
		return useByAccept(r)
	case mode != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document":
		return policy.UseBackground
	case r.Header.Get("Sec-Fetch-User") == "?1" || r.Header.Get("Sec-Fetch-Site") == "none":
		return policy.UsePerson
	}
	return policy.UseBackground // a page that led on by itself
}

func useByAccept(r *http.Request) policy.Use {
	accept := strings.ToLower(r.Header.Get("Accept"))
	switch {
	case r.Header.Get("X-Requested-With") != "":
		return policy.UseBackground
	case strings.HasPrefix(accept, "text/html"):
		return policy.UsePerson
	case accept == "" || accept == "*/*" && r.Header.Get("Referer") == "":
		return policy.UseUnknown // a program, or a browser too old to tell
	}
	return policy.UseBackground
}
