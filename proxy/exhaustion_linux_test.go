package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFewDescriptors: F14. With 256 descriptors and 2,000 clients new ones are turned
// away, the one that was there is served on, and within five seconds of their going
// anybody is. The door is a process of its own, for the bound is the process's.
func TestFewDescriptors(t *testing.T) {
	if os.Getenv("SCHOOLGATE_FEW_DESCRIPTORS") != "" {
		serveWithFew(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFewDescriptors$", "-test.v")
	cmd.Env = append(os.Environ(), "SCHOOLGATE_FEW_DESCRIPTORS=1")
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
	defer func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the door: %v", err)
		}
	}()
	said := bufio.NewReader(out)
	addr, origin := "", ""
	for addr == "" {
		line, err := said.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if rest, ok := strings.CutPrefix(line, "door "); ok {
			fmt.Sscan(rest, &addr, &origin)
		}
	}
	go io.Copy(io.Discard, said)
	ask := func(conn net.Conn) error {
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return err
		}
		fmt.Fprintf(conn, "GET http://open.test:%s/ HTTP/1.1\r\nHost: x\r\n\r\n", origin)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s", resp.Status)
		}
		return err
	}
	old, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := ask(old); err != nil {
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
	if err := ask(old); err != nil {
		t.Errorf("with %d clients more, the old one: %v", len(crowd), err)
	}
	for _, conn := range crowd {
		conn.Close()
	}
	last := fmt.Errorf("never asked")
	for end := time.Now().Add(5 * time.Second); last != nil && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var conn net.Conn
		if conn, last = net.Dial("tcp", addr); last == nil {
			last = ask(conn)
			conn.Close()
		}
	}
	if last != nil {
		t.Errorf("five seconds after they had gone: %v", last)
	}
}

func serveWithFew(t *testing.T) {
	few := unix.Rlimit{Cur: 256, Max: 256}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	o := origin(t, hello)
	b := newBox(t, nil)
	fmt.Printf("\ndoor %s %s\n", b.addr, portOf(t, o))
	io.Copy(io.Discard, os.Stdin) // until the test is over
}
