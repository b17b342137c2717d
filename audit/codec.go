package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"schoolgate/policy"
)

// An event is written as what differs from the event before it in its frame
// (from the zero event, for the first): a 16-bit length, a varint of the fields
// that differ, then those fields in order. New fields are appended with the
// next bit, so that an older reader takes what it knows and passes over the
// rest. Its number is not written: it follows from its place.
const (
	hasTime = 1 << iota // zigzag varint, nanoseconds after the previous event
	hasHost
	hasClient
	hasDevice
	hasMethod
	hasReason
	hasVerdict
	hasCategory
	hasRule
	hasStatus // zigzag varint
	hasGroup
	hasProfile
	hasPupil // no bytes: it is the other way round now
	hasDoor
	hasPath
	hasSeverity
	hasFinding
	hasPolicyVersion
	hasStoreVersion // varint
	hasPerson
	hasPort // varint
	hasUse
	hasWords
	hasTheme
	hasTerm
	hasType
	hasSize // zigzag varint
	hasAct
	hasSubject
	hasNote

	// hasGone alone is a run of events that retention removed, a varint of how many.
	hasGone

	hasSealed // binary
)

// Longer fields are cut, at a whole character, and counted: no field of an
// event is honestly that long, and one request must not fill the disk.
const (
	maxField = 1024
	maxPath  = 8192
)

// appendEvent writes e as it differs from prev; t and prevT are their times.
func appendEvent(b []byte, e, prev *policy.Event, t, prevT int64) []byte {
	start := len(b)
	fields := differing(e, prev)
	if t != prevT {
		fields |= hasTime
	}
	b = append(b, 0, 0)
	b = binary.AppendUvarint(b, fields)
	if fields&hasTime != 0 {
		b = binary.AppendVarint(b, t-prevT)
	}
	b = appendIf(b, fields, hasHost, e.Host)
	b = appendIf(b, fields, hasClient, e.Client)
	b = appendIf(b, fields, hasDevice, e.Device)
	b = appendIf(b, fields, hasMethod, e.Method)
	if fields&hasReason != 0 {
		b = append(b, reasons.toDisk[e.Reason])
	}
	if fields&hasVerdict != 0 {
		b = append(b, verdicts.toDisk[e.Verdict])
	}
	if fields&hasCategory != 0 {
		b = append(b, byte(e.Category))
	}
	b = appendIf(b, fields, hasRule, e.Rule)
	if fields&hasStatus != 0 {
		b = binary.AppendVarint(b, int64(e.Status))
	}
	b = appendIf(b, fields, hasGroup, e.Group)
	b = appendIf(b, fields, hasProfile, e.Profile)
	if fields&hasDoor != 0 {
		b = append(b, doors.toDisk[e.Door])
	}
	if fields&hasPath != 0 {
		b = appendString(b, clip(e.Path, maxPath))
	}
	if fields&hasSeverity != 0 {
		b = append(b, e.Severity)
	}
	b = appendIf(b, fields, hasFinding, e.Finding)
	b = appendIf(b, fields, hasPolicyVersion, e.PolicyVersion)
	if fields&hasStoreVersion != 0 {
		b = binary.AppendUvarint(b, e.StoreVersion)
	}
	if fields >= hasPerson {
		b = appendSeldom(b, fields, e)
	}
	binary.LittleEndian.PutUint16(b[start:], uint16(len(b)-start-2))
	return b
}

// appendSeldom writes the fields that most events leave empty.
func appendSeldom(b []byte, fields uint64, e *policy.Event) []byte {
	b = appendIf(b, fields, hasPerson, e.Person)
	if fields&hasPort != 0 {
		b = binary.AppendUvarint(b, uint64(e.Port))
	}
	if fields&hasUse != 0 {
		b = append(b, uses.toDisk[e.Use])
	}
	if fields&hasWords != 0 {
		b = appendString(b, clip(e.Words, maxPath))
	}
	b = appendIf(b, fields, hasTheme, e.Theme)
	b = appendIf(b, fields, hasTerm, e.Term)
	b = appendIf(b, fields, hasType, e.Type)
	if fields&hasSize != 0 {
		b = binary.AppendVarint(b, e.Size)
	}
	b = appendIf(b, fields, hasAct, e.Act)
	if fields&hasSubject != 0 {
		b = appendString(b, clip(e.Subject, maxPath))
	}
	if fields&hasNote != 0 {
		b = appendString(b, clip(e.Note, maxPath))
	}
	if fields&hasSealed != 0 {
		b = appendString(b, whole(e.Sealed, maxPath))
	}
	return b
}

// differing is the set of fields, times apart, in which the events differ.
func differing(e, prev *policy.Event) (fields uint64) {
	set := func(differ bool, bit uint64) {
		if differ {
			fields |= bit
		}
	}
	set(e.Host != prev.Host, hasHost)
	set(e.Client != prev.Client, hasClient)
	set(e.Device != prev.Device, hasDevice)
	set(e.Method != prev.Method, hasMethod)
	set(e.Reason != prev.Reason, hasReason)
	set(e.Verdict != prev.Verdict, hasVerdict)
	set(e.Category != prev.Category, hasCategory)
	set(e.Rule != prev.Rule, hasRule)
	set(e.Status != prev.Status, hasStatus)
	set(e.Group != prev.Group, hasGroup)
	set(e.Profile != prev.Profile, hasProfile)
	set(e.Pupil != prev.Pupil, hasPupil)
	set(e.Door != prev.Door, hasDoor)
	set(e.Path != prev.Path, hasPath)
	set(e.Severity != prev.Severity, hasSeverity)
	set(e.Finding != prev.Finding, hasFinding)
	set(e.PolicyVersion != prev.PolicyVersion, hasPolicyVersion)
	set(e.StoreVersion != prev.StoreVersion, hasStoreVersion)
	set(e.Person != prev.Person, hasPerson)
	set(e.Port != prev.Port, hasPort)
	set(e.Use != prev.Use, hasUse)
	set(e.Words != prev.Words, hasWords)
	set(e.Theme != prev.Theme, hasTheme)
	set(e.Term != prev.Term, hasTerm)
	set(e.Type != prev.Type, hasType)
	set(e.Size != prev.Size, hasSize)
	set(e.Act != prev.Act, hasAct)
	set(e.Subject != prev.Subject, hasSubject)
	set(e.Note != prev.Note, hasNote)
	set(e.Sealed != prev.Sealed, hasSealed)
	return fields
}

func appendIf(b []byte, fields, bit uint64, s string) []byte {
	if fields&bit == 0 {
		return b
	}
	return appendString(b, clip(s, maxField))
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// clip cuts s to at most limit bytes without splitting a character.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// whole is s, or nothing where it would have to be cut: half of what is sealed opens
// for nobody.
func whole(s string, limit int) string {
	if len(s) > limit {
		return ""
	}
	return s
}

// oversized reports whether writing the event cuts one of its fields.
func oversized(e *policy.Event) bool {
	return max(len(e.Path), len(e.Words), len(e.Subject), len(e.Note), len(e.Sealed)) > maxPath ||
		max(len(e.Host), len(e.Client), len(e.Device), len(e.Method), len(e.Rule), len(e.Group), len(e.Profile), len(e.Finding),
			len(e.PolicyVersion), len(e.Person), len(e.Theme), len(e.Term), len(e.Type), len(e.Act)) > maxField
}

var errBadEvent = errors.New("bad event encoding")

// decodeEvents reads the events of a frame in order. The strings of an event
// share the frame's memory (at most maxSealed bytes); the event itself is
// reused for the next, so copy it to keep it. It stops when yield returns false.
func decodeEvents(plain string, first policy.EventID, count int, yield func(*policy.Event) bool) error {
	var e policy.Event
	var nanos int64
	for i := 0; i < count; i++ {
		if len(plain) < 2 {
			return fmt.Errorf("%w: event %d of %d is missing", errBadEvent, i+1, count)
		}
		n := int(plain[0]) | int(plain[1])<<8
		if len(plain) < 2+n {
			return fmt.Errorf("%w: event %d of %d is cut short", errBadEvent, i+1, count)
		}
		if gone, ok := goneRun(plain[2 : 2+n]); ok {
			plain = plain[2+n:]
			i += gone - 1
			continue
		}
		if !decodeEvent(plain[2:2+n], &e, &nanos) {
			return fmt.Errorf("%w: event %d of %d", errBadEvent, i+1, count)
		}
		plain = plain[2+n:]
		e.ID = first + policy.EventID(i)
		e.Time = time.Unix(0, nanos).UTC()
		if !yield(&e) {
			return nil
		}
	}
	if plain != "" {
		return fmt.Errorf("%w: %d bytes after the last event", errBadEvent, len(plain))
	}
	return nil
}

// appendGone writes a run of events that retention removed.
func appendGone(b []byte, n int) []byte {
	start := len(b)
	b = append(b, 0, 0)
	b = binary.AppendUvarint(b, hasGone)
	b = binary.AppendUvarint(b, uint64(n))
	binary.LittleEndian.PutUint16(b[start:], uint16(len(b)-start-2))
	return b
}

// goneRun reads what appendGone wrote; ok is false for an event.
func goneRun(rec string) (n int, ok bool) {
	d := decoder{rest: rec}
	if d.uvarint() != hasGone {
		return 0, false
	}
	u := d.uvarint()
	return int(u), !d.bad && u > 0 && u <= maxEvents
}

// decodeEvent applies one written difference to e.
func decodeEvent(rec string, e *policy.Event, nanos *int64) bool {
	d := decoder{rest: rec}
	fields := d.uvarint()
	if fields&hasTime != 0 {
		*nanos += d.varint()
	}
	d.stringIf(fields, hasHost, &e.Host)
	d.stringIf(fields, hasClient, &e.Client)
	d.stringIf(fields, hasDevice, &e.Device)
	d.stringIf(fields, hasMethod, &e.Method)
	if fields&hasReason != 0 {
		e.Reason = reasons.fromDisk[d.byte()]
	}
	if fields&hasVerdict != 0 {
		e.Verdict = verdicts.fromDisk[d.byte()]
	}
	if fields&hasCategory != 0 {
		e.Category = policy.Category(d.byte())
	}
	d.stringIf(fields, hasRule, &e.Rule)
	if fields&hasStatus != 0 {
		e.Status = int(d.varint())
	}
	d.stringIf(fields, hasGroup, &e.Group)
	d.stringIf(fields, hasProfile, &e.Profile)
	if fields&hasPupil != 0 {
		e.Pupil = !e.Pupil
	}
	if fields&hasDoor != 0 {
		e.Door = doors.fromDisk[d.byte()]
	}
	d.stringIf(fields, hasPath, &e.Path)
	if fields&hasSeverity != 0 {
		e.Severity = d.byte()
	}
	d.stringIf(fields, hasFinding, &e.Finding)
	d.stringIf(fields, hasPolicyVersion, &e.PolicyVersion)
	if fields&hasStoreVersion != 0 {
		e.StoreVersion = d.uvarint()
	}
	if fields >= hasPerson {
		d.seldom(fields, e)
	}
	return !d.bad
}

// seldom reads what appendSeldom wrote.
func (d *decoder) seldom(fields uint64, e *policy.Event) {
	d.stringIf(fields, hasPerson, &e.Person)
	if fields&hasPort != 0 {
		e.Port = uint16(d.uvarint())
	}
	if fields&hasUse != 0 {
		e.Use = uses.fromDisk[d.byte()]
	}
	d.stringIf(fields, hasWords, &e.Words)
	d.stringIf(fields, hasTheme, &e.Theme)
	d.stringIf(fields, hasTerm, &e.Term)
	d.stringIf(fields, hasType, &e.Type)
	if fields&hasSize != 0 {
		e.Size = d.varint()
	}
	d.stringIf(fields, hasAct, &e.Act)
	d.stringIf(fields, hasSubject, &e.Subject)
	d.stringIf(fields, hasNote, &e.Note)
	d.stringIf(fields, hasSealed, &e.Sealed)
}

// decoder takes values off the front of a record; bad is set once one is not
// there, and everything after reads as zero.
type decoder struct {
	rest string
	bad  bool
}

func (d *decoder) byte() byte {
	if d.rest == "" {
		d.bad = true
		return 0
	}
	c := d.rest[0]
	d.rest = d.rest[1:]
	return c
}

func (d *decoder) uvarint() (v uint64) {
	for shift := 0; shift < 64; shift += 7 {
		c := d.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	d.bad = true
	return 0
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) stringIf(fields, bit uint64, to *string) {
	if fields&bit == 0 {
		return
	}
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.bad = true
		return
	}
	*to, d.rest = d.rest[:n], d.rest[n:]
}
