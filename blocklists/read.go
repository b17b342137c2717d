package blocklists

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// ErrEmpty is returned for a feed that gave no entry: an empty list is a list
// that went missing on its way.
var ErrEmpty = errors.New("no entries")

// Read reads a feed from start to end. Each entry goes to emit, each line that
// gave none to refuse. Both are called from this goroutine only; an error of
// emit ends the reading and is returned.
//
// An error means that the feed as a whole is refused: what was emitted before
// it must not be used.
func Read(ctx context.Context, f Feed, emit func(Entry) error, refuse func(Refusal)) (Stats, error) {
	s := newScan(ctx, &f, emit, refuse)
	err := s.all()
	if err == nil {
		err = s.tooManyFaults()
	}
	if err == nil && s.stats.Entries == 0 {
		err = refuseAll("%w", ErrEmpty)
	}
	s.stats.Bytes = s.meter.unpacked
	if err != nil {
		return s.stats, fmt.Errorf("feed %q: %w", f.Name, err)
	}
	return s.stats, nil
}

// all reads every file that the feed's path names.
func (s *scan) all() error {
	switch s.feed.Format {
	case V2fly:
		return s.v2fly()
	case UT1:
		return s.tree(s.ut1Member)
	}
	return s.open(s.feed.Path, s.text)
}

// text reads one file in a format of lines.
func (s *scan) text(file string, r io.Reader) error {
	s.category = s.feed.Category
	switch s.feed.Format {
	case Domains:
		return s.lines(file, r, s.domainLine)
	case Hosts:
		return s.lines(file, r, s.hostsLine)
	case Adblock:
		return s.lines(file, r, s.adblockLine)
	case Dnsmasq:
		return s.lines(file, r, s.dnsmasqLine)
	case RPZ:
		s.indented = true
		return s.lines(file, r, (&zone{scan: s}).parse)
	case Wildcards:
		return s.lines(file, r, s.wildcardLine)
	case URLs:
		return s.lines(file, r, s.urlLine)
	case IPs:
		return s.lines(file, r, s.ipLine)
	case CSV:
		return s.csvText(file, r)
	}
	return fmt.Errorf("unknown format %q", s.feed.Format)
}

func (s *scan) v2fly() error {
	all, size := services{}, 0
	if err := s.tree(s.v2flyMember(all, &size)); err != nil {
		return err
	}
	return s.v2flyServices(all)
}

// tree reads a folder, or an archive of one.
func (s *scan) tree(each func(name string, r io.Reader) error) error {
	if info, err := os.Stat(s.feed.Path); err == nil && info.IsDir() {
		return s.folder(s.feed.Path, each)
	}
	return s.open(s.feed.Path, func(file string, r io.Reader) error {
		return s.members(file, r, each)
	})
}

// open gives each file that path names, unpacked.
func (s *scan) open(path string, each func(file string, r io.Reader) error) error {
	files, err := s.names(path)
	if err != nil {
		return err
	}
	for _, name := range files {
		if err := s.openOne(name, each); err != nil {
			return err
		}
	}
	return nil
}

// names expands a glob, in a fixed order.
func (s *scan) names(path string) ([]string, error) {
	if s.feed.embedded != nil {
		return []string{path}, nil
	}
	if _, err := os.Stat(path); err == nil {
		return []string{path}, nil
	}
	files, err := filepath.Glob(path)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", path, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("path %q: %w", path, fs.ErrNotExist)
	}
	if len(files) > s.limits.Members {
		return nil, refuseAll("path %q names more than %d files", path, s.limits.Members)
	}
	slices.Sort(files)
	return files, nil
}

func (s *scan) openOne(name string, each func(string, io.Reader) error) error {
	f, err := s.regular(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := s.unpack(f)
	if err != nil {
		return sourceErr(name, 0, err)
	}
	return each(name, r)
}

// regular opens a regular file; a pipe or a device would keep us waiting.
func (s *scan) regular(name string) (fs.File, error) {
	if s.feed.embedded != nil {
		return s.feed.embedded.Open(name)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, sourceErr(name, 0, refuseAll("neither a file nor, for this format, a folder"))
	}
	return os.Open(name)
}

// unpack looks for gzip by its first bytes, whatever the name says, and counts
// both sides.
func (s *scan) unpack(r io.Reader) (io.Reader, error) {
	packed := bufio.NewReaderSize(packedReader{r, s.meter}, 64<<10)
	magic, err := packed.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return unpackedReader{packed, s.meter}, nil
	}
	plain, err := gzip.NewReader(packed)
	if err != nil {
		return nil, refuseAll("broken gzip: %w", err)
	}
	return unpackedReader{plain, s.meter}, nil
}
