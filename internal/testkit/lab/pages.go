package lab

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// unlisted is a web proxy as it stands on a site that nobody knows (Y12).
const unlisted = `<!doctype html><title>Homework help</title><script src="/uv/uv.bundle.js"></script>
<script src="/uv/uv.config.js"></script><script>navigator.serviceWorker.register("/uv/uv.sw.js", {scope: __uv$config.prefix});
location.href = __uv$config.prefix + __uv$config.encodeUrl(address);</script>`

// frames is a page of an allowed site that shows a blocked one in every way that
// needs no other site (Y26, Y27): by scheme, and the pages that send on.
const frames = `<!doctype html><title>frames</title>
<iframe src="data:text/html,<iframe src=&quot;%[1]s://blocked.example/data&quot;></iframe>"></iframe>
<iframe srcdoc="<iframe src='%[1]s://blocked.example/srcdoc'></iframe>"></iframe>
<iframe src="%[1]s://blocked.example/frame"></iframe>
<iframe src="/redirect/%[2]s"></iframe>
<iframe src="/refresh/%[3]s"></iframe>
<img src="%[1]s://blocked.example/image">
<script>
const blob = document.createElement("iframe");
blob.src = URL.createObjectURL(new Blob(["<iframe src='%[1]s://blocked.example/blob'></iframe>"], {type: "text/html"}));
document.body.append(blob);
const script = document.createElement("iframe");
document.body.append(script);
script.src = "javascript:location='%[1]s://blocked.example/javascript'";
fetch("%[1]s://blocked.example/fetch", {mode: "no-cors"}).catch(() => {});
</script>`

// pages are what a host of the internet serves: its page, and pages that lead
// elsewhere. What it saw of a request that should not have reached it as it was is
// counted.
func (n *internet) pages(host string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.count("page " + host)
		n.count("request " + r.Host + r.URL.RequestURI())
		for _, name := range []string{"X-Forwarded-For", "Forwarded", "Via", "X-Forwarded-Host", "X-Real-Ip"} {
			if r.Header.Get(name) != "" {
				n.count("header " + name)
			}
		}
		if r.TLS != nil && r.TLS.ECHAccepted {
			n.count("ech accepted")
		}
		w.Header().Set(originHeader, host)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Alt-Svc", `h3=":443"; ma=86400`)
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		way, to, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if target, err := hex.DecodeString(to); err == nil && to != "" {
			to = string(target)
		}
		switch "/" + way {
		case "/homework":
			_, _ = io.WriteString(w, unlisted) // whoever is gone needs no answer
		case "/frames":
			encoded := func(path string) string { return hex.EncodeToString([]byte(scheme + "://blocked.example/" + path)) }
			fmt.Fprintf(w, frames, scheme, encoded("redirect"), encoded("refresh"))
		case "/redirect":
			http.Redirect(w, r, to, http.StatusFound)
		case "/refresh":
			fmt.Fprintf(w, `<meta http-equiv="refresh" content="0; url=%s">`, to)
		case "/socket":
			webSocket(w, r)
		case "/drip":
			drip(w, r)
		case "/heavy":
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = io.CopyN(w, zeros{}, heavy) // as above
		default:
			fmt.Fprintf(w, "<!doctype html><title>%s</title><h1>%s</h1><p>The page of host %s over %s.</p>", r.Host, r.Host, host, r.Proto)
		}
	})
}

// heavy is more than pages have, in bytes.
const heavy = 52 << 20

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// drip writes a line every 20 ms for as long as somebody listens.
func drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream") // no page that is read before it is passed on
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := fmt.Fprintln(w, greeting); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// webSocket takes an upgrade (RFC 6455) and sends back whatever comes.
func webSocket(w http.ResponseWriter, r *http.Request) {
	conn, br, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "no upgrade here", http.StatusBadRequest)
		return
	}
	defer conn.Close()
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err = io.WriteString(conn, strings.Join([]string{
		"HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]), "", "",
	}, "\r\n"))
	if err == nil {
		echo(conn, br)
	}
}

func echo(conn net.Conn, br *bufio.ReadWriter) {
	buf := make([]byte, 64<<10)
	for {
		count, err := br.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(buf[:count]); err != nil {
			return
		}
	}
}
