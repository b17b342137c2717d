package blocklists

import (
	"errors"
	"fmt"
	"io"
)

// Limits bounds what one feed may cost. Past one of them the feed as a whole is
// refused, so what was built of it must be thrown away.
type Limits struct {
	Line    int   // bytes in a line that is read; a longer one is refused
	Skip    int64 // bytes of over-long lines skipped in all
	Size    int64 // bytes, unpacked
	Ratio   int64 // unpacked to packed, once a megabyte is unpacked
	Members int   // of an archive or folder
	Faults  int64 // broken lines
	Share   int   // broken lines in a hundred, once MinFaults are seen
}

// minFaults is how many broken lines it takes before their share speaks: a few
// typing errors in a short list are reported and the rest is used.
const minFaults = 20

// DefaultLimits hold every real list with room to spare: the greatest is 90 MB
// and packs 6 to 1, and the worst has one broken line in forty.
var defaultLimits = Limits{
	Line: 8 << 10, Skip: 4 << 20, Size: 1 << 30, Ratio: 60, Members: 20_000,
	Faults: 100_000, Share: 25,
}

func (l Limits) orDefault() Limits {
	d := defaultLimits
	set(&l.Line, d.Line)
	set(&l.Skip, d.Skip)
	set(&l.Size, d.Size)
	set(&l.Ratio, d.Ratio)
	set(&l.Members, d.Members)
	set(&l.Faults, d.Faults)
	set(&l.Share, d.Share)
	return l
}

func set[N int | int64](v *N, otherwise N) {
	if *v <= 0 {
		*v = otherwise
	}
}

// ErrNotAList is what every refusal of a feed as a whole wraps.
var ErrNotAList = errors.New("refused as a whole")

func refuseAll(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrNotAList, fmt.Errorf(format, args...))
}

// meter counts what is unpacked against what was read packed, and stops a
// source that unpacks to more than it may. It is shared by the files of a feed.
type meter struct {
	limits   Limits
	packed   int64
	unpacked int64
}

// minRatioBytes may be unpacked before the ratio speaks: short texts that
// repeat themselves pack very well.
const minRatioBytes = 1 << 20

func (m *meter) check() error {
	if m.unpacked > m.limits.Size {
		return refuseAll("more than %d bytes unpacked", m.limits.Size)
	}
	if m.packed > 0 && m.unpacked > minRatioBytes && m.unpacked/m.packed > m.limits.Ratio {
		return refuseAll("it unpacks to more than %d times its size: an archive bomb", m.limits.Ratio)
	}
	return nil
}

// packedReader counts on the packed side.
type packedReader struct {
	r io.Reader
	m *meter
}

func (p packedReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.m.packed += int64(n)
	return n, err
}

// unpackedReader counts on the unpacked side and stops at the bound.
type unpackedReader struct {
	r io.Reader
	m *meter
}

func (u unpackedReader) Read(b []byte) (int, error) {
	n, err := u.r.Read(b)
	u.m.unpacked += int64(n)
	if over := u.m.check(); over != nil {
		return 0, over
	}
	return n, err
}
