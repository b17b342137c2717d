package dnsfilter

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/miekg/dns"
)

// rush is a load that costs less than the servers it loads. dnsperf takes a system
// call for each packet, about as long as a whole answer takes, so with a core for
// each of the two it is what gives out first, and all good servers look alike. This
// one sends and takes what is due on a socket in one call each, and keeps more under
// way than a batch, so that neither side ever waits for the other.
func (p peer) rush(t *testing.T, l load, seconds int) (f figure, done float64) {
	t.Helper()
	questions := packQuestions(t, l.queries)
	var err error
	var asking sync.WaitGroup
	asking.Go(func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		if err = onLastCore(); err == nil {
			done, err = p.askInCrowds(questions, time.Duration(seconds)*time.Second)
		}
	})
	asking.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return figure{rate: done / float64(seconds)}, done
}

const (
	rushSockets  = 8
	rushWindow   = 64                     // questions under way on each
	rushPatience = 200 * time.Millisecond // after which what is under way counts as lost
)

// packQuestions packs the questions of a file for dnsperf.
func packQuestions(t *testing.T, path string) (all [][]byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	slab := make([]byte, 0, len(text)*2)
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, " ")
		from := len(slab)
		slab = append(slab, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0) // recursion desired, one question
		for label := range strings.SplitSeq(name, ".") {
			slab = append(append(slab, byte(len(label))), label...)
		}
		slab = append(slab, 0, 0, byte(dns.TypeA), 0, dns.ClassINET)
		all = append(all, slab[from:len(slab):len(slab)])
	}
	return all
}

// rusher is one of the sockets.
type rusher struct {
	fd       int
	underway int
	last     time.Time // of an answer
	in, out  [rushWindow]header
	inVec    [rushWindow]unix.Iovec
	outVec   [rushWindow]unix.Iovec
	buf      [rushWindow][1500]byte
}

func (p peer) askInCrowds(questions [][]byte, length time.Duration) (done float64, err error) {
	var all [rushSockets]rusher
	polled := make([]unix.PollFd, rushSockets)
	for i := range all {
		r := &all[i]
		if r.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0); err != nil {
			return 0, err
		}
		defer unix.Close(r.fd)
		if err := unix.Connect(r.fd, &unix.SockaddrInet4{Port: p.port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return 0, err
		}
		polled[i] = unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN}
		for j := range rushWindow {
			r.inVec[j] = unix.Iovec{Base: &r.buf[j][0], Len: uint64(len(r.buf[j]))}
			r.in[j].Iov, r.in[j].Iovlen = &r.inVec[j], 1
			r.out[j].Iov, r.out[j].Iovlen = &r.outVec[j], 1
		}
	}
	next := 0
	for start := time.Now(); time.Since(start) < length; {
		for i := range all {
			r := &all[i]
			n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.in[0])), rushWindow, unix.MSG_DONTWAIT, 0, 0)
			switch {
			case errno == 0:
				r.underway -= int(n)
				done += float64(n)
				r.last = time.Now()
			case errno != unix.EAGAIN && errno != unix.EINTR:
				return done, errno
			case r.underway > 0 && time.Since(r.last) > rushPatience:
				r.underway = 0
			}
			k := rushWindow - max(r.underway, 0)
			for j := range k {
				q := questions[next%len(questions)]
				binary.BigEndian.PutUint16(q, uint16(next))
				r.outVec[j] = unix.Iovec{Base: &q[0], Len: uint64(len(q))}
				next++
			}
			if k == 0 {
				continue
			}
			sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.out[0])), uintptr(k), 0, 0, 0)
			if errno != 0 {
				return done, errno
			}
			if r.underway <= 0 {
				r.last = time.Now()
			}
			r.underway += int(sent)
		}
		if _, err := unix.Poll(polled, 10); err != nil && !errors.Is(err, syscall.EINTR) {
			return done, err
		}
	}
	return done, nil
}
