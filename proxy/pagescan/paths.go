package pagescan

import "strings"

// ProxyPath reports whether a path is one that only a web proxy in the browser asks
// for (Y12): its programs, and the channels its pages come through.
func ProxyPath(path string) bool {
	path, _, _ = strings.Cut(path, "?")
	path = strings.ToLower(path)
	for _, end := range []string{
		"/wisp/", "/uv.bundle.js", "/uv.handler.js", "/uv.client.js", "/uv.sw.js", "/scramjet.all.js", "/scramjet.bundle.js", "/scramjet.worker.js",
		"/scramjet.client.js", "/scramjet.wasm.wasm", "/baremux/worker.js", "/bare-mux/worker.js", "/rammerhead.js", "/bare/v2/", "/bare/v3/",
	} {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	return false
}
