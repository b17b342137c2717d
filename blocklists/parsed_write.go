package blocklists

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"schoolgate/policy"
)

// A reading is a file of
//
//	magic, sum of what it depends on, zstandard stream, HMAC-SHA256 of all before
//
// and the stream is blocks, each after its length, of events in the order in which
// they came: an entry, a refused line, another file; at last the counts.
const parsedMagic = "schoolgate reading 1\n"

// The kinds of events, in the low bits of their first byte; the others are flags
// of an entry.
const (
	eventEnd = iota
	eventEntry
	eventRefusal
	eventFile

	eventMask     = 3
	flagExact     = 4
	flagPath      = 8
	flagCategory  = 16
	parsedBlock   = 64 << 10
	maxParsedText = 1 << 20 // bytes of a block: one event may go over parsedBlock
)

var errTooLong = errors.New("over its bound")

// parsedWriter writes a reading beside its place. An error ends the writing and
// nothing else: what is read goes on to the store.
type parsedWriter struct {
	p    *Parsed
	feed *Feed
	f    *os.File
	out  *bufio.Writer
	zip  *zstd.Encoder
	mac  hash.Hash
	size int64
	err  error

	block    []byte
	file     string
	line     int
	category policy.Category
}

func (p *Parsed) create(f *Feed, key sum) *parsedWriter {
	w := &parsedWriter{p: p, feed: f, mac: hmac.New(sha256.New, p.key)}
	w.err = os.MkdirAll(p.dir, 0o700)
	if w.err == nil {
		w.f, w.err = os.CreateTemp(p.dir, "*"+partEnd)
	}
	if w.err != nil {
		return w
	}
	w.out = bufio.NewWriterSize(w.f, parsedBlock)
	head := append([]byte(parsedMagic), key[:]...)
	if _, w.err = (macWriter{w}).Write(head); w.err == nil {
		w.zip, w.err = zstd.NewWriter(macWriter{w}, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	}
	return w
}

// macWriter puts what is written under the sum and its bound.
type macWriter struct{ w *parsedWriter }

func (m macWriter) Write(b []byte) (int, error) {
	if m.w.size += int64(len(b)); m.w.size > m.w.p.limits.file {
		return 0, errTooLong
	}
	m.w.mac.Write(b)
	return m.w.out.Write(b)
}

func (w *parsedWriter) entry(e Entry) {
	if w.err != nil {
		return
	}
	name := e.Host.String()
	if again, err := policy.ParseHost(name); err != nil || again != e.Host {
		w.err = fmt.Errorf("entry %q does not read back as itself", name)
		return
	}
	w.at(e.File)
	kind := byte(eventEntry)
	if e.Exact {
		kind |= flagExact
	}
	if e.Path != "" {
		kind |= flagPath
	}
	if e.Category != w.category {
		kind |= flagCategory
	}
	w.block = binary.AppendVarint(append(w.block, kind), int64(e.Line-w.line))
	w.line = e.Line
	if kind&flagCategory != 0 {
		w.category = e.Category
		w.block = binary.AppendUvarint(w.block, uint64(e.Category))
	}
	w.text(name)
	if kind&flagPath != 0 {
		w.text(e.Path)
	}
	w.flush(parsedBlock)
}

func (w *parsedWriter) refusal(r Refusal) {
	if w.err != nil {
		return
	}
	w.at(r.File)
	w.block = binary.AppendVarint(append(w.block, eventRefusal), int64(r.Line-w.line))
	w.line = r.Line
	w.text(string(r.Reason))
	w.text(r.Text)
	w.flush(parsedBlock)
}

func (w *parsedWriter) at(file string) {
	if file != w.file {
		w.block = append(w.block, eventFile)
		w.text(file)
		w.file = file
	}
}

func (w *parsedWriter) text(s string) {
	w.block = append(binary.AppendUvarint(w.block, uint64(len(s))), s...)
}

func (w *parsedWriter) flush(from int) {
	if len(w.block) < from || w.err != nil {
		return
	}
	if len(w.block) > maxParsedText {
		w.err = errTooLong
		return
	}
	if _, w.err = w.zip.Write(binary.AppendUvarint(nil, uint64(len(w.block)))); w.err == nil {
		_, w.err = w.zip.Write(w.block)
	}
	w.block = w.block[:0]
}

// keep ends the file with the counts and puts it in its place.
func (w *parsedWriter) keep(stats Stats) {
	text, err := json.Marshal(stats)
	if w.err == nil {
		w.err = err
	}
	w.block = append(w.block, eventEnd)
	w.text(string(text))
	w.flush(0)
	if w.err == nil {
		w.err = w.zip.Close()
	}
	if w.err == nil {
		_, w.err = w.out.Write(w.mac.Sum(nil))
	}
	if w.err == nil {
		w.err = errors.Join(w.out.Flush(), w.f.Sync())
	}
	if w.err == nil {
		w.err = os.Rename(w.f.Name(), w.p.path(w.feed))
	}
	if w.err != nil {
		w.p.log.Warn("what was read of a list is not kept, the next build reads it again", "feed", w.feed.Name, "err", w.err)
	}
}

// drop closes the file and removes it, unless it is in its place.
func (w *parsedWriter) drop() {
	if w.f == nil {
		return
	}
	if w.zip != nil {
		w.zip.Reset(io.Discard) // lets go of what it holds
		_ = w.zip.Close()
	}
	_ = w.f.Close()           // written and synced, or not wanted
	_ = os.Remove(w.f.Name()) // gone if it was kept; Sweep takes what stays
}
