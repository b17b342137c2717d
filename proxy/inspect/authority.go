package inspect

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"schoolgate/policy"
)

// How long things last. Devices learn of a new authority during the overlap, in
// which the old one goes on signing.
const (
	authorityLife = 5 * 365 * 24 * time.Hour
	Overlap       = 30 * 24 * time.Hour
	backdated     = 24 * time.Hour // clocks of old tablets are wrong
)

// ErrNoAuthority: no authority has been made in the folder.
var ErrNoAuthority = errors.New("the school has no certificate authority yet: run schoolgate ca init")

// Authority is one certificate of the school with its key.
type Authority struct {
	Number      int // of its files: school-ca-1 is the first
	Certificate *x509.Certificate
	SignsFrom   time.Time // it signs from here on, until a later one does
	key         *ecdsa.PrivateKey
}

// New says how to make an authority.
type New struct {
	School  string   // its name, shown by devices
	Exclude []string // domains that devices are told never to believe it for
	Now     time.Time
}

// Create makes the first authority of a folder.
func Create(dir string, n New) (*Authority, error) {
	all, err := Load(dir)
	switch {
	case err == nil:
		return nil, fmt.Errorf("there is a certificate authority in %s already, made %s: use schoolgate ca rotate to replace it",
			dir, all[0].made().Format(time.DateOnly))
	case !errors.Is(err, ErrNoAuthority):
		return nil, err
	}
	return issue(dir, 1, n, n.Now)
}

// made is when it was made.
func (a *Authority) made() time.Time { return a.Certificate.NotBefore.Add(backdated) }

// ErrWaiting: an authority has been made that does not sign yet, so that devices are
// being given its certificate; another would have to be given to all of them as well.
var ErrWaiting = errors.New("the next certificate authority has been made already")

// Rotate makes the next authority. The one in force goes on signing for the
// overlap, so that devices can be given the new certificate first; an overlap of
// 0 is for a key that may be known to others. Where one waits already the answer is
// ErrWaiting, unless another is wanted all the same. What the last one excludes stays
// excluded.
func Rotate(dir string, n New, overlap time.Duration, another bool) (*Authority, error) {
	all, err := Load(dir)
	if err != nil {
		return nil, err
	}
	last := all[len(all)-1]
	if n.Now.Before(last.SignsFrom) && !another {
		return nil, fmt.Errorf("%w: school-ca-%d, on %s, signs from %s", ErrWaiting, last.Number,
			last.made().Format(time.DateOnly), last.SignsFrom.Format(time.DateOnly))
	}
	if _, err := Signer(all, n.Now); err != nil {
		overlap = 0 // nothing signs meanwhile
	}
	n.Exclude = slices.Concat(last.Certificate.ExcludedDNSDomains, n.Exclude)
	return issue(dir, last.Number+1, n, n.Now.Add(overlap))
}

// issue makes one authority of a folder. The key is on disk before the
// certificate: a certificate without a key would be an authority that cannot sign.
func issue(dir string, number int, n New, from time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a := &Authority{Number: number, key: key, SignsFrom: from.UTC().Truncate(time.Second)}
	if a.Certificate, err = selfSign(key, n); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := asItsFolder(dir); err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	base := filepath.Join(dir, fmt.Sprintf("school-ca-%d", number))
	if err := writeNew(base+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})); err != nil {
		return nil, err
	}
	headers := map[string]string{signsFrom: a.SignsFrom.Format(time.RFC3339)}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: headers, Bytes: a.Certificate.Raw})
	return a, writeNew(base+".crt", cert)
}

const signsFrom = "Signs-From"

// writeNew writes a file that must not be there, readable by the owner of its folder
// alone, and waits for the disk.
func writeNew(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close(), asItsFolder(path))
}

func selfSign(key *ecdsa.PrivateKey, n New) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	name := "Schoolgate"
	if n.School != "" {
		name += " " + n.School
	}
	excluded, err := domains(n.Exclude)
	if err != nil {
		return nil, err
	}
	root := &x509.Certificate{
		SerialNumber: serial,
		Subject: pkix.Name{
			CommonName:         clip(name, 48) + " " + hex.EncodeToString(serial.Bytes()[:3]),
			OrganizationalUnit: []string{"web filter of this school"},
		},
		NotBefore: n.Now.Add(-backdated), NotAfter: n.Now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExcludedDNSDomains:          excluded,
		PermittedDNSDomainsCritical: len(excluded) > 0,
	}
	// Its own issuer by name, too: a device takes no other certificate for a root.
	der, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func domains(list []string) (out []string, err error) {
	for _, d := range list {
		h, err := policy.ParseHost(d)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, h.String()) {
			out = append(out, h.String())
		}
	}
	return out, nil
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// newSerial is 127 random bits and never begins with a zero byte.
func newSerial() (*big.Int, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:]), nil
}

// Load reads every authority of a folder, the oldest first. One that is damaged is
// never passed over for an older: that may have been replaced because others know its
// key. systemd may hand one over instead, in $CREDENTIALS_DIRECTORY: see
// LoadCredential.
func Load(dir string) ([]*Authority, error) {
	numbers, err := made(dir)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if len(numbers) == 0 {
		return nil, ErrNoAuthority
	}
	all := make([]*Authority, len(numbers))
	for i, number := range numbers {
		base := filepath.Join(dir, fmt.Sprintf("school-ca-%d", number))
		if all[i], err = read(base+".crt", base+".key"); err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
		all[i].Number = number
	}
	return all, nil
}

// made is the numbers of the authorities of a folder that have a file there, lowest
// first. Old ones may have been taken away.
func made(dir string) ([]int, error) {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var numbers []int
	for _, f := range files {
		base, isCert := strings.CutSuffix(f.Name(), ".crt")
		base, isKey := strings.CutSuffix(base, ".key")
		digits, ours := strings.CutPrefix(base, "school-ca-")
		if n, err := strconv.Atoi(digits); err == nil && ours && isCert != isKey && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), nil
}

// LoadCredential reads the authority that systemd hands over, from the
// credentials schoolgate-ca.crt and schoolgate-ca.key; ErrNoAuthority if it
// handed none over.
func LoadCredential(dir string) ([]*Authority, error) {
	if dir == "" {
		return nil, ErrNoAuthority
	}
	certFile, keyFile := filepath.Join(dir, "schoolgate-ca.crt"), filepath.Join(dir, "schoolgate-ca.key")
	if !exists(certFile) && !exists(keyFile) {
		return nil, ErrNoAuthority
	}
	a, err := read(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	a.Number = 1
	return []*Authority{a}, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

func read(certFile, keyFile string) (*Authority, error) {
	for file, beside := range map[string]string{certFile: keyFile, keyFile: certFile} {
		if !exists(file) {
			return nil, fmt.Errorf("%s is missing, though %s is there: put it back from a backup, or move both away and begin anew on every device", file, beside)
		}
	}
	block, err := readBlock(certFile, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	a := &Authority{}
	if a.Certificate, err = x509.ParseCertificate(block.Bytes); err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	if at := block.Headers[signsFrom]; at != "" {
		if a.SignsFrom, err = time.Parse(time.RFC3339, at); err != nil {
			return nil, fmt.Errorf("%s: %w", certFile, err)
		}
	}
	if info, err := os.Stat(keyFile); err != nil {
		return nil, err
	} else if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others (mode %o): whoever read it can read every pupil's traffic; rotate it, then chmod 600", keyFile, info.Mode().Perm())
	}
	private, err := readBlock(keyFile, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(private.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || !ec.PublicKey.Equal(a.Certificate.PublicKey) || !a.Certificate.IsCA {
		return nil, fmt.Errorf("%s is not the ECDSA key of the authority in %s", keyFile, certFile)
	}
	a.key = ec
	return a, nil
}

func readBlock(file, kind string) (*pem.Block, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(bytes.TrimSpace(b))
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s holds no %s in PEM", file, strings.ToLower(kind))
	}
	return block, nil
}

// Signer is the authority that signs at a moment: the latest whose time has come
// and that has not expired; where all of those have, the next, which devices are
// being given.
func Signer(all []*Authority, at time.Time) (*Authority, error) {
	if len(all) == 0 {
		return nil, ErrNoAuthority
	}
	for _, a := range slices.Backward(all) {
		if !at.Before(a.SignsFrom) && a.current(at) {
			return a, nil
		}
	}
	for _, a := range all {
		if a.current(at) {
			return a, nil
		}
	}
	last := all[len(all)-1].Certificate
	if at.Before(last.NotBefore) {
		return nil, fmt.Errorf("the school's certificate authority is not valid before %s: is the clock right?", last.NotBefore.Format(time.DateOnly))
	}
	return nil, fmt.Errorf("the school's certificate authority expired on %s: run schoolgate ca rotate --now, and give the new certificate to every device",
		last.NotAfter.Format(time.DateOnly))
}

// current reports whether devices that have the certificate believe it at a moment.
func (a *Authority) current(at time.Time) bool {
	return !at.Before(a.Certificate.NotBefore) && at.Before(a.Certificate.NotAfter)
}

// Ends is when the last of the authorities expires.
func Ends(all []*Authority) (last time.Time) {
	for _, a := range all {
		if a.Certificate.NotAfter.After(last) {
			last = a.Certificate.NotAfter
		}
	}
	return last
}

// Covers reports whether a device that heeds name constraints would believe the
// authority for a host.
func (a *Authority) Covers(h policy.Host) bool {
	for _, d := range a.Certificate.ExcludedDNSDomains {
		if x, err := policy.ParseHost(d); err == nil && h.Within(x) {
			return false
		}
	}
	return true
}

// Fingerprint is SHA-256 of the certificate as people compare it.
func (a *Authority) Fingerprint() string {
	sum := sha256.Sum256(a.Certificate.Raw)
	var b strings.Builder
	for i, c := range sum {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%02X", c)
	}
	return b.String()
}
