package alerts

import (
	"encoding/json"
	"fmt"

	"schoolgate/policy"
)

// migrate reads what format 1 wrote: alerts had no clocks and nobody answered for
// them, their quiet period was called open or closed, and what a person was owed
// was noted as its severity alone. No clock is begun for them: people were told
// once and not asked for more. One that is told again is an alert like any other.
func (t *tx) migrate() error {
	keys := map[policy.EventID]string{}
	err := t.Bucket(bucketOpen).ForEach(func(k, v []byte) error {
		var id uint64
		if err := decode(v, &id); err != nil {
			return err
		}
		keys[policy.EventID(id)] = string(k)
		return nil
	})
	if err != nil {
		return err
	}
	if err := t.rewrite(bucketAlerts, func(v []byte) (any, error) {
		var a struct {
			Alert
			Closed bool `json:"closed"`
		}
		if err := decode(v, &a); err != nil {
			return nil, err
		}
		a.Over, a.Key = a.Closed, keys[a.ID]
		return &a.Alert, nil
	}); err != nil {
		return err
	}
	return t.rewrite(bucketHeld, func(v []byte) (any, error) {
		var severity json.Number
		if err := decode(v, &severity); err != nil {
			return nil, err
		}
		n, err := severity.Int64()
		return owed{Severity: uint8(n), Kind: kindNew}, err
	})
}

// rewrite replaces every record of a bucket.
func (t *tx) rewrite(bucket []byte, f func(v []byte) (any, error)) error {
	fresh := map[string][]byte{}
	err := t.Bucket(bucket).ForEach(func(k, v []byte) error {
		record, err := f(v)
		if err != nil {
			return fmt.Errorf("%s %x: %w", bucket, k, err)
		}
		fresh[string(k)], err = encode(record)
		return err
	})
	for k, v := range fresh {
		if err != nil {
			break
		}
		err = t.Bucket(bucket).Put([]byte(k), v)
	}
	return err
}
