package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"schoolgate/policy"
)

// The format of a segment file. Every version ever written stays readable, and
// has a fixture in testdata.
const (
	segmentMagic  = "SGJOURN\n"
	formatVersion = 1 // as recorded
	formatKept    = 2 // written anew by retention: its first frame says what it was

	headerSize      = 160 // segment header, its own hash included
	headerBody      = headerSize - chainSize
	frameHeaderSize = 56
	chainSize       = sha256.Size
	tagSize         = 16 // AES-GCM

	frameMagic = "SGfr"

	// maxID keeps a forged header from driving the numbers to their end.
	maxID policy.EventID = 1 << 60

	// maxPlain and maxEvents bound a frame; maxSealed is what a reader accepts,
	// with room for one last event of the greatest size.
	maxPlain  = 256 << 10
	maxEvents = 4096
	maxSealed = maxPlain + 64<<10 + tagSize
)

// frameKind says what a frame holds. Readers pass over kinds they do not know.
type frameKind uint8

const (
	frameEvents frameKind = 1 // events, numbered from the frame's first
	frameSeal   frameKind = 2 // the segment is finished; times span all of it
	frameNote   frameKind = 3 // a sentence about the journal itself

	// These two are in clear: they hold no browsing, and must be readable when the
	// keys of their month are gone.
	frameReceipt frameKind = 4 // what retention removed, with a MAC
	frameKept    frameKind = 5 // begins a segment that retention wrote anew
)

func (k frameKind) inClear() bool { return k == frameReceipt || k == frameKept }

// flagFlagged marks a frame (or, on a seal, a segment) with a flagged event.
const flagFlagged = 1

// chain is the running SHA-256 over everything written so far.
type chain [chainSize]byte

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// segmentHeader begins a segment and ties it to the one before.
type segmentHeader struct {
	Version  uint16 // 0 writes formatVersion
	Key      keyID
	Salt     [32]byte       // with the month key, gives the segment's own key
	Prev     chain          // after the last frame of the previous segment
	PrevSize int64          // bytes of the previous segment that count
	First    policy.EventID // number of the segment's first event
	Created  int64          // wall clock, Unix nanoseconds
	Run      [8]byte        // the process run; frames of one run share a monotonic clock
}

// appendTo writes the header and its hash.
func (h *segmentHeader) appendTo(b []byte) []byte {
	start := len(b)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint16(b, max(h.Version, formatVersion))
	b = binary.LittleEndian.AppendUint16(b, headerSize)
	b = append(b, 0, 0, 0, 0)
	b = append(b, h.Key[:]...)
	b = append(b, h.Salt[:]...)
	b = append(b, h.Prev[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.PrevSize))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.First))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Created))
	b = append(b, h.Run[:]...)
	sum := sha256.Sum256(b[start:])
	return append(b, sum[:]...)
}

var errNotSegment = errors.New("not a journal segment")

// parseSegmentHeader reads a header. The chain it gives is where the segment's
// frames begin.
func parseSegmentHeader(b []byte) (h segmentHeader, start chain, err error) {
	if len(b) < headerSize || string(b[:8]) != segmentMagic {
		return h, start, errNotSegment
	}
	h.Version = binary.LittleEndian.Uint16(b[8:])
	if h.Version != formatVersion && h.Version != formatKept {
		return h, start, fmt.Errorf("format version %d: this schoolgate reads up to %d", h.Version, formatKept)
	}
	sum := sha256.Sum256(b[:headerBody])
	if !bytes.Equal(sum[:], b[headerBody:headerSize]) {
		return h, start, errors.New("segment header changed after it was written")
	}
	copy(h.Key[:], b[16:])
	copy(h.Salt[:], b[32:])
	copy(h.Prev[:], b[64:])
	h.PrevSize = int64(binary.LittleEndian.Uint64(b[96:]))
	h.First = policy.EventID(binary.LittleEndian.Uint64(b[104:]))
	h.Created = int64(binary.LittleEndian.Uint64(b[112:]))
	copy(h.Run[:], b[120:])
	return h, sum, nil
}

// frameHeader stands in clear before each sealed payload, so that a reader can
// pass over frames by number and time without a key. It is authenticated by the
// seal and by the chain.
type frameHeader struct {
	Kind     frameKind
	Flags    uint8
	Size     uint32 // sealed bytes, tag included
	Count    uint32 // events
	First    policy.EventID
	Min, Max int64  // wall-clock span of the events, Unix nanoseconds
	Elapsed  int64  // monotonic nanoseconds since the run began: the second clock of F12
	Index    uint32 // the nonce; grows within a segment, also past failed writes
}

// last is the number of the frame's last event.
func (h *frameHeader) last() policy.EventID { return h.First + policy.EventID(h.Count) - 1 }

// length is the frame's whole size on disk.
func (h *frameHeader) length() int64 { return frameHeaderSize + int64(h.Size) + chainSize }

func (h *frameHeader) put(b []byte) {
	copy(b, frameMagic)
	b[4], b[5], b[6], b[7] = byte(h.Kind), h.Flags, 0, 0
	binary.LittleEndian.PutUint32(b[8:], h.Size)
	binary.LittleEndian.PutUint32(b[12:], h.Count)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.First))
	binary.LittleEndian.PutUint64(b[24:], uint64(h.Min))
	binary.LittleEndian.PutUint64(b[32:], uint64(h.Max))
	binary.LittleEndian.PutUint64(b[40:], uint64(h.Elapsed))
	binary.LittleEndian.PutUint32(b[48:], h.Index)
	binary.LittleEndian.PutUint32(b[52:], crc32.Checksum(b[:52], crcTable))
}

// parseFrameHeader reads a frame header; ok is false for bytes that are none.
func parseFrameHeader(b []byte) (h frameHeader, ok bool) {
	if len(b) < frameHeaderSize || string(b[:4]) != frameMagic ||
		binary.LittleEndian.Uint32(b[52:]) != crc32.Checksum(b[:52], crcTable) {
		return h, false
	}
	h = frameHeader{
		Kind: frameKind(b[4]), Flags: b[5],
		Size:    binary.LittleEndian.Uint32(b[8:]),
		Count:   binary.LittleEndian.Uint32(b[12:]),
		First:   policy.EventID(binary.LittleEndian.Uint64(b[16:])),
		Min:     int64(binary.LittleEndian.Uint64(b[24:])),
		Max:     int64(binary.LittleEndian.Uint64(b[32:])),
		Elapsed: int64(binary.LittleEndian.Uint64(b[40:])),
		Index:   binary.LittleEndian.Uint32(b[48:]),
	}
	return h, h.Size >= tagSize && h.Size <= maxSealed && h.Count <= maxEvents && h.First > 0 && h.First <= maxID
}

// segmentName is the file a segment beginning with an event is kept in. The
// numbers are padded so that the names sort in order.
func segmentName(first policy.EventID) string {
	return fmt.Sprintf("journal-%020d.seg", uint64(first))
}

// parseSegmentName is the reverse; ok is false for other files.
func parseSegmentName(name string) (first policy.EventID, ok bool) {
	var n uint64
	if _, err := fmt.Sscanf(name, "journal-%d.seg", &n); err != nil || n == 0 {
		return 0, false
	}
	return policy.EventID(n), segmentName(policy.EventID(n)) == name
}

// unixNano is the moment as the journal keeps it. Years a 64-bit count of
// nanoseconds cannot hold are cut to its ends.
func unixNano(t time.Time) int64 {
	const end, second = math.MaxInt64, int64(time.Second)
	switch s := t.Unix(); {
	case s >= end/second:
		return end
	case s <= -end/second:
		return -end
	}
	return t.UnixNano()
}
