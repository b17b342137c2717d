package audit

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// keyID names a month's data key, e.g. 2026-11-1f0c9a44. The tail is random, so
// that a key made again in the same month is another key.
type keyID [16]byte

func (id keyID) String() string { return strings.ToValidUTF8(string(id[:]), "?") }

// valid keeps a damaged header from naming a file elsewhere.
func (id keyID) valid() bool {
	return strings.Trim(id.String(), "0123456789abcdef-") == ""
}

// ErrErased: the month's key has been destroyed, and with it what it sealed.
var ErrErased = errors.New("data key erased")

const (
	wrapKeyFile = "wrap.key" // wraps the month keys, unless Options.KeyFile names another
	keyMagic    = "SGKEY1\n\x00"
	keySize     = 32
)

// keyring reads and makes the data keys in dir/keys. Each month has its own,
// sealed with the wrapping key; destroying it erases the month.
type keyring struct {
	dir  string
	disk disk
	wrap cipher.AEAD
	mac  []byte // of receipts

	mu   sync.Mutex
	keys map[keyID][]byte
}

// openKeyring reads the wrapping key. With create it makes one if none was ever
// made: where month keys exist, a missing wrapping key is refused, as a new one
// would leave them unreadable for ever without a word.
func openKeyring(d disk, dir, keyFile string, create bool) (*keyring, error) {
	dir = filepath.Join(dir, "keys")
	if keyFile == "" {
		keyFile = filepath.Join(dir, wrapKeyFile)
	}
	if create {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	secret, err := os.ReadFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) && create {
		secret, err = makeWrapKey(d, dir, keyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("wrapping key: %w", err)
	}
	if len(secret) != keySize {
		return nil, fmt.Errorf("wrapping key %s: %d bytes, want %d", keyFile, len(secret), keySize)
	}
	wrap, err := newGCM(secret)
	if err != nil {
		return nil, err
	}
	mac, err := hkdf.Key(sha256.New, secret, nil, "schoolgate journal receipts 1", keySize)
	if err != nil {
		return nil, err
	}
	return &keyring{dir: dir, disk: d, wrap: wrap, mac: mac, keys: map[keyID][]byte{}}, nil
}

func makeWrapKey(d disk, dir, keyFile string) ([]byte, error) {
	if months, err := filepath.Glob(filepath.Join(dir, "????-??-*.key")); err != nil || len(months) > 0 {
		return nil, fmt.Errorf("%s is missing, and %d month keys need it: put it back from the backup", keyFile, len(months))
	}
	secret := make([]byte, keySize)
	rand.Read(secret)
	return secret, writeWhole(d, keyFile, secret)
}

// get is a month's key, [ErrErased] if it is gone.
func (k *keyring) get(id keyID) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.keys[id]; ok {
		return key, nil
	}
	if !id.valid() {
		return nil, fmt.Errorf("bad data key name %q", id)
	}
	sealed, err := os.ReadFile(k.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrErased, id)
	}
	if err != nil {
		return nil, err
	}
	nonce, body, ok := cutKeyFile(sealed)
	if !ok {
		return nil, fmt.Errorf("data key %s: not a key file", id)
	}
	key, err := k.wrap.Open(nil, nonce, body, id[:])
	if err != nil {
		return nil, fmt.Errorf("data key %s: does not open with this wrapping key", id)
	}
	k.keys[id] = key
	return key, nil
}

func cutKeyFile(b []byte) (nonce, body []byte, ok bool) {
	rest, ok := strings.CutPrefix(string(b), keyMagic)
	if !ok || len(rest) != 12+keySize+tagSize {
		return nil, nil, false
	}
	return []byte(rest[:12]), []byte(rest[12:]), true
}

// forMonth is the key to seal with at a moment: one of that month that still
// opens, or a new one, on disk before it is used.
func (k *keyring) forMonth(at time.Time) (keyID, []byte, error) {
	month := at.UTC().Format("2006-01")
	names, err := filepath.Glob(filepath.Join(k.dir, month+"-????????.key"))
	if err != nil {
		return keyID{}, nil, err
	}
	for _, name := range names {
		var id keyID
		copy(id[:], filepath.Base(name))
		if key, err := k.get(id); err == nil {
			return id, key, nil
		}
	}
	return k.make(month)
}

func (k *keyring) make(month string) (keyID, []byte, error) {
	var tail [4]byte
	rand.Read(tail[:])
	var id keyID
	copy(id[:], month+"-"+hex.EncodeToString(tail[:]))
	key, nonce := make([]byte, keySize), make([]byte, 12)
	rand.Read(key)
	rand.Read(nonce)
	content := append([]byte(keyMagic), nonce...)
	content = k.wrap.Seal(content, nonce, key, id[:])
	if err := writeWhole(k.disk, k.path(id), content); err != nil {
		return keyID{}, nil, fmt.Errorf("data key for %s: %w", month, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[id] = key
	return id, key, nil
}

// forget drops a key that was destroyed.
func (k *keyring) forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for known := range k.keys {
		if known.String() == id {
			delete(k.keys, known)
		}
	}
}

func (k *keyring) path(id keyID) string { return filepath.Join(k.dir, id.String()+".key") }

// EraseMonth destroys the data keys of a month, written 2026-11, and so every
// event sealed with them (privacy 2). The chain stays checkable. The files are
// overwritten first, which an SSD may not do in place: where that matters, the
// wrapping key belongs on another device (Options.KeyFile).
func (d Dir) EraseMonth(month string) (keys int, err error) {
	if _, err := time.Parse("2006-01", month); err != nil {
		return 0, fmt.Errorf("bad month %q: want one such as 2026-11", month)
	}
	names, err := filepath.Glob(filepath.Join(d.Path, "keys", month+"-????????.key"))
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		if err := shred(name); err != nil {
			return keys, err
		}
		keys++
	}
	if keys == 0 {
		return 0, nil
	}
	return keys, osDisk{}.SyncDir(filepath.Join(d.Path, "keys"))
}

func shred(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, len(keyMagic)+12+keySize+tagSize))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(name))
}

// sealer encrypts the frames of one segment. Its key is the segment's own, so
// the frame index alone makes a nonce unique.
type sealer struct {
	aead  cipher.AEAD
	aad   [chainSize + frameHeaderSize]byte // segment, then frame
	nonce [12]byte
}

// newSealer derives a segment's key from its month's.
func newSealer(month []byte, h *segmentHeader, start chain) (*sealer, error) {
	key, err := hkdf.Key(sha256.New, month, h.Salt[:], "schoolgate journal segment 1", keySize)
	if err != nil {
		return nil, err
	}
	aead, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	s := &sealer{aead: aead}
	copy(s.aad[:], start[:])
	return s, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// bind ties the next seal to a frame header: its place, count and numbers.
func (s *sealer) bind(header []byte, index uint32) {
	copy(s.aad[chainSize:], header)
	binary.BigEndian.PutUint32(s.nonce[8:], index)
}

// seal encrypts the payload that follows the header in frame, in place.
func (s *sealer) seal(frame []byte, index uint32) []byte {
	s.bind(frame[:frameHeaderSize], index)
	return s.aead.Seal(frame[:frameHeaderSize], s.nonce[:], frame[frameHeaderSize:], s.aad[:])
}

// open decrypts a frame into dst.
func (s *sealer) open(dst []byte, f *frame) ([]byte, error) {
	s.bind(f.raw[:frameHeaderSize], f.Index)
	return s.aead.Open(dst, s.nonce[:], f.raw[frameHeaderSize:], s.aad[:])
}
