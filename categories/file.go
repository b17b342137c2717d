package categories

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// A store file is a bbolt file with a seal behind it: a checksum of every
// mebibyte, and a footer. Reading the whole file and comparing takes some tens
// of milliseconds and happens at every open, before anything is mapped: bbolt
// itself dies of a truncated file (fault B1).
//
//	bbolt pages | crc32c per mebibyte, 4 bytes each | footer
//	footer: magic, format, size of the pages, crc32c of the sums and of the footer so far
const (
	magic      = "SGCATSTO"
	format     = 2
	footerSize = 8 + 4 + 8 + 4
	sumSpan    = 1 << 20
)

// ErrNotStore: the file is no category store, or one of a format unknown to us.
var ErrNotStore = errors.New("not a category store")

// ErrCorrupt: the file was a category store, and is damaged.
var ErrCorrupt = errors.New("category store is damaged")

func errCorrupt(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }

// seal puts the seal behind the first size bytes of f and makes all durable.
func seal(f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	sums, err := sumFile(f, size)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(footer(sums, size), size); err != nil {
		return err
	}
	return f.Sync()
}

// footer is the sums and the footer behind them.
func footer(sums []byte, size int64) []byte {
	b := append(sums, magic...)
	b = binary.LittleEndian.AppendUint32(b, format)
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// checkSeal reads the whole file and compares. It maps nothing.
func checkSeal(path string) (size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() || info.Size() < footerSize {
		return 0, ErrNotStore
	}
	last := make([]byte, footerSize)
	if _, err := f.ReadAt(last, info.Size()-footerSize); err != nil {
		return 0, err
	}
	if string(last[:len(magic)]) != magic {
		return 0, fmt.Errorf("%w, or cut short: it does not end in a seal", ErrNotStore)
	}
	if v := binary.LittleEndian.Uint32(last[8:]); v != format {
		return 0, fmt.Errorf("%w of format %d: its format is %d", ErrNotStore, format, v)
	}
	size = int64(binary.LittleEndian.Uint64(last[12:]))
	if size <= 0 || size >= info.Size() || info.Size() != size+int64(4*sumCount(size))+footerSize {
		return 0, errCorrupt("its size is not the one it was sealed with")
	}
	sealed := make([]byte, info.Size()-size)
	if _, err := f.ReadAt(sealed, size); err != nil {
		return 0, err
	}
	sums, err := sumFile(f, size)
	if err != nil {
		return 0, err
	}
	if string(footer(sums, size)) != string(sealed) {
		return 0, errCorrupt("its content is not what was sealed")
	}
	return size, nil
}

func sumCount(size int64) int { return int((size + sumSpan - 1) / sumSpan) }

// sumPause lets questions be answered between two mebibytes of a store that is
// being opened: two readers at full speed kept both processors of a small box
// from them for 40 ms.
const sumPause = 50 * time.Microsecond

// sumFile is the checksum of each mebibyte, taken by one reader that often makes
// room for others.
func sumFile(f io.ReaderAt, size int64) ([]byte, error) {
	sums := make([]byte, 0, 4*sumCount(size))
	buf := make([]byte, min(sumSpan, size))
	for at := int64(0); at < size; at += sumSpan {
		span := buf[:min(sumSpan, size-at)]
		if _, err := f.ReadAt(span, at); err != nil {
			return nil, err
		}
		sums = binary.LittleEndian.AppendUint32(sums, crc32.Checksum(span, castagnoli))
		time.Sleep(sumPause)
	}
	return sums, nil
}
