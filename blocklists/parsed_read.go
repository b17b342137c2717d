package blocklists

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"schoolgate/policy"
)

// errReading: a reading whose sum was right does not read. It was written to since.
var errReading = errors.New("not a whole reading")

// parsedReader reads a reading whose sum was found right.
type parsedReader struct {
	f   *os.File
	zip *zstd.Decoder
	in  *bufio.Reader

	block    string
	file     string
	line     int
	category policy.Category
}

// open gives the reading of a feed, nil if there is none to be believed.
func (p *Parsed) open(f *Feed, key sum) *parsedReader {
	file, err := os.Open(p.path(f))
	if err != nil {
		return nil
	}
	stream, err := p.believe(file, key)
	if err != nil {
		p.log.Info("a list is read anew", "feed", f.Name, "why", err)
		_ = file.Close() // only read
		return nil
	}
	zip, err := zstd.NewReader(stream, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		_ = file.Close() // only read
		return nil
	}
	return &parsedReader{f: file, zip: zip, in: bufio.NewReaderSize(zip, parsedBlock)}
}

// believe compares the sums of a file and gives what lies between them.
func (p *Parsed) believe(f *os.File, key sum) (io.Reader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	head := int64(len(parsedMagic) + len(key))
	end := info.Size() - sha256.Size
	if !info.Mode().IsRegular() || end < head || end > p.limits.file {
		return nil, errors.New("what was kept of it is cut or foreign")
	}
	begins := make([]byte, head)
	if _, err := f.ReadAt(begins, 0); err != nil {
		return nil, err
	}
	if !bytes.Equal(begins, append([]byte(parsedMagic), key[:]...)) {
		return nil, errors.New("it is new, or to be read in a new way")
	}
	mac, want := hmac.New(sha256.New, p.key), make([]byte, sha256.Size)
	if _, err := io.Copy(mac, io.NewSectionReader(f, 0, end)); err != nil {
		return nil, err
	}
	if _, err := f.ReadAt(want, end); err != nil {
		return nil, err
	}
	if !hmac.Equal(mac.Sum(nil), want) {
		return nil, errors.New("what was kept of it is damaged or foreign")
	}
	return io.NewSectionReader(f, head, end-head), nil
}

func (r *parsedReader) close() error {
	r.zip.Close()
	return r.f.Close()
}

// replay hands over what the reading holds, as [Read] did.
func (r *parsedReader) replay(ctx context.Context, emit func(Entry) error, refuse func(Refusal)) (stats Stats, err error) {
	for {
		if r.block == "" {
			if err := errors.Join(ctx.Err(), r.next()); err != nil {
				return stats, err
			}
		}
		kind := r.block[0]
		r.block = r.block[1:]
		switch kind & eventMask {
		case eventEntry:
			var e Entry
			if e, err = r.entry(kind); err == nil {
				err = emit(e)
			}
		case eventRefusal:
			var x Refusal
			if x, err = r.refusal(); err == nil {
				refuse(x)
			}
		case eventFile:
			r.file, err = r.text()
		case eventEnd:
			return r.end()
		}
		if err != nil {
			return stats, err
		}
	}
}

// next reads a block; texts are slices of it, as they are of a file's.
func (r *parsedReader) next() error {
	n, err := binary.ReadUvarint(r.in)
	if err == nil && (n == 0 || n > maxParsedText) {
		err = errTooLong
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errReading, err)
	}
	block := make([]byte, n)
	if _, err := io.ReadFull(r.in, block); err != nil {
		return fmt.Errorf("%w: %w", errReading, err)
	}
	r.block = string(block)
	return nil
}

func (r *parsedReader) entry(kind byte) (e Entry, err error) {
	if err := r.moved(); err != nil {
		return e, err
	}
	if kind&flagCategory != 0 {
		n, err := r.number()
		if err != nil || n >= uint64(policy.NumCategories) {
			return e, errReading
		}
		r.category = policy.Category(n)
	}
	name, err := r.text()
	if err != nil {
		return e, err
	}
	if kind&flagPath != 0 {
		if e.Path, err = r.text(); err != nil {
			return e, err
		}
	}
	if e.Host, err = policy.ParseHost(name); err != nil {
		return e, fmt.Errorf("%w: %w", errReading, err)
	}
	e.Exact, e.Category, e.File, e.Line = kind&flagExact != 0, r.category, r.file, r.line
	return e, nil
}

func (r *parsedReader) refusal() (x Refusal, err error) {
	if err := r.moved(); err != nil {
		return x, err
	}
	reason, err := r.text()
	if err != nil {
		return x, err
	}
	x = Refusal{File: r.file, Line: r.line, Reason: Reason(reason)}
	x.Text, err = r.text()
	return x, err
}

func (r *parsedReader) end() (stats Stats, err error) {
	text, err := r.text()
	if err == nil {
		err = json.Unmarshal([]byte(text), &stats)
	}
	if err == nil && r.block != "" {
		err = errTooLong
	}
	if err != nil {
		return stats, fmt.Errorf("%w: %w", errReading, err)
	}
	return stats, nil
}

// moved reads by how many lines the next event lies further down.
func (r *parsedReader) moved() error {
	n, err := r.number()
	r.line += int(n>>1) ^ -int(n&1) // as binary.AppendVarint writes it
	return err
}

func (r *parsedReader) number() (uint64, error) {
	var n uint64
	for i := 0; i < len(r.block) && i < binary.MaxVarintLen64; i++ {
		b := r.block[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			r.block = r.block[i+1:]
			return n, nil
		}
	}
	return 0, errReading
}

func (r *parsedReader) text() (string, error) {
	n, err := r.number()
	if err != nil || n > uint64(len(r.block)) {
		return "", errReading
	}
	s := r.block[:n]
	r.block = r.block[n:]
	return s, nil
}
