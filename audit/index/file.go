package index

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"schoolgate/audit"
	"schoolgate/internal/durable"
	"schoolgate/policy"
)

// A sealed file is a head of one page and then the pages of an SQLite database,
// each sealed with AES-256-GCM. The file's key is its own; it lies in the head,
// sealed with the journal's key of the month. The head is in clear (it names no
// host and nobody) and bound to every page, and so is a page's number, so that a
// page that was altered, moved or taken from another file does not open.
const (
	fileMagic = "SGINDEX\n"
	fileExt   = ".idx"
	pageSize  = 4096
	tagSize   = 16
	keySize   = 32
	keyUse    = "index file 1"

	// version is that of the database inside. Files of another are made anew.
	version = 1
)

// head says what a sealed file holds.
type head struct {
	Version int            `json:"version"`
	Day     string         `json:"day"` // of the school, of most of the events
	First   policy.EventID `json:"first"`
	Last    policy.EventID `json:"last"` // everything the journal has between them is here
	Events  int            `json:"events"`
	Gaps    bool           `json:"gaps,omitempty"` // some of it could not be read: ask the journal, which says so
	Min     int64          `json:"min"`            // of the clocks, Unix nanoseconds
	Max     int64          `json:"max"`
	Journal string         `json:"journal"` // fingerprint of the segments it was made of
	Pages   int            `json:"pages"`
	Key     []byte         `json:"key"` // sealed
}

// ErrDamaged: a file is not as it was written.
var ErrDamaged = errors.New("index file is damaged")

// name is the file's name. It sorts in order of the numbers.
func (h *head) name() string {
	return fmt.Sprintf("%020d-%s%s", uint64(h.First), h.Day, fileExt)
}

// size is what the file must measure.
func (h *head) size() int64 { return pageSize + int64(h.Pages)*(pageSize+tagSize) }

// encode is the first page.
func (h *head) encode() ([]byte, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	b := make([]byte, pageSize)
	if len(fileMagic)+4+len(text) > len(b) {
		return nil, fmt.Errorf("index head of %d bytes is too long", len(text))
	}
	copy(b, fileMagic)
	binary.LittleEndian.PutUint32(b[len(fileMagic):], uint32(len(text)))
	copy(b[len(fileMagic)+4:], text)
	return b, nil
}

// readHead reads the head of a file and checks that the file is as long as it says.
func readHead(path string) (h head, sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return h, sum, err
	}
	defer f.Close()
	b := make([]byte, pageSize)
	if _, err := io.ReadFull(f, b); err != nil {
		return h, sum, fmt.Errorf("%w: its head is cut short", ErrDamaged)
	}
	n := binary.LittleEndian.Uint32(b[len(fileMagic):])
	if !bytes.HasPrefix(b, []byte(fileMagic)) || n > pageSize-uint32(len(fileMagic))-4 {
		return h, sum, fmt.Errorf("%w: not an index file", ErrDamaged)
	}
	if err := json.Unmarshal(b[len(fileMagic)+4:][:n], &h); err != nil {
		return h, sum, fmt.Errorf("%w: head: %w", ErrDamaged, err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		return h, sum, err
	case h.Version != version:
		return h, sum, fmt.Errorf("%w: version %d, this schoolgate makes %d", ErrDamaged, h.Version, version)
	case h.Pages <= 0 || info.Size() != h.size():
		return h, sum, fmt.Errorf("%w: %d bytes long, its head says %d", ErrDamaged, info.Size(), h.size())
	case h.name() != filepath.Base(path) || h.First == 0 || h.Last < h.First:
		return h, sum, fmt.Errorf("%w: it is another file than its name says", ErrDamaged)
	}
	return h, sha256.Sum256(b), nil
}

// writeFile seals a database and puts it in place, whole and on the disk, or not
// at all.
func writeFile(dir string, keys audit.Keys, h *head, db []byte) error {
	key := make([]byte, keySize)
	rand.Read(key)
	month := time.Unix(0, h.Max)
	if h.Events == 0 {
		month = time.Now()
	}
	var err error
	if h.Key, err = keys.Seal(month, keyUse, key); err != nil {
		return err
	}
	h.Version, h.Pages = version, len(db)/pageSize
	first, err := h.encode()
	if err != nil {
		return err
	}
	aead, err := newGCM(key)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, h.name()+".tmp"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = writePages(f, aead, first, db)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, h.name()))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return durable.SyncDir(dir)
}

func writePages(w io.Writer, aead cipher.AEAD, first, db []byte) error {
	const batch = 64
	sum := sha256.Sum256(first)
	buf := make([]byte, 0, batch*(pageSize+tagSize))
	if _, err := w.Write(first); err != nil {
		return err
	}
	for n := 0; n*pageSize < len(db); n++ {
		buf = aead.Seal(buf, nonce(n), db[n*pageSize:][:pageSize], sum[:])
		if n%batch == batch-1 || (n+1)*pageSize >= len(db) {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	return nil
}

// nonce is that of a page. The key is the file's alone and a file is written once.
func nonce(page int) []byte {
	var b [12]byte
	binary.BigEndian.PutUint64(b[4:], uint64(page))
	return b[:]
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// sealed is a sealed file as SQLite's driver reads it: as its database, opened
// page by page. It is used by one reader at a time.
type sealed struct {
	f    *os.File
	aead cipher.AEAD
	head head
	sum  [sha256.Size]byte
	pos  int64
	page int // the one in plain, -1 for none
	raw  []byte
	out  []byte
	bad  error // the first page that did not open
}

// openSealed opens a file for reading and tries its first page.
func openSealed(path string, keys audit.Keys) (*sealed, error) {
	h, sum, err := readHead(path)
	if err != nil {
		return nil, err
	}
	key, err := keys.Open(keyUse, h.Key)
	if err != nil {
		return nil, err
	}
	if len(key) != keySize {
		return nil, fmt.Errorf("%w: a key of %d bytes", ErrDamaged, len(key))
	}
	s := &sealed{head: h, sum: sum, page: -1, raw: make([]byte, pageSize+tagSize), out: make([]byte, 0, pageSize)}
	if s.aead, err = newGCM(key); err != nil {
		return nil, err
	}
	if s.f, err = os.Open(path); err != nil {
		return nil, err
	}
	if err := s.load(0); err != nil {
		return nil, errors.Join(err, s.f.Close())
	}
	return s, nil
}

// load decrypts a page.
func (s *sealed) load(page int) error {
	if page == s.page {
		return nil
	}
	s.page = -1
	if _, err := s.f.ReadAt(s.raw, pageSize+int64(page)*(pageSize+tagSize)); err != nil {
		return s.damaged(fmt.Errorf("page %d: %w", page, err))
	}
	out, err := s.aead.Open(s.out[:0], nonce(page), s.raw, s.sum[:])
	if err != nil {
		return s.damaged(fmt.Errorf("page %d was altered", page))
	}
	s.out, s.page = out, page
	return nil
}

func (s *sealed) damaged(err error) error {
	err = fmt.Errorf("%w: %w", ErrDamaged, err)
	if s.bad == nil {
		s.bad = err
	}
	return err
}

// scrub opens every page. pause is called now and then.
func (s *sealed) scrub(pause func() error) error {
	for n := range s.head.Pages {
		if err := s.load(n); err != nil {
			return err
		}
		if n%256 == 255 {
			if err := pause(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Read and Seek are how the driver reads.
func (s *sealed) Read(p []byte) (n int, err error) {
	size := int64(s.head.Pages) * pageSize
	for n < len(p) && s.pos < size {
		if err := s.load(int(s.pos / pageSize)); err != nil {
			return n, err
		}
		k := copy(p[n:], s.out[s.pos%pageSize:])
		n, s.pos = n+k, s.pos+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Seek sets the place in the database.
func (s *sealed) Seek(off int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, errors.ErrUnsupported
	}
	s.pos = off
	return off, nil
}

// Stat tells the database's size.
func (s *sealed) Stat() (fs.FileInfo, error) { return databaseInfo{s}, nil }

// Close ends reading.
func (s *sealed) Close() error { return s.f.Close() }

type databaseInfo struct{ s *sealed }

func (i databaseInfo) Name() string       { return i.s.head.name() }
func (i databaseInfo) Size() int64        { return int64(i.s.head.Pages) * pageSize }
func (i databaseInfo) Mode() fs.FileMode  { return 0o400 }
func (i databaseInfo) ModTime() time.Time { return time.Time{} }
func (i databaseInfo) IsDir() bool        { return false }
func (i databaseInfo) Sys() any           { return nil }

// reversed turns a host's labels round, so that a host and all below it are
// neighbours in order: www.example.org becomes org.example.www.
func reversed(host string) string {
	labels := strings.Split(host, ".")
	for i, j := 0, len(labels)-1; i < j; i, j = i+1, j-1 {
		labels[i], labels[j] = labels[j], labels[i]
	}
	return strings.Join(labels, ".")
}
