package terms

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"strings"

	"schoolgate/policy"
)

// youtubeSearch is where YouTube's pages and apps post a search, as JSON.
const youtubeSearch = "/youtubei/v1/search"

// Posts reports whether the body of a request to an address of a known engine may
// hold the words of a search: a form sent to its page of results (Startpage,
// Google), or what YouTube's pages and apps send.
func Posts(h policy.Host, path string) bool {
	e := engineOf(h)
	if e == nil {
		return false
	}
	where, _ := cutQuery(path)
	return e.json != "" && where == e.json || e.params != "" && matchesAny(e.paths, where)
}

// maxUnpacked bounds what a packed body may come to, in bytes.
const maxUnpacked = 256 << 10

// Posted gives the words of a posted search, of which start is the beginning;
// mediaType is without parameters, encoding "" or gzip. What it cannot read has none.
func Posted(h policy.Host, path, mediaType, encoding string, start []byte) (engine, words string, ok bool) {
	e := engineOf(h)
	if e == nil || len(start) == 0 {
		return "", "", false
	}
	start, ok = unpacked(encoding, start)
	where, _ := cutQuery(path)
	switch {
	case !ok:
	case e.json != "" && where == e.json:
		words = inJSON(start, "query")
	case mediaType == "application/x-www-form-urlencoded" && matchesAny(e.paths, where):
		words = e.inQuery(string(start))
	}
	return e.name, words, words != ""
}

// unpacked is a body without its encoding, as far as it goes.
func unpacked(encoding string, start []byte) ([]byte, bool) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return start, true
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(start))
		if err != nil {
			return nil, false
		}
		// Only the beginning is there, so it may well end too early.
		plain, err := io.ReadAll(io.LimitReader(z, maxUnpacked))
		return plain, err == nil || len(plain) > 0
	}
	return nil, false
}

// inJSON is the text of a field of the outermost object, as far as the body goes.
func inJSON(body []byte, field string) string {
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return ""
	}
	for {
		key, err := dec.Token()
		if err != nil || key == json.Delim('}') {
			return ""
		}
		if key == field {
			text := ""
			if dec.Decode(&text) != nil {
				return ""
			}
			return strings.TrimSpace(text)
		}
		var passed json.RawMessage
		if dec.Decode(&passed) != nil {
			return ""
		}
	}
}
