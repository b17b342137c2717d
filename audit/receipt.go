package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"schoolgate/policy"
)

// Receipt is what retention leaves for what it removed from one segment: how many
// of which class, under which policy, and the hash of the segment before and after,
// so that Verify shows that nothing else was altered. It names nobody.
type Receipt struct {
	At      time.Time         `json:"at"`
	Segment string            `json:"segment"`
	First   policy.EventID    `json:"first"`
	Last    policy.EventID    `json:"last"`
	From    time.Time         `json:"from"` // of the events that were in it
	To      time.Time         `json:"to"`
	Removed map[Class]int     `json:"removed,omitempty"`
	Cut     int               `json:"cut,omitempty"`  // events whose path and words were removed
	Held    int               `json:"held,omitempty"` // due, and kept by a legal hold
	Kept    int               `json:"kept"`
	Policy  string            `json:"policy,omitempty"`
	Before  string            `json:"before"` // the chain at the segment's end, in hex
	After   string            `json:"after"`
	Days    map[Class]float64 `json:"days,omitempty"` // how long each class was kept for
}

// String is In by universal time, and says so.
func (r Receipt) String() string { return r.In(time.UTC) }

// In is the receipt as people read it, with its times as they are in a place.
func (r Receipt) In(loc *time.Location) string {
	at := func(t time.Time) string { return t.In(loc).Format(layoutZone) }
	text := fmt.Sprintf("%s: %s to %s (%s to %s):", at(r.At), r.First, r.Last, at(r.From), at(r.To))
	for _, c := range Classes {
		if n := r.Removed[c]; n > 0 {
			text += fmt.Sprintf(" %d %s removed,", n, c)
		}
	}
	if r.Cut > 0 {
		text += fmt.Sprintf(" %d cut to the host,", r.Cut)
	}
	if r.Held > 0 {
		text += fmt.Sprintf(" %d held,", r.Held)
	}
	return text + fmt.Sprintf(" %d left; policy %s", r.Kept, r.Policy)
}

// encode is the receipt as its frame holds it: JSON and a MAC.
func (r *Receipt) encode(mac []byte) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, mac)
	h.Write(text)
	return h.Sum(text), nil
}

var errForged = errors.New("receipt does not carry this journal's seal: forged or altered")

// parseReceipt reads what encode wrote. Without a key the seal is not tried.
func parseReceipt(b, mac []byte) (r Receipt, err error) {
	if len(b) < sha256.Size {
		return r, errors.New("receipt is cut short")
	}
	text, seal := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if mac != nil {
		h := hmac.New(sha256.New, mac)
		h.Write(text)
		if !hmac.Equal(h.Sum(nil), seal) {
			return r, errForged
		}
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("receipt: %w", err)
	}
	return r, nil
}

// errNoEvent: a receipt must not be alone in its segment, which would be taken away
// at the next opening.
var errNoEvent = errors.New("the segment has no event yet")

// putReceipt writes a receipt at the journal's end and sees it to the disk.
func (j *Journal) putReceipt(r *Receipt) error {
	text, err := r.encode(j.keys.mac)
	if err != nil {
		return err
	}
	for range 3 {
		act := policy.StaffAct(time.Now(), "schoolgate", "audit.retention", r.Segment, "retention: "+r.String())
		if err := j.Record(&act); err != nil {
			return err
		}
		err = j.aside(func(drop bool) error { return j.putReceiptFrame(text, drop) })
		if !errors.Is(err, errNoEvent) {
			return err
		}
	}
	return err
}

func (j *Journal) putReceiptFrame(text []byte, drop bool) error {
	w := &j.w
	now := time.Now()
	if err := j.segmentFor(now, drop); err != nil {
		return err
	}
	if w.empty() {
		return errNoEvent
	}
	if err := j.putOwn(frameReceipt, string(text), now, now.UnixNano(), now.UnixNano()); err != nil {
		return err
	}
	if w.file == nil {
		return errNoEvent
	}
	j.syncMu.Lock()
	err := w.file.Sync()
	j.syncMu.Unlock()
	if err != nil {
		j.mu.Lock()
		j.failure, j.drop = err, true
		j.mu.Unlock()
		return fmt.Errorf("%s: %w", w.name, err)
	}
	return nil
}

// kept is the first frame of a segment that retention wrote anew: what stood in its
// place, which the segment after it still follows.
type kept struct {
	Last   policy.EventID // the last number it ever held
	End    chain          // after its last frame, as first recorded
	Size   int64          // as first recorded
	Events uint64         // that are left
	Done   uint32         // the classes that were due, a bit each; 0 if some were held
	Min    int64          // of all it ever held
	Max    int64
}

const (
	keptSize = 8 + chainSize + 8 + 8 + 4 + 8 + 8
	keptTmp  = "kept.tmp"
)

func (k *kept) encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(k.Last))
	b = append(b, k.End[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(k.Size))
	b = binary.LittleEndian.AppendUint64(b, k.Events)
	b = binary.LittleEndian.AppendUint32(b, k.Done)
	b = binary.LittleEndian.AppendUint64(b, uint64(k.Min))
	return binary.LittleEndian.AppendUint64(b, uint64(k.Max))
}

var errNotKept = errors.New("its first frame does not say what it was before retention")

// readKept reads the first frame of a segment that was written anew.
func (s *segment) readKept() (*kept, error) {
	f, err := s.frame(headerSize)
	if err != nil || f.Kind != frameKept || !f.follows(s.start) || len(f.raw) != frameHeaderSize+keptSize {
		return nil, errNotKept
	}
	b := f.raw[frameHeaderSize:]
	k := &kept{Last: policy.EventID(binary.LittleEndian.Uint64(b))}
	copy(k.End[:], b[8:])
	b = b[8+chainSize:]
	k.Size = int64(binary.LittleEndian.Uint64(b))
	k.Events = binary.LittleEndian.Uint64(b[8:])
	k.Done = binary.LittleEndian.Uint32(b[16:])
	k.Min = int64(binary.LittleEndian.Uint64(b[20:]))
	k.Max = int64(binary.LittleEndian.Uint64(b[28:]))
	if k.Last < s.header.First || k.Last > maxID {
		return nil, errNotKept
	}
	return k, nil
}

// Receipts lists what retention has removed, the oldest receipt first. It needs no
// key of a month.
func (d Dir) Receipts() (list []Receipt, err error) {
	ring, err := d.keyring()
	if err != nil {
		return nil, err
	}
	firsts, err := segments(d.Path)
	if err != nil {
		return nil, err
	}
	for _, first := range firsts {
		s, err := openSegment(d.Path, first)
		if err != nil {
			if s != nil {
				_ = s.close() // read-only; Verify tells what is wrong with it
			}
			continue
		}
		for _, text := range s.receipts() {
			r, err := parseReceipt(text, ring.mac)
			if err != nil {
				return list, errors.Join(fmt.Errorf("%s: %w", s.name, err), s.close())
			}
			list = append(list, r)
		}
		_ = s.close() // read-only
	}
	return list, nil
}

// receipts are the receipts in a segment, by its frames' headers.
func (s *segment) receipts() (list [][]byte) {
	for off := int64(headerSize); ; {
		h, err := s.scanner.header(off)
		if err != nil {
			at, ok := s.resync(off)
			if !ok {
				return list
			}
			off = at
			continue
		}
		if h.Kind == frameReceipt {
			if f, err := s.frame(off); err == nil {
				list = append(list, append([]byte(nil), f.raw[frameHeaderSize:]...))
			}
		}
		off += h.length()
	}
}

func hexChain(c chain) string { return hex.EncodeToString(c[:]) }

func segmentPath(dir string, first policy.EventID) string {
	return filepath.Join(dir, segmentName(first))
}
