package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFewDescriptors: F14. With 256 descriptors and 2,000 clients new ones are turned
// away, the one that was there is served on, and within five seconds of their going
// anybody is. The door is a process of its own, for the bound is the process's.
func TestFewDescriptors(t *testing.T) {
	addr, port := doorApart(t, func() {
		few := unix.Rlimit{Cur: 256, Max: 256}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
			t.Fatal(err)
		}
	})
	old, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := askOver(old, port); err != nil {
		t.Fatalf("before: %v", err)
	}
	var crowd []net.Conn
	for range 2000 {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			break // the queue of the listener is full: refused as well
		}
		crowd = append(crowd, conn)
		io.WriteString(conn, "GET http://open.test/ HT")
	}
	if err := askOver(old, port); err != nil {
		t.Errorf("with %d clients more, the old one: %v", len(crowd), err)
	}
	for _, conn := range crowd {
		conn.Close()
	}
	servedSoon(t, addr, port)
}

// TestLittleMemory: F15. With a limit on memory newcomers are turned away before it is
// reached, first those who have many connections; who is there is served on, and within
// five seconds of their going anybody is.
func TestLittleMemory(t *testing.T) {
	addr, port := doorApart(t, func() { debug.SetMemoryLimit(64 << 20) })
	old, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := askOver(old, port); err != nil {
		t.Fatalf("before: %v", err)
	}
	var crowd []net.Conn
	defer func() {
		for _, conn := range crowd {
			conn.Close()
		}
	}()
	head := "GET http://open.test/ HTTP/1.1\r\nX: " + strings.Repeat("a", 60<<10) // which is kept until its end comes
	refused := func(conn net.Conn) bool {
		if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			return true
		}
		_, err := conn.Read(make([]byte, 1))
		return !errors.Is(err, os.ErrDeadlineExceeded)
	}
	for turnedAway := 0; turnedAway < 20; {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if crowd = append(crowd, conn); len(crowd) == 1000 {
			t.Fatalf("%d clients with 60 KiB each, and nobody was turned away", len(crowd))
		}
		if _, err := io.WriteString(conn, head); err != nil || refused(conn) {
			turnedAway++
		}
	}
	if err := askOver(old, port); err != nil {
		t.Errorf("with %d clients more, the old one: %v", len(crowd), err)
	}
	other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	if conn, err := other.Dial("tcp", addr); err != nil {
		t.Errorf("another client: %v", err)
	} else if err := askOver(conn, port); err != nil {
		t.Errorf("another client, with one connection: %v", err)
	}
	for _, conn := range crowd {
		conn.Close()
	}
	crowd = nil
	servedSoon(t, addr, port)
}

// doorApart serves in a process of its own, which limits itself first, until the test is
// over. In that process it does not return.
func doorApart(t *testing.T, limit func()) (addr, port string) {
	t.Helper()
	const apart = "SCHOOLGATE_TEST_DOOR_APART"
	if os.Getenv(apart) != "" {
		limit()
		o := origin(t, hello)
		b := newBox(t, nil)
		fmt.Printf("\ndoor %s %s\n", b.addr, portOf(t, o))
		io.Copy(io.Discard, os.Stdin) // until the test is over
		t.Skip("SKIPPED: the child of a test: the door that it asks")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), apart+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the door: %v", err)
		}
	})
	said := bufio.NewReader(out)
	for addr == "" {
		line, err := said.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if rest, ok := strings.CutPrefix(line, "door "); ok {
			fmt.Sscan(rest, &addr, &port)
		}
	}
	go io.Copy(io.Discard, said)
	return addr, port
}

// askOver asks an origin by way of the door.
func askOver(conn net.Conn, port string) error {
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	fmt.Fprintf(conn, "GET http://open.test:%s/ HTTP/1.1\r\nHost: x\r\n\r\n", port)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", resp.Status)
	}
	return err
}

// servedSoon wants that anybody is served again; thirty seconds are a bound for a busy machine.
func servedSoon(t *testing.T, addr, port string) {
	t.Helper()
	last := fmt.Errorf("never asked")
	for end := time.Now().Add(30 * time.Second); last != nil && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var conn net.Conn
		if conn, last = net.Dial("tcp", addr); last == nil {
			last = askOver(conn, port)
			conn.Close()
		}
	}
	if last != nil {
		t.Errorf("five seconds after they had gone: %v", last)
	}
}
