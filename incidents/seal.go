package incidents

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// Seal is to whom the address of a mandatory hit is sealed: the DSL's key and the
// Headteacher's, both of which it takes to open it (F7, privacy 8). The keys
// themselves are kept off the box.
type Seal struct {
	dsl, head *age.X25519Recipient
}

// Key is one person's own key, opened.
type Key = age.X25519Identity

// ParseSeal reads the two public keys.
func ParseSeal(dsl, head string) (*Seal, error) {
	d, err := age.ParseX25519Recipient(dsl)
	if err != nil {
		return nil, fmt.Errorf("key of the DSL: %w", err)
	}
	h, err := age.ParseX25519Recipient(head)
	if err != nil {
		return nil, fmt.Errorf("key of the Headteacher: %w", err)
	}
	if d.String() == h.String() {
		return nil, errors.New("the two keys are one: the DSL and the Headteacher each need their own")
	}
	return &Seal{d, h}, nil
}

// maxSealed bounds an address that is sealed, in bytes; the rest is cut off.
const maxSealed = 2048

// Close seals an address: for the Headteacher, and that for the DSL.
func (s *Seal) Close(address string) ([]byte, error) {
	inner, err := encrypt([]byte(address[:min(len(address), maxSealed)]), s.head)
	if err != nil {
		return nil, err
	}
	return encrypt(inner, s.dsl)
}

func encrypt(text []byte, to age.Recipient) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(text)
	err = errors.Join(err, w.Close()) // before the bytes are taken: the last of them come now
	return out.Bytes(), err
}

// Open gives the address back, defanged: no program takes it for a link.
func Open(sealed []byte, dsl, head *Key) (string, error) {
	inner, err := decrypt(sealed, dsl)
	if err != nil {
		return "", fmt.Errorf("with the DSL's key: %w", err)
	}
	text, err := decrypt(inner, head)
	if err != nil {
		return "", fmt.Errorf("with the Headteacher's key: %w", err)
	}
	return Defang(string(text)), nil
}

func decrypt(sealed []byte, key age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), key)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, 4*maxSealed))
}

// Defang writes an address so that no program makes a link of it and nobody opens
// it by a slip: hxxps://name[.]example/page.
func Defang(address string) string {
	address = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, address)
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return strings.ReplaceAll(address, ".", "[.]")
	}
	host, path := rest, ""
	if n := strings.IndexAny(rest, "/?"); n >= 0 {
		host, path = rest[:n], rest[n:]
	}
	return strings.Replace(scheme, "http", "hxxp", 1) + "://" + strings.ReplaceAll(host, ".", "[.]") + path
}

// minPassphrase is how long a passphrase must be, in letters: three words and more.
const minPassphrase = 16

// workFactor is how hard guessing a passphrase is made: about a second a guess.
const workFactor = 18

// NewKey makes a key for one person: what the box seals to, and the key itself as a
// file that only the passphrase opens.
func NewKey(passphrase string) (public string, file []byte, err error) {
	return newKey(passphrase, workFactor)
}

func newKey(passphrase string, work int) (public string, file []byte, err error) {
	if len([]rune(passphrase)) < minPassphrase {
		return "", nil, fmt.Errorf("the passphrase is too short: at least %d letters, such as four words that do not belong together", minPassphrase)
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return "", nil, err
	}
	lock, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return "", nil, err
	}
	lock.SetWorkFactor(work)
	sealed, err := encrypt([]byte(key.String()+"\n"), lock)
	if err != nil {
		return "", nil, err
	}
	var out bytes.Buffer
	w := armor.NewWriter(&out)
	_, err = w.Write(sealed)
	err = errors.Join(err, w.Close())
	return key.Recipient().String(), out.Bytes(), err
}

// OpenKey opens a key file with its passphrase.
func OpenKey(file []byte, passphrase string) (*Key, error) {
	lock, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, err
	}
	lock.SetMaxWorkFactor(workFactor)
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(file)), lock)
	if err != nil {
		return nil, fmt.Errorf("the key file does not open with this passphrase: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil {
		return nil, err
	}
	return age.ParseX25519Identity(strings.TrimSpace(string(text)))
}
