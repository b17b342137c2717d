package testkit

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Ports are given out below those that the kernel gives to outgoing connections,
// so that no connection of a test takes one before the appliance does.
const firstPort, lastPort = 20_000, 32_000

var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreePorts are ports of 127.0.0.1 that nothing listens on, over TCP or UDP. No
// port is given out twice in one process.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	given.Lock()
	defer given.Unlock()
	var ports []int
	for tries := 0; len(ports) < n; tries++ {
		if tries == 10_000 {
			t.Fatal("no free ports")
		}
		port := firstPort + rand.N(lastPort-firstPort)
		if !given.ports[port] && free(port) {
			given.ports[port] = true
			ports = append(ports, port)
		}
	}
	return ports
}

func free(port int) bool {
	addr := "127.0.0.1:" + strconv.Itoa(port)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		_ = l.Close() // it was free, and is given up
		return false
	}
	return errors.Join(p.Close(), l.Close()) == nil
}

// Ready waits until the appliance whose health page is at addr says that it is
// ready; the error tells what it said last. It gives up when gone is closed.
func Ready(addr string, within time.Duration, gone <-chan struct{}) error {
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	var last error
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-gone:
			return fmt.Errorf("%s ended before it was ready", addr)
		default:
		}
		resp, err := client.Get("http://" + addr + "/readyz")
		if err != nil {
			last = err
			continue
		}
		page, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		_ = resp.Body.Close() // it has been read
		if err == nil && resp.StatusCode == http.StatusOK {
			return nil
		}
		last = fmt.Errorf("%s: %s", resp.Status, page)
	}
	return fmt.Errorf("%s is not ready after %s: %w", addr, within, last)
}
