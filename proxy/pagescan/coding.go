package pagescan

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"
)

// Readable are the content codings that a page can be read in. A request that may
// bring a page offers no others.
var Readable = []string{"gzip", "deflate", "br", "zstd", "identity"}

var (
	errBomb = errors.New("more bytes unpacked than a page has")
)

// maxLayers is how many codings may lie on one another; servers use one. Browsers
// unpack any number, so a page in more of them is closed as a bomb is.
const maxLayers = 2

// maxWindow is what zstd may ask to remember (RFC 9659).
const maxWindow = 8 << 20

// maxLayer bounds what one layer unpacks, all in all: empty parts within parts
// would otherwise keep us busy without there ever being any text.
const maxLayer = 4 * MaxPage

// codings reads a Content-Encoding header; the first was put on first. What is no
// coding of browsers is left out: Chrome then shows the bytes as they come, and
// Firefox unpacks the others.
func codings(header string) (list []string, strange bool) {
	for name := range strings.SplitSeq(header, ",") {
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "":
		case "gzip", "x-gzip", "deflate", "br", "zstd":
			list = append(list, name)
		default:
			strange = true
		}
	}
	return list, strange
}

// Encoding is the Content-Encoding that a page is to be passed on with, so that every
// browser reads it as [Set.Open] does: as it came, unless it names what is no coding.
func Encoding(header string) string {
	list, strange := codings(header)
	if !strange {
		return header
	}
	return strings.Join(list, ", ")
}

// unpacked reads what lies under codings.
func unpacked(r io.Reader, codings []string) (io.Reader, error) {
	for i := len(codings) - 1; i >= 0; i-- {
		var err error
		if r, err = unpack(r, codings[i]); err != nil {
			return nil, err
		}
		r = &layer{r: r, left: maxLayer}
	}
	return r, nil
}

func unpack(r io.Reader, coding string) (io.Reader, error) {
	switch coding {
	case "gzip", "x-gzip":
		return gzip.NewReader(r)
	case "deflate": // zlib by the standard, bare by some servers
		br := bufio.NewReaderSize(r, 512)
		if head, err := br.Peek(2); err != nil || (uint(head[0])<<8|uint(head[1]))%31 != 0 || head[0]&15 != 8 {
			return flate.NewReader(br), nil
		}
		return zlib.NewReader(br)
	case "br":
		return brotli.NewReader(&narrowed{r: r}), nil
	}
	d, err := zstd.NewReader( // which has no goroutine of its own where it may run only one
		r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return d, nil
}

// narrowed is a brotli stream that asks for a window of 4 MiB at most: the widest, of
// 16, would be kept for each page from its first byte on. What lies farther back than
// that is beyond maxLayer, so that all we read unpacks alike (RFC 7932 section 9.1).
type narrowed struct {
	r     io.Reader
	begun bool
}

func (n *narrowed) Read(p []byte) (int, error) {
	got, err := n.r.Read(p)
	if got > 0 && !n.begun {
		n.begun = true
		if window := p[0] & 0xf; window == 0xf || window == 0xd { // 16 MiB, 8 MiB
			p[0] = p[0]&^0xf | 0xb
		}
	}
	return got, err
}

// layer bounds what is unpacked of one coding.
type layer struct {
	r    io.Reader
	left int
}

func (l *layer) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errBomb
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// decoder makes UTF-8 of a page, part by part.
type decoder struct {
	from *encoding.Decoder // nil where it is UTF-8
	rest []byte            // of a character that has not come whole
	out  []byte
}

// newDecoder is for a page that begins so, as a browser finds its charset: by a mark
// at the beginning, the header, or what the page says of itself.
func newDecoder(head []byte, contentType string) *decoder {
	e, name, _ := charset.DetermineEncoding(head, contentType)
	if name == "utf-8" || e == encoding.Nop {
		return &decoder{}
	}
	return &decoder{from: e.NewDecoder(), out: make([]byte, 16<<10)}
}

// feed decodes a part.
func (d *decoder) feed(part []byte, take func([]byte)) { d.decode(part, false, take) }

// end decodes what is left.
func (d *decoder) end(take func([]byte)) { d.decode(nil, true, take) }

func (d *decoder) decode(part []byte, last bool, take func([]byte)) {
	if d.from == nil {
		take(part)
		return
	}
	if len(d.rest) > 0 {
		part = append(d.rest, part...)
	}
	for {
		to, from, err := d.from.Transform(d.out, part, last)
		take(d.out[:to])
		part = part[from:]
		if err != transform.ErrShortDst || to+from == 0 {
			break // all of it, or up to a character that goes on
		}
	}
	d.rest = append(d.rest[:0:0], part...)
}

// sniffed is how much of a page a browser looks at for its charset.
const sniffed = 1024
