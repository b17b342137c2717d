package categories

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"schoolgate/policy"
)

// FuzzBlock: any bytes under a good checksum are read without a crash, and what
// is found by name is what a walk over the block sees.
func FuzzBlock(f *testing.F) {
	var block []byte
	w := &blockWriter{put: func(_, v []byte) error { block = v; return nil }}
	for _, key := range []string{"com\x00a", "com\x00ab", "com\x00b\x00c", "uk\x00co"} {
		if err := w.add([]byte(key), 300); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.flush(); err != nil {
		f.Fatal(err)
	}
	f.Add(block[4:], []byte("com\x00ab"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, []byte("x"))
	f.Fuzz(func(t *testing.T, body, target []byte) {
		block := binary.LittleEndian.AppendUint32(nil, crc32.Checksum(body, castagnoli))
		block = append(block, body...)
		sorted, seen := true, false
		var last []byte
		err := eachInBlock(block, func(key []byte, _ uint32) error {
			sorted = sorted && (last == nil || bytes.Compare(last, key) < 0)
			seen = seen || bytes.Equal(key, target)
			last = append(last[:0:0], key...)
			return nil
		})
		_, found, findErr := findInBlock(block, target)
		if err == nil && sorted && findErr == nil && found != seen {
			t.Errorf("findInBlock(%q) = %v, the block holds it: %v", target, found, seen)
		}
	})
}

// FuzzKey: a host survives its key, whatever it looks like; a key of something
// below a host begins with the host's.
func FuzzKey(f *testing.F) {
	for _, s := range []string{"www.example.com", "x.blogspot.co.uk", "192.0.2.1", "a", "blogspot.de", "x.blogspot.no.blogspot.ug"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		h, err := policy.ParseHost(name)
		if err != nil || malformed(Entry{Host: h}) != "" {
			return
		}
		key := appendKey(nil, h)
		back, err := policy.ParseHost(hostOfKey(key))
		if err != nil || !bytes.Equal(appendKey(nil, back), key) {
			t.Errorf("hostOfKey(key of %q) = %q, %v: not the same key", h, back, err)
		}
		if _, mirrored := cutMirror(h.String()); !mirrored && back != h {
			t.Errorf("hostOfKey(key of %q) = %q", h, back)
		}
	})
}

// FuzzStoredForms: what is parsed from the file is an error or a value.
func FuzzStoredForms(f *testing.F) {
	f.Add(appendPairs(nil, []pair{newPair(1, policy.Gambling, true)}))
	f.Add(appendClass(nil, class{paths: true}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if pairs, err := parsePairs(b, len(testSources)); err == nil {
			classOf(pairs, testSources, DefaultRules())
		}
		if classes, err := parseClasses(b); err == nil && len(classes) != 1+len(b)/classSize {
			t.Errorf("parseClasses = %d classes of %d bytes", len(classes), len(b))
		}
	})
}
