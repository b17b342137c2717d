package blocklists

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// blockSize is how much is read at once. Lines are slices of the block they came
// in, so a line costs no allocation of its own.
const blockSize = 128 << 10

// lineReader cuts a source into lines without ever holding more than a block
// and one line, however long a line is.
type lineReader struct {
	r       io.Reader
	limits  Limits
	buf     []byte // read and not yet cut, always less than a line's bound plus a block
	block   string // whole lines still to be given
	skipped int64  // bytes of over-long lines so far
	drop    bool   // inside an over-long line
	first   bool   // nothing has been read yet
	err     error
}

func newLineReader(r io.Reader, l Limits) *lineReader {
	return &lineReader{r: r, limits: l, first: true}
}

// next gives a line without its end. long says that the line is over its bound
// and only its beginning is given. The end of the source is io.EOF.
func (l *lineReader) next() (line string, long bool, err error) {
	for l.block == "" {
		if line, long, err = l.fill(); err != nil || long {
			return line, long, err
		}
	}
	if i := strings.IndexByte(l.block, '\n'); i >= 0 {
		line, l.block = l.block[:i], l.block[i+1:]
	} else {
		line, l.block = l.block, ""
	}
	line = strings.TrimSuffix(line, "\r")
	if len(line) > l.limits.Line {
		return line[:l.limits.Line], true, l.skip(len(line))
	}
	return line, false, nil
}

// fill reads until there is a whole line. Of a line that is over its bound it
// gives the beginning at once and then drops the rest.
func (l *lineReader) fill() (string, bool, error) {
	if l.err != nil {
		if len(l.buf) > 0 {
			l.block, l.buf = string(l.buf), l.buf[:0]
			return "", false, nil
		}
		return "", false, l.err
	}
	if err := l.read(); err != nil {
		return "", false, err
	}
	if l.drop {
		return "", false, l.dropLine()
	}
	if i := bytes.LastIndexByte(l.buf, '\n'); i >= 0 {
		l.block = string(l.buf[:i+1])
		l.buf = append(l.buf[:0], l.buf[i+1:]...)
		return "", false, nil
	}
	if len(l.buf) <= l.limits.Line {
		return "", false, nil
	}
	start := string(l.buf[:l.limits.Line])
	n := len(l.buf)
	l.buf, l.drop = l.buf[:0], true
	return start, true, l.skip(n)
}

// dropLine lets go of what belongs to an over-long line.
func (l *lineReader) dropLine() error {
	n := len(l.buf)
	if i := bytes.IndexByte(l.buf, '\n'); i >= 0 {
		n, l.drop = i+1, false
	}
	l.buf = append(l.buf[:0], l.buf[n:]...)
	return l.skip(n)
}

func (l *lineReader) skip(n int) error {
	l.skipped += int64(n)
	if l.skipped > l.limits.Skip {
		return refuseAll("over-long lines make up more than %d bytes", l.limits.Skip)
	}
	return nil
}

// read adds a block to buf and keeps the end of the source for later.
func (l *lineReader) read() error {
	have := len(l.buf)
	if cap(l.buf) < have+blockSize {
		l.buf = append(make([]byte, 0, have+2*blockSize), l.buf...)
	}
	for end, idle := have+blockSize, 0; have < end && l.err == nil; {
		n, err := l.r.Read(l.buf[have:end])
		have += n
		if idle++; n > 0 {
			idle = 0
		}
		if idle > 100 {
			err = io.ErrNoProgress
		}
		l.err = err
	}
	l.buf = l.buf[:have]
	if l.err != nil && !errors.Is(l.err, io.EOF) {
		return l.err
	}
	if l.first {
		l.first = false
		l.buf = bytes.TrimPrefix(l.buf, []byte("\xef\xbb\xbf"))
		return sniff(l.buf)
	}
	return nil
}

// archives and other things that are sent where a list should be, by how they
// begin.
var notLists = []struct{ magic, what string }{
	{"PK\x03\x04", "a zip archive: unpack it first"},
	{"\xfd7zXZ\x00", "an xz archive: unpack it first"},
	{"BZh", "a bzip2 archive: unpack it first"},
	{"\x28\xb5\x2f\xfd", "a zstandard archive: unpack it first"},
	{"7z\xbc\xaf", "a 7-zip archive: unpack it first"},
	{"\x1f\x8b", "gzip inside gzip"},
	{"%PDF-", "a PDF document"},
	{"\x89PNG", "a picture"},
	{"\xff\xd8\xff", "a picture"},
	{"\x7fELF", "a program"},
	{"MZ", "a program"},
	{"\xff\xfe", "UTF-16 text: save it as UTF-8"},
	{"\xfe\xff", "UTF-16 text: save it as UTF-8"},
	{"SQLite format 3\x00", "a database"},
	{"{", "JSON, not a list in this format"},
}

// sniff looks at the first block and refuses what is no list at all.
func sniff(b []byte) error {
	for _, n := range notLists {
		if bytes.HasPrefix(b, []byte(n.magic)) && (n.magic != "MZ" || bytes.IndexByte(b, 0) >= 0) {
			return refuseAll("%s", n.what)
		}
	}
	start := strings.ToLower(string(bytes.TrimSpace(b[:min(len(b), 512)])))
	for _, tag := range []string{"<!doctype", "<html", "<head", "<body", "<?xml", "<!--", "<script", "<title"} {
		if strings.HasPrefix(start, tag) {
			return refuseAll("a web page, not a list (it begins with %s)", tag)
		}
	}
	if nul := bytes.Count(b, []byte{0}); nul >= 8 && nul >= len(b)/50 {
		if looksWide(b) {
			return refuseAll("UTF-16 text: save it as UTF-8")
		}
		return refuseAll("binary data, not a list")
	}
	return nil
}

// looksWide reports whether every other byte is nought, as in UTF-16 without a
// byte order mark.
func looksWide(b []byte) bool {
	var at [2]int
	for i, c := range b {
		if c == 0 {
			at[i&1]++
		}
	}
	return max(at[0], at[1]) > len(b)/3 && min(at[0], at[1]) < len(b)/20
}

// sourceErr says in which file, and at which line of it, something went wrong.
func sourceErr(file string, line int, err error) error {
	if line > 0 {
		return fmt.Errorf("%s:%d: %w", file, line, err)
	}
	return fmt.Errorf("%s: %w", file, err)
}
