package categories

import (
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// commitEvery bounds the memory of one bbolt transaction, in puts.
const commitEvery = 8192

// batch puts ordered pairs into a bucket, full pages, a transaction at a time.
type batch struct {
	w      *writer
	bucket []byte
	tx     *bolt.Tx
	b      *bolt.Bucket
	puts   int
}

func (p *batch) put(key, value []byte) error {
	if p.tx == nil {
		if err := p.begin(); err != nil {
			return err
		}
	}
	if err := p.b.Put(key, value); err != nil {
		return err
	}
	if p.puts++; p.puts%commitEvery == 0 {
		return p.commit()
	}
	return nil
}

func (p *batch) begin() (err error) {
	if err := p.w.ctx.Err(); err != nil {
		return err
	}
	if p.tx, err = p.w.db.Begin(true); err != nil {
		return err
	}
	if p.b, err = p.tx.CreateBucketIfNotExists(p.bucket); err != nil {
		return err
	}
	p.b.FillPercent = 1
	return nil
}

func (p *batch) commit() error {
	if p.tx == nil { // an empty bucket is there all the same
		if err := p.begin(); err != nil {
			return errors.Join(err, p.rollback())
		}
	}
	err := p.tx.Commit()
	p.tx = nil
	return err
}

// rollback ends a transaction that an error left open; after commit it does nothing.
func (p *batch) rollback() error {
	if p.tx == nil {
		return nil
	}
	err := p.tx.Rollback()
	p.tx = nil
	return err
}

// fill writes a bucket with what each hands to put.
func (w *writer) fill(bucket []byte, each func(put func(k, v []byte) error) error) (err error) {
	p := &batch{w: w, bucket: bucket}
	defer func() { err = errors.Join(err, p.rollback()) }()
	if err := each(p.put); err != nil {
		return fmt.Errorf("%s: %w", bucket, err)
	}
	return p.commit()
}
