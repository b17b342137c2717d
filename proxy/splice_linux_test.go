package proxy

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// readBytes is what this process has had from read(2), write(2) and their like: what
// splice(2) moves is not among it.
func readBytes(t *testing.T) (read, written int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skipf("SKIPPED: the kernel does not tell what is read: %v", err)
	}
	if _, err := fmt.Sscanf(string(text), "rchar: %d\nwchar: %d", &read, &written); err != nil {
		t.Fatal(err)
	}
	return read, written
}

// TestBulkIsSpliced: most of what a tunnel carries in bulk never reaches our memory.
func TestBulkIsSpliced(t *testing.T) {
	const size = 128 << 20
	port, conns := standing(t)
	b := newBox(t, func(c *Config) { c.ConnectPorts = []uint16{portNumber(port)} })
	conn, origin := tunnelTo(t, b, port, conns)
	readBefore, writtenBefore := readBytes(t)
	go func() {
		defer origin.Close()
		part := strings.Repeat("x", 1<<20)
		for range size / len(part) {
			if _, err := io.WriteString(origin, part); err != nil {
				return // the client finds it short
			}
		}
	}()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, 1<<20))
	if n != size || err != nil {
		t.Fatalf("%d of %d bytes: %v", n, size, err)
	}
	read, written := readBytes(t)
	// Both ends are here: the client reads all of it, and the origin writes it.
	read, written = read-readBefore-size, written-writtenBefore-size
	t.Logf("of %d MiB the door read %d and wrote %d, the kernel moved the rest", size>>20, read>>20, written>>20)
	if read < 0 || read > size/2 || written > size/2 {
		t.Errorf("of %d bytes the door read %d and wrote %d", size, read, written)
	}
}
