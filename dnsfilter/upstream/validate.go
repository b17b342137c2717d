package upstream

import (
	"context"
	"errors"
	"slices"

	"github.com/miekg/dns"

	"schoolgate/dnsfilter/dnssec"
)

// An answer is validated once, on the long way, before it enters the cache: what is
// served from there costs what it did before. Upstreams are asked with DO, for the
// signatures, and with CD, so that they hand over what they would not believe
// themselves and the reason can be told. A client that sets CD judges for itself
// (RFC 4035 section 3.2.2): its answers have keys of their own in the cache, are not
// validated and never called authentic.

// maxBogus is how many replies to a question may be bogus before it is: one upstream
// that cuts off signatures does not spoil the others.
const maxBogus = 2

func (r *Resolver) newValidator() {
	except := slices.Concat(r.cfg.Unvalidated, r.private)
	r.validator = dnssec.New(dnssec.Config{
		Ask: r.askForKeys, Anchors: r.cfg.Anchors, Except: except, Log: r.cfg.Log,
	})
}

// Trouble is why no name can be validated at present; nil if names can be, or are not
// meant to.
func (r *Resolver) Trouble() error {
	if r.validator == nil {
		return nil
	}
	return r.validator.Trouble()
}

// validates reports whether the answer has to be validated.
func (r *Resolver) validates(name string, q Question) bool {
	return r.validator != nil && !q.CD && !r.validator.Excepted(name)
}

// judgement is what validation says of one question, all its replies together.
type judgement struct {
	r      *Resolver
	budget *dnssec.Budget
	status dnssec.Status
	code   uint16
	judged bool
}

func (r *Resolver) newJudgement() *judgement {
	if r.validator == nil {
		return nil
	}
	return &judgement{r: r, budget: dnssec.NewBudget(), status: dnssec.Secure}
}

// unjudged notes that part of the answer is not validated.
func (j *judgement) unjudged() {
	if j != nil {
		j.status = min(j.status, dnssec.Insecure)
	}
}

// settle writes what came of it into the answer.
func (j *judgement) settle(v *vetted) {
	if j == nil || !j.judged {
		return
	}
	j.r.metrics.validated[j.status].Inc()
	v.code = j.code
	if j.status != dnssec.Secure {
		v.flags &^= flagAD
	}
}

// askJudged is askVetted for what has to be validated.
func (r *Resolver) askJudged(ctx context.Context, name string, q Question, l limits, j *judgement) (v *vetted, err error) {
	asked := q
	asked.DO, asked.CD = true, true
	j.judged = true
	bogus := 0
	var fault *dnssec.Fault
	err = r.poolFor(name).ask(ctx, asked, func(m *dns.Msg) error {
		got, err := gather(m, name, asked)
		if err != nil {
			r.metrics.vetoed.Inc()
			return err
		}
		verdict, err := r.validator.Judge(ctx, &got.msg, got.unfinished(q), j.budget)
		switch {
		case err != nil:
			return final{err} // keys are asked of all upstreams already
		case verdict.Status == dnssec.Bogus:
			fault = verdict.Fault
			if bogus++; fault.Bound || bogus == maxBogus {
				return final{fault}
			}
			return fault
		}
		j.status = min(j.status, verdict.Status)
		if j.code == 0 {
			j.code = verdict.Code
		}
		v = got
		v.judged = true
		v.flags |= flagAD // until it is changed, or another part of it is not secure
		if !q.DO {
			v.strip(q)
		}
		v.seal(name, q, l)
		v.ttl = min(v.ttl, max(verdict.TTL, l.minTTL))
		return nil
	})
	if err != nil && fault != nil {
		return nil, r.bogus(fault)
	}
	return v, err
}

// bogus counts and names the end of a question whose answers are bogus, though others
// may have given none at all.
func (r *Resolver) bogus(fault *dnssec.Fault) error {
	r.metrics.validated[dnssec.Bogus].Inc()
	if fault.Bound {
		r.metrics.bounded.Inc()
	}
	return BogusError(fault.Code)
}

// strip takes out what a client that did not ask for signatures is not sent (RFC 4035
// section 3.2.1).
func (v *vetted) strip(q Question) {
	v.msg.Answer = slices.DeleteFunc(v.msg.Answer, func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeRRSIG && q.Type != dns.TypeRRSIG
	})
	v.msg.Ns = slices.DeleteFunc(v.msg.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeSOA })
}

// askForKeys is a [dnssec.Ask].
func (r *Resolver) askForKeys(ctx context.Context, name string, rrtype uint16, accept func(*dns.Msg) error) error {
	wire, ok := WireName(name)
	if !ok {
		return errBadName
	}
	refused := 0
	var fault error
	err := r.poolFor(name).ask(ctx, Question{Name: wire, Type: rrtype, DO: true, CD: true}, func(m *dns.Msg) error {
		err := accept(m)
		if err == nil {
			return nil
		}
		fault = err
		var f *dnssec.Fault
		if refused++; refused == maxBogus || errors.As(err, &f) && f.Bound {
			return final{err}
		}
		return err
	})
	if err != nil && fault != nil {
		return fault
	}
	return err
}

// serves reports whether the cache has an answer whose time is not over.
func (r *Resolver) serves(key []byte) bool {
	e, ok := r.cache.get(nil, key)
	return ok && !e.has(flagFailure) && r.now() < e.expires()
}
