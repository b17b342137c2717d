package dnsfilter

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"schoolgate/internal/siphash"
)

// DNS cookies (RFC 7873, in the form of RFC 9018 that all servers share): a client
// that sends one gets its own half back with a half of ours, and so knows that an
// answer is not a forger's. We hold it against nobody that it has none or an old
// one: who is served is a matter of networks and rates. What a client asks with
// no question at all gets BADCOOKIE if its half of ours is not good (RFC 7873 5.4).
const (
	clientCookie = 8
	serverCookie = 16 // version, three zeros, time, hash
	minCookie    = clientCookie + 8
	maxCookie    = clientCookie + 32

	cookieVersion = 1
	cookiePast    = time.Hour
	cookieFuture  = 5 * time.Minute
	cookieRenew   = 30 * time.Minute
	secretLife    = 24 * time.Hour // then another; the one before is good as long as cookies made with it
)

// cookies makes and checks our halves.
type cookies struct {
	secrets atomic.Pointer[secrets]
	turning sync.Mutex
}

// secrets are immutable.
type secrets struct {
	now, before [2]uint64
	since       time.Time
}

func newSecret() [2]uint64 {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return [2]uint64{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
}

// at gives the secrets of a moment, new ones if the old have had their day.
func (c *cookies) at(now time.Time) *secrets {
	s := c.secrets.Load()
	if s != nil && now.Sub(s.since) < secretLife {
		return s
	}
	c.turning.Lock()
	defer c.turning.Unlock()
	if s = c.secrets.Load(); s != nil && now.Sub(s.since) < secretLife {
		return s
	}
	next := &secrets{now: newSecret(), since: now}
	if next.before = newSecret(); s != nil {
		next.before = s.now
	}
	c.secrets.Store(next)
	return next
}

// answer gives what is to be sent back to a client that sent a cookie: its own
// half and ours, which stays the same while it is young. good is that it had ours.
func (c *cookies) answer(sent []byte, from netip.Addr, now time.Time) (back [clientCookie + serverCookie]byte, good bool) {
	s := c.at(now)
	copy(back[:], sent)
	if len(sent) == len(back) {
		var age time.Duration
		if age, good = s.check(back, from, now); good && age < cookieRenew {
			return back, true
		}
	}
	ours := back[clientCookie:]
	copy(ours, []byte{cookieVersion, 0, 0, 0})
	binary.BigEndian.PutUint32(ours[4:], uint32(now.Unix()))
	binary.LittleEndian.PutUint64(ours[8:], hashCookie(s.now, &back, from))
	return back, good
}

// check looks at a cookie that came whole. Its time may not be older or further in
// the future than the RFC says, and the hash must be of one of our secrets.
func (s *secrets) check(cookie [clientCookie + serverCookie]byte, from netip.Addr, now time.Time) (age time.Duration, good bool) {
	ours := cookie[clientCookie:]
	age = time.Duration(int32(uint32(now.Unix())-binary.BigEndian.Uint32(ours[4:]))) * time.Second
	if ours[0] != cookieVersion || age > cookiePast || age < -cookieFuture {
		return age, false
	}
	if sameHash(ours[8:], hashCookie(s.now, &cookie, from)) {
		return age, true
	}
	young := now.Sub(s.since) < cookiePast
	return cookieRenew, young && sameHash(ours[8:], hashCookie(s.before, &cookie, from)) // and gets one of the new secret
}

func sameHash(have []byte, want uint64) bool {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], want)
	return subtle.ConstantTimeCompare(have, b[:]) == 1
}

// hashCookie is the hash in a cookie whose other fields are filled in.
func hashCookie(secret [2]uint64, cookie *[clientCookie + serverCookie]byte, from netip.Addr) uint64 {
	var buf [32]byte
	b := append(buf[:0], cookie[:16]...)
	if from.Is4() {
		ip := from.As4()
		b = append(b, ip[:]...)
	} else {
		ip := from.As16()
		b = append(b, ip[:]...)
	}
	return siphash.Sum(secret, b)
}
