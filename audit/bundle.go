package audit

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A bundle is an extract of the record for somebody outside, such as the police:
// a text file of numbered lines, each chained to the line before, the last signed
// with the box's key. docs/decisions/0067-evidence.md has it byte by byte.
const (
	bundleMagic = "schoolgate-evidence 1\n"
	bundleEnd   = "end"
	keyPrefix   = "schoolgate-key ed25519 "

	maxBundleLine = 1 << 20
	maxBundle     = 1_000_000 // lines
)

// KeyLine is a public key as people keep it: printed, in a mail, in a drawer.
func KeyLine(key ed25519.PublicKey) string {
	return keyPrefix + base64.StdEncoding.EncodeToString(key)
}

// ParseKeyLine reads what KeyLine wrote.
func ParseKeyLine(line string) (ed25519.PublicKey, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(line), keyPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("bad key %q: want the line that schoolgate incidents key prints", line)
	}
	return key, nil
}

// BundleWriter writes a bundle.
type BundleWriter struct {
	w     *bufio.Writer
	key   ed25519.PrivateKey
	chain chain
	n     int
	err   error
}

// NewBundle begins a bundle signed with a key.
func NewBundle(w io.Writer, key ed25519.PrivateKey) *BundleWriter {
	b := &BundleWriter{w: bufio.NewWriter(w), key: key, chain: sha256.Sum256([]byte(bundleMagic))}
	_, b.err = b.w.WriteString(bundleMagic)
	return b
}

// Add writes one record of a kind.
func (b *BundleWriter) Add(kind string, v any) error {
	if b.err != nil {
		return b.err
	}
	text, err := json.Marshal(v)
	if err == nil && len(text) > maxBundleLine/2 {
		err = fmt.Errorf("a record of %d bytes is too long for a bundle", len(text))
	}
	if err != nil {
		b.err = err
		return err
	}
	b.n++
	body := fmt.Appendf(nil, "%d %s %s", b.n, kind, text)
	b.chain = bundleChain(b.chain, body)
	_, b.err = fmt.Fprintf(b.w, "%s %s\n", hex.EncodeToString(b.chain[:]), body)
	return b.err
}

// Close signs the bundle.
func (b *BundleWriter) Close() error {
	if b.err != nil {
		return b.err
	}
	public, _ := b.key.Public().(ed25519.PublicKey)
	signed := bundleSigned(b.n, b.chain)
	_, err := fmt.Fprintf(b.w, "%s %s %s\n", signed, base64.StdEncoding.EncodeToString(public),
		base64.StdEncoding.EncodeToString(ed25519.Sign(b.key, signed)))
	return errors.Join(err, b.w.Flush())
}

func bundleChain(prev chain, body []byte) (c chain) {
	h := sha256.New()
	h.Write(prev[:])
	h.Write(body)
	h.Sum(c[:0])
	return c
}

// bundleSigned is what the signature is over, and how the last line begins.
func bundleSigned(n int, c chain) []byte {
	return fmt.Appendf(nil, "%s %d %s", bundleEnd, n, hex.EncodeToString(c[:]))
}

// BundleReport is what VerifyBundle found.
type BundleReport struct {
	Records  int
	Kinds    map[string]int
	About    json.RawMessage   // the first record: what the bundle says of itself
	Key      ed25519.PublicKey // whose signature it bears, nil if none is good
	Problems []string          // each with its place
}

// OK reports whether the bundle is as the holder of Key signed it.
func (r *BundleReport) OK() bool { return len(r.Problems) == 0 && r.Key != nil }

// Contents says how many records of which kind there are.
func (r *BundleReport) Contents() string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(r.Kinds)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Kinds[kind], kind))
	}
	return strings.Join(parts, ", ")
}

// VerifyBundle checks that a bundle is as it was signed, and says where it is not.
// It needs no box and no key but what is in the file: whose key it is, a person
// compares with what the school handed out beforehand. The error is for a file that
// is no bundle, or cannot be read.
func VerifyBundle(r io.Reader) (BundleReport, error) {
	v := bundleVerifier{report: BundleReport{Kinds: map[string]int{}}, in: bufio.NewReaderSize(r, 64<<10), next: 1}
	first, err := v.line()
	if err != nil && !errors.Is(err, io.EOF) {
		return v.report, err
	}
	if string(first) != bundleMagic {
		if !strings.HasPrefix(string(first), "schoolgate-evidence") && !bytes.Contains(first, []byte("evidence")) {
			return v.report, errors.New("not an evidence bundle of schoolgate: its first line is another")
		}
		v.problem("line 1: altered: it should say %q", strings.TrimSpace(bundleMagic))
	}
	v.chain = sha256.Sum256([]byte(bundleMagic))
	for !v.ended {
		line, err := v.line()
		if errors.Is(err, io.EOF) && len(line) == 0 {
			v.problem("line %d: missing: the end with the signature was cut off", v.at)
			return v.report, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return v.report, err
		}
		v.record(line)
	}
	if rest, err := v.line(); len(rest) > 0 || err != nil && !errors.Is(err, io.EOF) {
		v.problem("line %d: added: there is something behind the signature", v.at)
	}
	return v.report, nil
}

type bundleVerifier struct {
	report BundleReport
	in     *bufio.Reader
	at     int // line
	next   int // the number the next record must have
	chain  chain
	ended  bool
}

const maxBundleProblems = 100

func (v *bundleVerifier) problem(format string, args ...any) {
	if len(v.report.Problems) < maxBundleProblems {
		v.report.Problems = append(v.report.Problems, fmt.Sprintf(format, args...))
	}
}

// line reads one line with its end, bounded.
func (v *bundleVerifier) line() ([]byte, error) {
	if v.at++; v.at > maxBundle {
		return nil, fmt.Errorf("more than %d lines", maxBundle)
	}
	var line []byte
	for {
		part, err := v.in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxBundleLine {
			return nil, fmt.Errorf("line %d is longer than any of a bundle", v.at)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// record checks one line. A line that is not as it was is told once, and the next
// is held against what this one says of itself, so that one change is one problem.
func (v *bundleVerifier) record(line []byte) {
	text, whole := bytes.CutSuffix(line, []byte("\n"))
	if !whole {
		v.problem("line %d: altered: its end is gone", v.at)
	}
	if bytes.HasPrefix(text, []byte(bundleEnd+" ")) {
		v.end(text)
		return
	}
	stated, body, ok := bytes.Cut(text, []byte(" "))
	var sum chain
	if n, err := hex.Decode(sum[:], stated[:min(len(stated), 2*chainSize)]); !ok || err != nil || n != chainSize || hex.EncodeToString(sum[:]) != string(stated) {
		v.problem("line %d: altered: it is no record", v.at)
		v.next++
		v.chain = bundleChain(v.chain, body)
		return
	}
	number, rest, _ := bytes.Cut(body, []byte(" "))
	kind, data, _ := bytes.Cut(rest, []byte(" "))
	n, err := strconv.Atoi(string(number))
	good := bundleChain(v.chain, body) == sum
	switch {
	case good && (err != nil || n != v.next || !json.Valid(data)):
		v.problem("line %d: written wrong: it is not record %d", v.at, v.next)
	case good:
	case err == nil && n > v.next && n < maxBundle:
		v.problem("line %d: records %d to %d are missing before it: removed, or moved", v.at, v.next, n-1)
		v.next = n
	case err == nil && n < v.next && n > 0:
		v.problem("line %d: record %d comes again: added, copied or moved here", v.at, n)
		return // what follows is held against the line before
	default:
		v.problem("line %d: altered after it was written (record %d)", v.at, v.next)
	}
	if v.report.Records == 0 && json.Valid(data) {
		v.report.About = bytes.Clone(data)
	}
	v.report.Records++
	v.report.Kinds[string(kind)]++
	v.next++
	v.chain = sum
}

// end checks the last line.
func (v *bundleVerifier) end(text []byte) {
	v.ended = true
	f := strings.Split(string(text), " ")
	if len(f) != 5 {
		v.problem("line %d: altered: the last line is not a signature", v.at)
		return
	}
	key, err := base64.StdEncoding.Strict().DecodeString(f[3])
	signature, err2 := base64.StdEncoding.Strict().DecodeString(f[4])
	signed := bundleSigned(v.next-1, v.chain)
	switch {
	case err != nil || err2 != nil || len(key) != ed25519.PublicKeySize:
		v.problem("line %d: altered: the last line is not a signature", v.at)
	case strings.Join(f[:3], " ") != string(signed):
		v.problem("line %d: the signature is for %s records that end otherwise: records were removed, added or altered, or this line was", v.at, f[1])
	case !ed25519.Verify(key, signed, signature):
		v.problem("line %d: the signature is not good: the file was changed and chained anew, or this line was altered", v.at)
	default:
		v.report.Key = key
	}
}

// Head is the newest head that the journal keeps of itself on disk; ok is false for a
// journal without events.
func (d Dir) Head() (h Head, ok bool, err error) { return readHead(d.Path) }
