package dnsfilter

import (
	"net/netip"
	"sync"

	"github.com/miekg/dns"

	"schoolgate/policy"
)

// compose writes the answer in the form that was decided.
func (s *Server) compose(j *job) {
	m, q := &j.msg, &j.q
	m.begin(j.buf, q)
	switch j.form {
	case formBlocked:
		s.composeBlocked(j)
	case formRefusal:
		m.rcode = j.rcode
	case formNoData:
		m.soa(j.zoneAt, s.blockedTTL)
		if j.ruling.Verdict == policy.Block {
			m.explain(dns.ExtendedErrorCodeBlocked, "")
		}
	case formNoName:
		m.rcode = dns.RcodeNameError
		m.soa(j.zoneAt, s.blockedTTL)
	case formLoopback:
		m.addresses(q, loopbacks, s.blockedTTL)
		s.orNoData(j)
	case formAny:
		m.hinfo(s.blockedTTL)
	case formAnswer:
		s.composeAnswer(j)
	case formSafe, formSafeAddr:
		s.composeSafe(j)
	case formFailed:
		m.rcode = dns.RcodeServerFailure
		m.explain(j.failure, "")
	}
	j.buf = m.finish(q, j.limit())
}

var loopbacks = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

func (j *job) limit() int {
	if j.stream {
		return dns.MaxMsgSize
	}
	return j.q.size
}

// composeBlocked writes the refusal. Only a filter that has nothing to decide
// with gives SERVFAIL: no device should keep that longer than it lasts.
func (s *Server) composeBlocked(j *job) {
	m := &j.msg
	if j.ruling.Reason == policy.ReasonNotReady {
		m.rcode = dns.RcodeServerFailure
		m.explain(dns.ExtendedErrorCodeNotReady, "")
		return
	}
	switch s.cfg.Blocking {
	case NXDOMAIN:
		if j.ruling.Verdict == policy.Warn { // the page must come up, or nobody can continue
			m.addresses(&j.q, s.cfg.Sinkhole, s.blockedTTL)
			s.orNoData(j)
			break
		}
		m.rcode = dns.RcodeNameError
		m.soa(0, s.blockedTTL)
	case Refused:
		if j.ruling.Verdict == policy.Warn {
			m.addresses(&j.q, s.cfg.Sinkhole, s.blockedTTL)
			s.orNoData(j)
			break
		}
		m.rcode = dns.RcodeRefused
	default:
		m.addresses(&j.q, s.cfg.Sinkhole, s.blockedTTL)
		s.orNoData(j)
	}
	m.explain(blockedCode(j.ruling.Reason), s.extraText(j))
}

// blockedCode tells what an operator's list or rule refuses (15, Blocked) from
// what the settings of the client's own profile leave out (17, Filtered).
func blockedCode(r policy.Reason) uint16 {
	switch r {
	case policy.ReasonNotApproved, policy.ReasonUncategorised:
		return dns.ExtendedErrorCodeFiltered
	}
	return dns.ExtendedErrorCodeBlocked
}

// extraText is for adults, who may see what it was; a pupil's device is told
// nothing, and nobody is told of a mandatory list.
func (s *Server) extraText(j *job) string {
	if j.ruling.Profile == nil || j.ruling.Band().Pupil() || j.ruling.Reason == policy.ReasonMandatory {
		return ""
	}
	if j.ruling.Category == policy.Uncategorised {
		return s.words.reason[j.ruling.Reason]
	}
	return s.words.category[j.ruling.Category]
}

// refusalWords is what an adult may read of a refusal, written once.
type refusalWords struct {
	category [policy.NumCategories]string
	reason   [256]string
}

// newRefusalWords puts a beginning before each; without one nothing is said.
func newRefusalWords(beginning string) *refusalWords {
	w := &refusalWords{}
	if beginning == "" {
		return w
	}
	for i := range w.category {
		w.category[i] = beginning + ": " + policy.Category(i).String()
	}
	for i := range w.reason {
		w.reason[i] = beginning + ": " + policy.Reason(i).String()
	}
	return w
}

func (s *Server) orNoData(j *job) {
	if j.msg.an == 0 {
		j.msg.soa(j.zoneAt, s.blockedTTL)
	}
}

// composeAnswer hands the upstream's answer on.
func (s *Server) composeAnswer(j *job) {
	m := &j.msg
	m.rcode = j.answer.Rcode()
	m.ad = j.answer.AD()
	m.b = j.answer.AppendBody(m.b, s.answerTTL)
	an, ns := j.answer.Counts()
	m.an, m.ns = uint16(an), uint16(ns)
	if an+ns == 0 && m.rcode == dns.RcodeSuccess && (j.q.qtype == dns.TypeHTTPS || j.q.qtype == dns.TypeSVCB) {
		m.soa(0, s.blockedTTL) // what was taken out has left nothing, and that is known
	}
	if code := j.answer.Code(); code != 0 {
		m.explain(code, "")
	}
	if j.answer.Stale() {
		code := dns.ExtendedErrorCodeStaleAnswer
		if m.rcode == dns.RcodeNameError {
			code = dns.ExtendedErrorCodeStaleNXDOMAINAnswer
		}
		m.explain(code, "")
	}
}

// composeSafe answers with the safe host: a CNAME to it and its addresses, for
// every other type the CNAME alone (REQUIREMENTS 4.1), so that no type leads to
// the host that was asked for.
func (s *Server) composeSafe(j *job) {
	m := &j.msg
	if addr, ok := j.ruling.Safe.Addr(); ok {
		j.addrs = append(j.addrs[:0], addr)
		m.addresses(&j.q, j.addrs, s.blockedTTL)
		if told := s.told(j); m.an > 0 && !s.given.renew(&told) {
			s.given.add(&told)
		}
		s.orNoData(j)
		m.explain(dns.ExtendedErrorCodeForgedAnswer, "")
		return
	}
	at := len(m.b) + 12 // where the target's name will be
	m.cname(j.target, s.blockedTTL)
	m.explain(dns.ExtendedErrorCodeForgedAnswer, "")
	if _, asked := j.needs(); !asked {
		m.soa(0, s.blockedTTL)
		return
	}
	if j.answer.Rcode() != dns.RcodeSuccess {
		m.begin(j.buf, &j.q)
		m.rcode = dns.RcodeServerFailure // a safe host that is gone is a fault, not an answer
		return
	}
	j.addrs = j.answer.AppendAddrs(j.addrs[:0])
	before := m.an
	for _, a := range j.addrs {
		owner := len(m.b)
		m.addresses(&j.q, []netip.Addr{a}, s.blockedTTL)
		if len(m.b) > owner {
			m.b[owner], m.b[owner+1] = 0xC0|byte(at>>8), byte(at)
		}
	}
	if m.an == before {
		m.soa(0, s.blockedTTL)
	}
}

// describe makes the event of a finished job.
func (s *Server) describe(j *job) {
	j.event = j.ruling.EventOf(j.request, j.guest.text, s.rules.text(j.ruling.Rule))
	j.event.Method = typeName(j.q.qtype)
	j.event.Status = j.msg.rcode
	if j.finding != "" {
		j.event.Finding = j.finding
	}
}

// ruleTexts are the places of rules as events write them. A policy has few; the
// table starts afresh when it has seen many.
type ruleTexts struct {
	mu    sync.RWMutex
	texts map[policy.Pos]string
}

const maxRuleTexts = 4096

func newRuleTexts() *ruleTexts { return &ruleTexts{texts: make(map[policy.Pos]string)} }

func (r *ruleTexts) text(p policy.Pos) string {
	if p.IsZero() {
		return ""
	}
	r.mu.RLock()
	text, ok := r.texts[p]
	r.mu.RUnlock()
	if ok {
		return text
	}
	text = p.String()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.texts) >= maxRuleTexts {
		clear(r.texts)
	}
	r.texts[p] = text
	return text
}
