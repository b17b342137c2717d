package clients

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/crypto/argon2"

	"schoolgate/internal/durable"
)

// PeopleFile is the name, in the data folder, of the file of who may sign in.
const PeopleFile = "people"

// Person is somebody who may sign in at the proxy.
type Person struct {
	Name  string    // what is typed to sign in
	Group string    // of the policy: whose profile they get
	Until time.Time // the last moment; zero for no end
	hash  string
}

// People is who may sign in, by name.
type People map[string]Person

const (
	maxPeople   = 20000
	maxName     = 64
	maxPassword = 256
	dayOnly     = time.DateOnly
)

// ReadPeople reads a file of people. One that is not there has nobody in it.
func ReadPeople(name string) (People, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return People{}, nil
	}
	if err != nil {
		return nil, err
	}
	all := People{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		p, err := parsePerson(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", filepath.Base(name), n, err)
		}
		if _, twice := all[p.Name]; twice || len(all) == maxPeople {
			return nil, fmt.Errorf("%s:%d: %q is there twice, or there are more than %d people", filepath.Base(name), n, p.Name, maxPeople)
		}
		all[p.Name] = p
	}
	return all, lines.Err()
}

// parsePerson reads name:group:until:hash.
func parsePerson(line string) (p Person, err error) {
	part := strings.Split(line, ":")
	if len(part) != 4 {
		return p, errors.New("want name:group:until:hash, as schoolgate people writes it")
	}
	p = Person{Name: part[0], Group: part[1], hash: part[3]}
	if err = CheckName(p.Name); err != nil {
		return p, err
	}
	if part[2] != "" {
		if p.Until, err = time.ParseInLocation(dayOnly, part[2], time.Local); err != nil {
			return p, fmt.Errorf("bad last day %q: want one such as 2027-07-31", part[2])
		}
		p.Until = p.Until.AddDate(0, 0, 1) // that day is the last
	}
	if _, err = parseHash(p.hash); err != nil {
		return p, fmt.Errorf("%q: %w", p.Name, err)
	}
	return p, nil
}

// CheckName reports what is wrong with a name to sign in by.
func CheckName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("bad name %q: want 1 to %d letters", name, maxName)
	}
	for _, r := range name {
		if r == ':' || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return fmt.Errorf("bad name %q: want no colon and no space, such as j.smith", name)
		}
	}
	return nil
}

// Write writes the file anew, whole or not at all; only its owner may read it.
func (all People) Write(name string) error {
	var b bytes.Buffer
	b.WriteString("# Who may sign in at the proxy. Written by: schoolgate people\n")
	for _, p := range all.Sorted() {
		fmt.Fprintf(&b, "%s:%s:%s:%s\n", p.Name, p.Group, p.LastDay(), p.hash)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".people-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it has its name
	_, err = f.Write(b.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close(), asItsFolder(f.Name())); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(name))
}

// Sorted is everybody, by name.
func (all People) Sorted() []Person {
	list := make([]Person, 0, len(all))
	for _, p := range all {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Person) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// LastDay is the last day that a person may sign in, "" for no end.
func (p Person) LastDay() string {
	if p.Until.IsZero() {
		return ""
	}
	return p.Until.AddDate(0, 0, -1).Format(dayOnly)
}

// SetPassword gives a person a password.
func (p *Person) SetPassword(password string) error {
	if n := len([]rune(password)); n < 8 || len(password) > maxPassword {
		return fmt.Errorf("bad password: want 8 to %d letters", maxPassword)
	}
	salt := make([]byte, saltLength)
	if _, err := rand.Read(salt); err != nil {
		return err
	}
	p.hash = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, hashMemory, hashTimes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(hashOf(password, salt)))
	return nil
}

// What a password is hashed with: 19 MiB, twice over. Two small cores do it in 50 ms.
const (
	hashMemory = 19 << 10 // KiB
	hashTimes  = 2
	saltLength = 16
	hashLength = 32
)

func hashOf(password string, salt []byte) []byte {
	return argon2.IDKey([]byte(password), salt, hashTimes, hashMemory, 1, hashLength)
}

// hash is a password's, taken apart.
type hash struct{ salt, sum []byte }

func parseHash(text string) (h hash, err error) {
	part := strings.Split(text, "$")
	want := fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1", argon2.Version, hashMemory, hashTimes)
	if len(part) != 6 || strings.Join(part[:4], "$") != want {
		return h, errors.New("bad hash: give the password again with schoolgate people passwd")
	}
	h.salt, err = base64.RawStdEncoding.DecodeString(part[4])
	if err == nil {
		h.sum, err = base64.RawStdEncoding.DecodeString(part[5])
	}
	if err != nil || len(h.salt) != saltLength || len(h.sum) != hashLength {
		return h, errors.New("bad hash: give the password again with schoolgate people passwd")
	}
	return h, nil
}

// has reports whether a password is the person's. It takes as long for nobody as
// for somebody.
func (p Person) has(password string) bool {
	h, err := parseHash(p.hash)
	if err != nil {
		h = hash{make([]byte, saltLength), make([]byte, hashLength)}
	}
	return subtle.ConstantTimeCompare(hashOf(password, h.salt), h.sum) == 1 && err == nil
}
