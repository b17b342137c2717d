package categories

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
)

// Verify reads a store in full: the seal, every block, the order of names, and
// that the hot index answers for each name as its evidence says. It takes some
// seconds; the builder does it before a store is put in place.
func Verify(path string, key []byte) (info Info, err error) {
	s, err := Open(path, key)
	if err != nil {
		return Info{}, err
	}
	defer func(old bool) {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			err = fmt.Errorf("category store %s: %w: %v", path, ErrCorrupt, r)
		}
		err = errors.Join(err, s.release())
	}(debug.SetPanicOnFault(true))
	if err := s.verify(); err != nil {
		return Info{}, fmt.Errorf("category store %s: %w", path, err)
	}
	return s.Info(), nil
}

func (s *Store) verify() error {
	tx := s.file.readers[0].tx
	classes, err := s.evidenceClasses(tx)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		bucket []byte
		want   int
		paths  bool
	}{{bucketNames, s.header.Names, false}, {bucketURLs, s.header.URLs, true}} {
		got, err := s.verifyNames(tx.Bucket(part.bucket), classes, part.paths)
		if err != nil {
			return err
		}
		if got != part.want {
			return errCorrupt(fmt.Sprintf("%s: %d of %d", part.bucket, got, part.want))
		}
	}
	return nil
}

// evidenceClasses judges every set of evidence in the store anew.
func (s *Store) evidenceClasses(tx *bolt.Tx) (classes []class, err error) {
	err = tx.Bucket(bucketEvidence).ForEach(func(_, v []byte) error {
		set, err := parsePairs(v, len(s.sources))
		classes = append(classes, classOf(set, s.sources, s.header.Rules))
		return err
	})
	return classes, err
}

func (s *Store) verifyNames(b *bolt.Bucket, classes []class, urls bool) (count int, err error) {
	var last []byte
	check := func(key []byte, evidence uint32) error {
		if bytes.Compare(last, key) >= 0 {
			return errCorrupt("names out of order")
		}
		last = append(last[:0], key...)
		count++
		if int(evidence) >= len(classes) {
			return errCorrupt("evidence that is not there")
		}
		want := classes[evidence]
		hash := s.index.seed.hashPathKey
		if !urls {
			hash = s.index.seed.hashKey
		}
		got := *s.class(s.index.find(hash(key)))
		got.paths = false // whether it has URL entries is not evidence
		if got != want {
			return errCorrupt("the hot index does not say what the evidence says")
		}
		return nil
	}
	err = b.ForEach(func(k, v []byte) error {
		if err := eachInBlock(v, check); err != nil {
			return err
		}
		if !bytes.Equal(last, k) {
			return errCorrupt("a block that does not end where it says")
		}
		return nil
	})
	return count, err
}
