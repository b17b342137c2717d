package http1

import (
	"bufio"
	"net"
	"net/http"
	"testing"
)

// FuzzHead: whatever bytes come, the head that is let through is read by Go's parser
// as we counted it, and no more than it is taken.
func FuzzHead(f *testing.F) {
	f.Add([]byte("GET http://open.test/ HTTP/1.1\r\nHost: open.test\r\n\r\nbehind"))
	f.Fuzz(func(t *testing.T, data []byte) {
		server, client := net.Pipe()
		go func() { client.Write(data); client.Close() }()
		defer server.Close()
		in := &intake{conn: server}
		h, err := in.readHead(8<<10, func() error { return nil })
		if err != nil {
			return
		}
		size := in.head
		r, err := http.ReadRequest(bufio.NewReaderSize(in, 16))
		if err != nil {
			return
		}
		if in.head != 0 {
			t.Fatalf("%d of %d bytes of the head are left: %q", in.head, size, data)
		}
		if h.hosts > 1 || len(r.TransferEncoding) > 0 && r.ContentLength >= 0 || h.codings == 0 && len(r.TransferEncoding) > 0 || h.lengths == 0 && r.ContentLength > 0 {
			t.Fatalf("%+v is read as %+v", h, r)
		}
	})
}
