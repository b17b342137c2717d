package audit

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"schoolgate/policy"
)

// What is made of the journal, such as its index, asks here which state of the
// journal it was made of, and has its keys sealed with the journal's own.

// Part is one segment as others may know it: the number it begins with, and a
// hash that is another one if the segment was ever written anew.
type Part struct {
	First policy.EventID
	Hash  [sha256.Size]byte
	Empty bool // retention has removed all its events
}

// Parts lists the segments in order. One whose header cannot be read has a hash
// of zeros.
func (d Dir) Parts() ([]Part, error) {
	firsts, err := segments(d.Path)
	if err != nil {
		return nil, err
	}
	parts := make([]Part, 0, len(firsts))
	for _, first := range firsts {
		s, err := openSegment(d.Path, first)
		if s == nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, err
		}
		p := Part{First: first}
		if err == nil {
			p.Hash, p.Empty = s.start, s.kept != nil && s.kept.Events == 0
		}
		parts = append(parts, p)
		_ = s.close() // read-only: nothing to lose
	}
	return parts, nil
}

// Keys seals other keys with the journal's month keys, so that erasing a month
// erases what was made of it as well.
type Keys struct{ ring *keyring }

// Keys are the journal's keys, for what is made of it.
func (d Dir) Keys() (Keys, error) {
	ring, err := d.keyring()
	return Keys{ring}, err
}

const sealedNonce = 12

// Seal wraps a key with that of a moment's month, for the use named. Only the
// journal's one writer may call it: it may make the month's key.
func (k Keys) Seal(at time.Time, use string, key []byte) ([]byte, error) {
	id, month, err := k.ring.forMonth(at)
	if err != nil {
		return nil, err
	}
	aead, err := derivedGCM(month, use)
	if err != nil {
		return nil, err
	}
	out := append([]byte(nil), id[:]...)
	out = append(out, make([]byte, sealedNonce)...)
	rand.Read(out[len(id):])
	return aead.Seal(out, out[len(id):], key, id[:]), nil
}

// Open is the reverse; [ErrErased] once the month's key is gone.
func (k Keys) Open(use string, sealed []byte) ([]byte, error) {
	var id keyID
	if len(sealed) < len(id)+sealedNonce {
		return nil, fmt.Errorf("sealed key of %d bytes is cut short", len(sealed))
	}
	copy(id[:], sealed)
	month, err := k.ring.get(id)
	if err != nil {
		return nil, err
	}
	aead, err := derivedGCM(month, use)
	if err != nil {
		return nil, err
	}
	rest := sealed[len(id):]
	key, err := aead.Open(nil, rest[:sealedNonce], rest[sealedNonce:], id[:])
	if err != nil {
		return nil, fmt.Errorf("sealed key does not open with data key %s", id)
	}
	return key, nil
}

func derivedGCM(month []byte, use string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, month, nil, "schoolgate "+use, keySize)
	if err != nil {
		return nil, err
	}
	return newGCM(key)
}

// Encode writes an event by itself, as the journal writes it but for its number.
func Encode(e *policy.Event) []byte {
	return appendEvent(nil, e, &noEvent, unixNano(e.Time), 0)
}

// Decode reads what Encode wrote; ok is false for anything else.
func Decode(b []byte) (e policy.Event, ok bool) {
	err := decodeEvents(string(b), 0, 1, func(got *policy.Event) bool {
		e, ok = *got, true
		return true
	})
	return e, ok && err == nil
}
