package blocklists

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"strings"

	"aead.dev/minisign"
)

// Bounds of the small files beside a list.
const (
	maxSignature = 4 << 10
	maxChecksums = 1 << 20
)

// ErrNotProven: the content is not what its publisher vouches for.
var ErrNotProven = errors.New("not what its publisher vouches for")

// beside reads a small file that lies beside a list: of a publisher, or of a
// folder.
type beside func(address string, most int64) ([]byte, error)

// fromPublisher reads such files over the net.
func (f *Fetcher) fromPublisher(ctx context.Context, r Remote, auth *credential) beside {
	return func(address string, most int64) ([]byte, error) {
		var b bytes.Buffer
		_, err := f.Fetch(ctx, Download{URL: address, MaxSize: most, Timeout: r.Timeout, Plain: true, auth: r.credentialFor(address, auth)}, &b)
		return b.Bytes(), err
	}
}

// prove compares a file with the checksum and the signature that its feed asks
// for. A feed that asks for neither is taken on the word of TLS.
func (r Remote) prove(file, sum string, small beside) error {
	if err := r.proveSum(sum, small); err != nil {
		return err
	}
	if r.Minisign == "" {
		return nil
	}
	signature, err := small(r.URL+".minisig", maxSignature)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	var key minisign.PublicKey
	if err := key.UnmarshalText([]byte(r.Minisign)); err != nil {
		return fmt.Errorf("minisign key: %w", err)
	}
	return signed(file, key, signature)
}

func signed(file string, key minisign.PublicKey, signature []byte) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	r := minisign.NewReader(f)
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if r.Verify(key, signature) {
		return nil
	}
	return legacySigned(file, key, signature)
}

// maxLegacy bounds a list signed in minisign's first form, which needs it whole
// in memory.
const maxLegacy = 16 << 20

func legacySigned(file string, key minisign.PublicKey, signature []byte) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.Size() <= maxLegacy {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if minisign.Verify(key, text, signature) {
			return nil
		}
	}
	return fmt.Errorf("%w: the signature is not by this key over this content", ErrNotProven)
}

func (r Remote) proveSum(sum string, small beside) error {
	want := r.SHA256
	if want == "" {
		return nil
	}
	if !hexSum.MatchString(want) {
		text, err := small(want, maxChecksums)
		if err != nil {
			return fmt.Errorf("checksum: %w", err)
		}
		if want = checksumOf(string(text), r.URL); want == "" {
			return fmt.Errorf("%w: its file of checksums does not name it", ErrNotProven)
		}
	}
	if !strings.EqualFold(want, sum) {
		return fmt.Errorf("%w: its SHA-256 is %s, not %s", ErrNotProven, sum, want)
	}
	return nil
}

// checksumOf finds a list in a file as sha256sum writes it, or in one that holds
// a checksum and nothing else.
func checksumOf(text, address string) string {
	name := address
	if u, err := url.Parse(address); err == nil {
		name = path.Base(u.Path)
	}
	if only := strings.TrimSpace(text); hexSum.MatchString(only) {
		return only
	}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 2 && hexSum.MatchString(fields[0]) && path.Base(strings.TrimPrefix(fields[1], "*")) == name {
			return fields[0]
		}
	}
	return ""
}
