package dnsfilter

import (
	"context"
	"errors"
	"hash/maphash"
	"net/netip"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"schoolgate/dnsfilter/upstream"
	"schoolgate/policy"
)

// job is one question on its way. Its owner uses it again for the next.
type job struct {
	pkt     []byte
	control []byte // what the kernel said of the packet, given back with the answer
	peer    netip.AddrPort

	sockaddr sockaddr // peer, as the kernel wrote it
	nameLen  uint32

	q      query
	came   reading
	from   netip.Addr // of peer, as the policy knows clients
	stream bool       // not UDP: nothing is truncated
	port   *port      // the socket it came to, of a packet
	send   func(*job) // of a stream: takes the answer, and the job back
	owner  *Server    // of a job that waits
	waits  wait       // and for what
	start  time.Time
	guest  *guest

	name    *name
	hash    uint64 // of the name, as names know it
	request policy.Request
	ruling  policy.Ruling
	finding string
	form    form
	rcode   int    // of form refusal
	failure uint16 // of form failed: the Extended DNS Error that says why
	zoneAt  int    // of form local: where its zone begins within the name
	target  []byte // of form safe: the host to reach, in wire form

	answer upstream.Answer
	addrs  []netip.Addr
	msg    message
	buf    []byte
	event  policy.Event
}

// form is the shape of an answer.
type form uint8

const (
	formBlocked  form = iota // as configured
	formRefusal              // rcode and nothing else
	formNoData               // the name is there, the type is not
	formNoName               // NXDOMAIN from a local zone
	formLoopback             // localhost
	formAny                  // RFC 8482
	formAnswer               // from upstream
	formSafe                 // the service's own safe host in place of the one asked for
	formSafeAddr             // the same, where that is an address
	formFailed               // SERVFAIL: allowed, but nobody could answer
)

// needs gives the question that must be answered first, if one must.
func (j *job) needs() (upstream.Question, bool) {
	q := upstream.Question{Name: j.q.lowerName(), Type: j.q.qtype, DO: j.q.do, CD: j.q.flags&bitCD != 0}
	switch j.form {
	case formAnswer:
		return q, true
	case formSafe:
		if j.q.qtype != dns.TypeA && j.q.qtype != dns.TypeAAAA {
			return q, false
		}
		return upstream.Question{Name: j.target, Type: j.q.qtype}, true
	}
	return q, false
}

// decide asks the policy and picks the form of the answer.
func (s *Server) decide(j *job) {
	j.finding, j.rcode, j.zoneAt = "", dns.RcodeSuccess, 0
	j.name = s.names.readHashed(j.hash, j.q.lowerName())
	j.request = policy.Request{Door: policy.DoorDNS, Client: j.from, Host: j.name.host(), Time: j.start, Memo: &j.name.memo}
	j.ruling = s.cfg.Decider.Decide(j.request)

	if rcode, ok := refusedType(&j.q); ok {
		j.refuse(policy.ReasonProtocol, rcode)
		return
	}
	if j.name.odd {
		j.finding = "bad_host"
		j.refuse(policy.ReasonBadHost, dns.RcodeRefused)
		return
	}
	if len(j.q.name) == 1 && j.ruling.Reason == policy.ReasonBadHost {
		j.open() // the root is no host, but devices ask it who serves it
	}
	if s.local(j) {
		return
	}
	switch {
	case j.ruling.Verdict != policy.Allow:
		j.form = formBlocked
	case j.q.qtype == dns.TypeANY:
		j.form = formAny
	case !opened(j.ruling.Reason) && s.tunnels.shut(j.from, j.name.host().String(), j.start):
		s.refuseTunnel(j, tunnelOld)
	default:
		j.form = formAnswer
		j.rewrite()
	}
}

// refuse turns the question down for its form; what the policy has against its
// name stays the reason if it has anything.
func (j *job) refuse(why policy.Reason, rcode int) {
	j.form, j.rcode = formRefusal, rcode
	if j.ruling.Verdict == policy.Allow {
		j.block(why)
	}
}

// failed makes a question that was allowed one that nobody could answer, or whose
// answer is not what the owner of its name signed.
func (j *job) failed(err error) {
	j.form, j.failure = formFailed, dns.ExtendedErrorCodeNoReachableAuthority
	if bogus := upstream.BogusError(0); errors.As(err, &bogus) {
		j.failure = uint16(bogus)
	}
}

// block makes an allowed question a blocked one.
func (j *job) block(why policy.Reason) {
	j.ruling.Verdict, j.ruling.Reason, j.ruling.Severity = policy.Block, why, 0
	j.ruling.Category, j.ruling.Rule = policy.Uncategorised, policy.Pos{}
}

// open allows what is nobody's site.
func (j *job) open() {
	j.ruling.Verdict, j.ruling.Reason, j.ruling.Severity = policy.Allow, policy.ReasonDefault, 0
	j.ruling.Category, j.ruling.Rule = policy.Uncategorised, policy.Pos{}
}

// refusedType says which questions a school's resolver does not answer.
func refusedType(q *query) (rcode int, refused bool) {
	if q.qclass != dns.ClassINET {
		return dns.RcodeRefused, true // CHAOS asks about the box; nothing else exists
	}
	switch q.qtype {
	case dns.TypeNone, dns.TypeOPT, dns.TypeNXNAME: // never a question (RFC 9824 for the last)
		return dns.RcodeFormatError, true
	case dns.TypeAXFR, dns.TypeIXFR, dns.TypeNULL: // NULL carries tunnels and nothing else (Y29)
		return dns.RcodeRefused, true
	case dns.TypeTKEY, dns.TypeTSIG, dns.TypeMAILA, dns.TypeMAILB:
		return dns.RcodeNotImplemented, true
	}
	return 0, false
}

// local answers names that end at this box. Such a name is nobody's site, so an
// approved list need not hold it; what lists or rules say of it stands.
func (s *Server) local(j *job) bool {
	what := j.name.what
	if what == elsewhere {
		return false
	}
	if what != canary && j.ruling.Verdict != policy.Allow {
		if j.ruling.Reason != policy.ReasonNotApproved && j.ruling.Reason != policy.ReasonUncategorised {
			return false
		}
		j.open()
	}
	j.zoneAt = j.name.zone
	switch what {
	case canary: // whatever the policy says: an address would turn the control off
		j.finding = "canary"
		if j.ruling.Verdict == policy.Allow {
			j.block(policy.ReasonProtocol)
		}
		j.form = formNoName
	case designated:
		j.form = formNoData
	case loopback:
		j.form = formLoopback
	case localZone:
		j.form = formNoName
		if j.zoneAt == 0 {
			j.form = formNoData
		}
	}
	return true
}

// servedElsewhere reports whether a name below a local zone has an upstream of
// its own, as the school's part of a private reverse zone has.
func (s *Server) servedElsewhere(h policy.Host) bool { return s.resolver.HasZone(h.String() + ".") }

// rewrite turns to the safe host where the profile holds the service to its
// safety mode. The zero Host changes nothing.
func (j *job) rewrite() {
	safe := j.ruling.Safe
	if safe.IsZero() {
		return
	}
	if _, ok := safe.Addr(); ok {
		j.form = formSafeAddr
		return
	}
	target, ok := wireName(safe)
	if !ok {
		j.failed(nil) // never the answer that is not safe
		return
	}
	if string(target) == string(j.q.lowerName()) {
		return // the safe host itself was asked for
	}
	j.form, j.target = formSafe, target
}

// advance goes on to the finished answer, which it writes, as far as the cache
// allows; false if an upstream would have to be asked.
func (s *Server) advance(j *job) bool {
	for {
		q, needed := j.needs()
		if !needed {
			break
		}
		if !s.resolver.Cached(&j.answer, q) {
			return false
		}
		if s.follow(j) {
			break
		}
	}
	s.compose(j)
	return true
}

// work is advance for who may wait.
func (s *Server) work(ctx context.Context, j *job) {
	for {
		q, needed := j.needs()
		if !needed {
			break
		}
		if err := s.resolver.Resolve(ctx, &j.answer, q); err != nil {
			j.failed(err)
			break
		}
		if s.follow(j) {
			break
		}
	}
	s.compose(j)
}

// follow decides what the answer leads to; false if the answer to another
// question is needed now.
func (s *Server) follow(j *job) bool {
	for wire := range j.answer.Chain() {
		behind, request := s.names.read(wire), j.request
		request.Host, request.Memo = behind.host(), &behind.memo
		r := s.cfg.Decider.Decide(request)
		if r.Shielded && r.Verdict == policy.Allow {
			j.ruling.Shielded = true // another name of a help-line is one (F10)
		}
		switch {
		case j.form == formAnswer && cloaks(&j.ruling, &r), r.Verdict != policy.Allow && r.Facts.Mandatory != policy.Uncategorised:
			j.ruling, j.finding, j.form = r, "cname_cloak", formBlocked
			return true
		case j.form == formAnswer && r.Verdict == policy.Allow && !r.Safe.IsZero():
			j.ruling.Safe = r.Safe
			if j.rewrite(); j.form != formAnswer {
				return j.form != formSafe
			}
		}
	}
	if j.answer.Private() { // T4: an outside name that points into the school
		j.finding = "rebinding"
		j.block(policy.ReasonDestination)
		j.form = formNoData
		return true
	}
	s.judgeAddresses(j)
	return true
}

// judgeAddresses asks the policy about the addresses of an answer, which may be
// on a list where their name is on none, as a resolver of encrypted DNS under
// somebody's own name is (Y4); and remembers what the client is told. An answer
// whose addresses no list knows is not judged again for the same client by the
// same lists and policy.
func (s *Server) judgeAddresses(j *job) {
	switch j.q.qtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeSVCB:
	default:
		return
	}
	if j.addrs = j.answer.AppendAddrs(j.addrs[:0]); len(j.addrs) == 0 {
		return
	}
	told := s.told(j)
	if s.given.renew(&told) {
		return
	}
	for _, addr := range j.addrs {
		listed, request := s.names.readAddr(addr), j.request
		request.Host, request.Memo = listed.host(), &listed.memo
		r := s.cfg.Decider.Decide(request)
		if j.form == formAnswer && cloaks(&j.ruling, &r) || r.Verdict != policy.Allow && r.Facts.Mandatory != policy.Uncategorised {
			j.ruling, j.finding, j.form = r, "listed_address", formBlocked
			return
		}
		told.clear = told.clear && r.Facts == policy.Facts{}
	}
	s.given.add(&told)
}

// told is what the client is told, with the addresses of j.
func (s *Server) told(j *job) answer {
	return answer{
		client: j.from, name: j.q.lowerName(), qtype: j.q.qtype, addrs: j.addrs,
		until: j.start.Add(s.cfg.AnswerTTL), tag: s.versionTag(j), clear: true,
	}
}

// versionTag stands for the lists, the policy and the client that they decided for: an
// address is leased to one device today and to another tomorrow.
func (s *Server) versionTag(j *job) uint32 {
	seed, r := s.given.seed, &j.ruling
	return uint32(r.StoreVersion) ^ uint32(maphash.String(seed, r.PolicyVersion)) ^
		uint32(maphash.String(seed, r.Client.Group)>>8) ^ uint32(maphash.String(seed, r.Client.Device)>>16)
}

// cloaks reports whether an allowed name hides a blocked one behind a CNAME. What
// a person has opened is open with all that stands behind it. A default is not
// held against a name in between: the content networks that carry an approved
// site are on no approved list.
func cloaks(asked, behind *policy.Ruling) bool {
	if behind.Verdict == policy.Allow {
		return false
	}
	if behind.Reason == policy.ReasonEmergency {
		return asked.Reason != policy.ReasonNeverBlock // for everyone, whatever was opened to them
	}
	if opened(asked.Reason) {
		return false
	}
	switch behind.Reason {
	case policy.ReasonCategory, policy.ReasonException, policy.ReasonNotReady,
		policy.ReasonBadHost: // nothing of the name can be read: no list could know it
		return true
	}
	return false
}

// typeName is the name of a type as records write it.
func typeName(t uint16) string {
	switch t { // a look into the table costs more than the rest of the record
	case dns.TypeA:
		return "A"
	case dns.TypeAAAA:
		return "AAAA"
	case dns.TypeHTTPS:
		return "HTTPS"
	}
	if name, ok := dns.TypeToString[t]; ok {
		return name
	}
	return "TYPE" + strconv.Itoa(int(t))
}
