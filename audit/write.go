package audit

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"path/filepath"
	"syscall"
	"time"

	"schoolgate/policy"
)

// writer is the end of the journal: where the next frame goes and what it must
// follow. Only the leading caller touches it.
type writer struct {
	file    file // nil when the next frame must begin a new segment
	name    string
	header  segmentHeader
	day     int64 // UTC day, counted from 1970, the segment was begun on
	off     int64
	index   uint32 // the next nonce; also used up by failed writes
	sealer  *sealer
	min     int64 // of the segment's events
	max     int64
	flagged uint8
	company int // how many batches ago one was shared by callers, counted down

	next     policy.EventID
	chain    chain
	prevSize int64    // bytes that count of the segment last finished
	notes    []string // to be written before the next event
	told     []string // notes written before the segment's first event
	hash     hash.Hash
	scratch  []byte
}

// write puts the batch at the end of the journal. When it fails, nothing of the
// batch is in the journal and its numbers are still free.
func (j *Journal) write(b *batch, drop bool) (mark, error) {
	w := &j.w
	now := time.Now()
	if err := j.segmentFor(now, drop); err != nil {
		j.metrics.errors.Inc()
		return mark{}, err
	}
	h := frameHeader{
		Kind: frameEvents, Count: uint32(b.count), First: w.next, Min: b.min, Max: b.max,
		Elapsed: int64(now.Sub(j.started)), Size: uint32(len(b.buf) - frameHeaderSize + tagSize),
	}
	if b.flagged > 0 {
		h.Flags = flagFlagged
	}
	var err error
	if b.buf, err = j.putFrame(h, b.buf); err != nil {
		j.metrics.errors.Inc()
		return mark{}, err
	}
	w.span(b, h.Flags)
	w.next += policy.EventID(b.count)
	w.told = nil
	j.metrics.wrote(b)
	return w.mark(now), nil
}

// span widens the segment's summary by a batch.
func (w *writer) span(b *batch, flags uint8) {
	if w.min > w.max {
		w.min, w.max = b.min, b.max
	}
	w.min, w.max = min(w.min, b.min), max(w.max, b.max)
	w.flagged |= flags
}

func (w *writer) mark(at time.Time) mark { return mark{w.next - 1, w.chain, at} }

// putFrame seals the payload that follows the room for a header in buf, and
// writes it in one call. What a failed write left behind is cut off again;
// where that fails too, the segment is given up and the next frame begins a new
// one, which says how much of this one counts.
func (j *Journal) putFrame(h frameHeader, buf []byte) ([]byte, error) {
	w := &j.w
	h.Index = w.index
	w.index++
	h.put(buf[:frameHeaderSize])
	if !h.Kind.inClear() {
		buf = w.sealer.seal(buf, h.Index)
	}
	sum := w.after(buf)
	buf = append(buf, sum[:]...)
	err := j.writeAt(w.file, buf, w.off)
	if err == nil {
		w.off += int64(len(buf))
		w.chain = sum
		return buf, nil
	}
	if cut := w.file.Truncate(w.off); cut != nil {
		err = errors.Join(err, cut, j.giveUpSegment())
	}
	return buf, fmt.Errorf("%s: %w", w.name, err)
}

// after is the chain after a frame.
func (w *writer) after(frame []byte) (c chain) {
	if w.hash == nil {
		w.hash = sha256.New()
	}
	w.hash.Reset()
	w.hash.Write(w.chain[:])
	w.hash.Write(frame)
	w.hash.Sum(c[:0])
	return c
}

// writeAt writes all of p. If the disk is full it frees the reserve and tries
// once more.
func (j *Journal) writeAt(f file, p []byte, off int64) error {
	_, err := f.WriteAt(p, off)
	if errors.Is(err, syscall.ENOSPC) && j.freeReserve() {
		_, err = f.WriteAt(p, off)
	}
	return err
}

// segmentFor sees to it that a segment is open to write at that moment: a new
// one each day (so that retention can unlink days), at the size limit, and
// after the old one could not be synced.
func (j *Journal) segmentFor(now time.Time, drop bool) error {
	w := &j.w
	day := now.Unix() / (24 * 60 * 60)
	if w.file != nil && drop {
		j.lostSync(j.giveUpSegment())
	}
	if w.file != nil && (w.off >= j.opts.SegmentSize || w.day != day) {
		err := j.finishSegment()
		if err != nil && w.file != nil {
			return err
		}
		j.lostSync(err)
	}
	if w.file == nil {
		err := j.beginSegment(now)
		if errors.Is(err, syscall.ENOSPC) && j.freeReserve() { // the month's key and the file itself need space, too
			err = j.beginSegment(now)
		}
		if err != nil {
			return fmt.Errorf("new segment: %w", err)
		}
		w.day = day
	}
	return j.putNotes(now)
}

// lostSync tells that a power cut now could take the last second of a segment.
func (j *Journal) lostSync(err error) {
	if err != nil {
		j.log.Error("journal segment not synced", "segment", j.w.name, "err", err)
	}
}

// beginSegment makes the segment that follows what has been written.
func (j *Journal) beginSegment(now time.Time) error {
	w := &j.w
	if err := j.clearPlace(w.next); err != nil {
		return err
	}
	id, month, err := j.keys.forMonth(now)
	if err != nil {
		return err
	}
	h := segmentHeader{Key: id, Prev: w.chain, PrevSize: w.prevSize, First: w.next, Created: now.UnixNano(), Run: j.run}
	rand.Read(h.Salt[:])
	content := h.appendTo(nil)
	var start chain
	copy(start[:], content[headerBody:])
	sealer, err := newSealer(month, &h, start)
	if err != nil {
		return err
	}
	name := segmentName(w.next)
	f, err := j.createSegment(filepath.Join(j.dir, name), content)
	if err != nil {
		return err
	}
	w.file, w.name, w.header, w.off, w.index, w.sealer, w.chain = f, name, h, headerSize, 0, sealer, start
	w.min, w.max, w.flagged = 1, 0, 0
	j.mu.Lock()
	j.file, j.drop = f, false
	j.mu.Unlock()
	j.metrics.segments.Inc()
	return nil
}

// createSegment puts a segment file in place with its header, whole and known
// to the directory before the first event goes into it.
func (j *Journal) createSegment(name string, header []byte) (file, error) {
	tmp := filepath.Join(j.dir, "new.tmp")
	f, err := j.disk.Create(tmp)
	if err != nil {
		return nil, err
	}
	err = j.writeAt(f, header, 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.disk.Rename(tmp, name)
	}
	if err == nil {
		err = j.disk.SyncDir(j.dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), removeIfThere(j.disk, tmp))
	}
	return f, nil
}

// putNotes writes what has to be told about the journal itself.
func (j *Journal) putNotes(now time.Time) error {
	w := &j.w
	for len(w.notes) > 0 {
		if err := j.putOwn(frameNote, w.notes[0], now, now.UnixNano(), now.UnixNano()); err != nil {
			return err
		}
		w.told = append(w.told, w.notes[0])
		w.notes = w.notes[1:]
	}
	return nil
}

// putOwn writes a frame that holds no event.
func (j *Journal) putOwn(kind frameKind, text string, now time.Time, first, last int64) (err error) {
	w := &j.w
	buf := append(w.scratch[:0], make([]byte, frameHeaderSize)...)
	buf = append(buf, text...)
	size := len(text) + tagSize
	if kind.inClear() {
		size = len(text)
	}
	w.scratch, err = j.putFrame(frameHeader{
		Kind: kind, Flags: w.flagged, First: w.next, Min: first, Max: last,
		Elapsed: int64(now.Sub(j.started)), Size: uint32(size),
	}, buf)
	return err
}

// finishSegment seals the segment, so that readers know its span at a glance,
// and sees it to the disk. The next frame begins a new one.
func (j *Journal) finishSegment() error {
	w := &j.w
	if w.file == nil {
		return nil
	}
	if !w.empty() {
		if err := j.putOwn(frameSeal, "", time.Now(), w.min, w.max); err != nil {
			return err
		}
	}
	return j.giveUpSegment()
}

// empty reports whether the open segment holds no event yet.
func (w *writer) empty() bool { return w.next == w.header.First }

// giveUpSegment syncs and closes the segment as it is. If the disk does not
// take it, callers that wait for the disk are told.
func (j *Journal) giveUpSegment() error {
	w := &j.w
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	f := w.file
	w.file = nil
	if w.empty() { // the next one takes its name and its place
		w.chain, w.prevSize = w.header.Prev, w.header.PrevSize
		w.notes = append(w.told, w.notes...)
	} else {
		w.prevSize = w.off
	}
	w.told = nil
	err := f.Sync()
	j.mu.Lock()
	j.file = nil
	if err != nil {
		j.round.err = fmt.Errorf("%s: %w", w.name, err)
	} else {
		j.onDisk(j.end.seq)
	}
	j.mu.Unlock()
	return errors.Join(err, f.Close())
}
