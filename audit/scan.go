package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"schoolgate/policy"
)

// frame is one frame as it lies in a segment. raw and sum are valid until the
// scanner reads on.
type frame struct {
	frameHeader
	Off int64
	raw []byte // header and sealed payload
	sum chain  // the chain as the writer stored it after this frame
}

func (f *frame) end() int64 { return f.Off + f.length() }

// follows reports whether the frame is what the writer wrote after prev.
func (f *frame) follows(prev chain) bool { return f.sum == f.after(prev) }

// after is the chain after this frame if it was prev before it.
func (f *frame) after(prev chain) (c chain) {
	h := sha256.New()
	h.Write(prev[:])
	h.Write(f.raw)
	h.Sum(c[:0])
	return c
}

var (
	// errTorn: the bytes end within a frame, as when a write was cut off.
	errTorn = errors.New("frame is cut short")
	// errBadFrame: the bytes at this place are no frame.
	errBadFrame = errors.New("not a frame")
	// errMisnamed: the segment is another one than its file says.
	errMisnamed = errors.New("renamed or copied")
)

// scanner reads the frames of a segment in order, by a window over the file.
// Memory is bounded by the window and one frame.
type scanner struct {
	f   io.ReaderAt
	buf []byte
	off int64 // of buf in the file
}

const windowSize = 64 << 10

// bytes gives n bytes at off. At the end of the file it gives fewer, with
// io.EOF if none.
func (s *scanner) bytes(off int64, n int) ([]byte, error) {
	if off < s.off || off+int64(n) > s.off+int64(len(s.buf)) {
		if err := s.fill(off, n); err != nil {
			return nil, err
		}
	}
	got := s.buf[min(off-s.off, int64(len(s.buf))):]
	if len(got) == 0 {
		return nil, io.EOF
	}
	return got[:min(n, len(got))], nil
}

func (s *scanner) fill(off int64, n int) error {
	if off < s.off { // reading backward: what lies before is wanted next
		off, n = max(0, off+int64(n)-windowSize), max(n, windowSize)
	}
	n = max(n, windowSize)
	if cap(s.buf) < n {
		s.buf = make([]byte, n)
	}
	got, err := s.f.ReadAt(s.buf[:n], off)
	if err != nil && !errors.Is(err, io.EOF) {
		s.buf = s.buf[:0]
		return err
	}
	s.buf, s.off = s.buf[:got], off
	return nil
}

// header reads the frame header at off: io.EOF at the end of the file, errTorn
// or errBadFrame where there is none.
func (s *scanner) header(off int64) (frameHeader, error) {
	b, err := s.bytes(off, frameHeaderSize)
	if err != nil {
		return frameHeader{}, err
	}
	if len(b) < frameHeaderSize {
		return frameHeader{}, errTorn
	}
	h, ok := parseFrameHeader(b)
	if !ok {
		return frameHeader{}, errBadFrame
	}
	return h, nil
}

// frame reads the whole frame at off.
func (s *scanner) frame(off int64) (frame, error) {
	h, err := s.header(off)
	if err != nil {
		return frame{}, err
	}
	b, err := s.bytes(off, int(h.length()))
	if err != nil {
		return frame{}, err
	}
	if len(b) < int(h.length()) {
		return frame{}, errTorn
	}
	f := frame{frameHeader: h, Off: off, raw: b[:len(b)-chainSize]}
	copy(f.sum[:], b[len(b)-chainSize:])
	return f, nil
}

// resync finds the next place after off where a whole frame begins; ok is false
// if there is none before the end.
func (s *scanner) resync(off int64) (at int64, ok bool) {
	for off++; ; {
		b, err := s.bytes(off, windowSize)
		if err != nil {
			return 0, false
		}
		i := bytes.Index(b, []byte(frameMagic))
		switch {
		case i >= 0:
			off += int64(i)
			if _, err := s.frame(off); err == nil {
				return off, true
			}
			off++
		case len(b) < windowSize:
			return 0, false
		default:
			off += int64(len(b) - len(frameMagic) + 1)
		}
	}
}

// segment is a segment file opened for reading.
type segment struct {
	scanner
	header segmentHeader
	start  chain // before the first frame
	kept   *kept // of one that retention wrote anew
	name   string
	file   *os.File
}

// openSegment opens the segment that begins with an event. Its header must be
// readable; where it is not, the segment is given with the error, without a key.
func openSegment(dir string, first policy.EventID) (*segment, error) {
	name := segmentName(first)
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	s := &segment{scanner: scanner{f: f}, name: name, file: f}
	b := make([]byte, headerSize)
	n, err := f.ReadAt(b, 0)
	if err == nil || errors.Is(err, io.EOF) {
		s.header, s.start, err = parseSegmentHeader(b[:n])
	}
	if err == nil && s.header.First != first {
		err = fmt.Errorf("%w: its header says it begins with event %s", errMisnamed, s.header.First)
	}
	if err == nil && s.header.Version == formatKept {
		s.kept, err = s.readKept()
	}
	return s, err
}

func (s *segment) close() error { return s.file.Close() }

func (s *segment) size() (int64, error) {
	info, err := s.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// sealer is what opens the segment's frames.
func (s *segment) sealer(keys *keyring) (*sealer, error) {
	if keys == nil {
		return nil, errors.New("no wrapping key")
	}
	month, err := keys.get(s.header.Key)
	if err != nil {
		return nil, err
	}
	return newSealer(month, &s.header, s.start)
}
