package audit

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"schoolgate/policy"
)

// Every door, verdict and reason has a code of its own on disk. A new one in
// policy is appended to codes.go.
func TestCodes(t *testing.T) {
	checkCodes(t, "door", doors, policy.Door.String, len(doorCodes))
	checkCodes(t, "use", uses, policy.Use.String, len(useCodes))
	checkCodes(t, "verdict", verdicts, policy.Verdict.String, len(verdictCodes))
	checkCodes(t, "reason", reasons, policy.Reason.String, len(reasonCodes))
}

func checkCodes[T ~uint8](t *testing.T, what string, c *codec[T], name func(T) string, codes int) {
	t.Helper()
	seen := 0
	for v := range 256 {
		if v > 0 && name(T(v)) == name(0) {
			continue // no such value
		}
		seen++
		if got := c.fromDisk[c.toDisk[v]]; got != T(v) {
			t.Errorf("%s %q (%d) comes back as %q: give it the next code in codes.go", what, name(T(v)), v, name(got))
		}
	}
	if seen != codes {
		t.Errorf("%d codes for %d values of %s", codes, seen, what)
	}
}

// F24, F25: a field a newer version added is passed over, all else is read.
func TestDecodeNewerVersion(t *testing.T) {
	e := event(1)
	b := appendEvent(nil, &e, &noEvent, unixNano(e.Time), 0)
	fields, n := binary.Uvarint(b[2:])
	body := binary.AppendUvarint(nil, fields|hasNote<<1)
	body = append(append(body, b[2+n:]...), "something new"...)
	rec := append(binary.LittleEndian.AppendUint16(nil, uint16(len(body))), body...)
	err := decodeEvents(string(rec), 9, 1, func(got *policy.Event) bool {
		e.ID = 9
		if *got != e {
			t.Errorf("got %+v, want %+v", *got, e)
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
}

func TestClip(t *testing.T) {
	tests := []struct {
		in    string
		limit int
		want  string
	}{
		{"short", 10, "short"},
		{"exactly10!", 10, "exactly10!"},
		{"abcdef", 3, "abc"},
		{"aé", 2, "a"},
		{"\x80\x80\x80", 2, ""},
	}
	for _, tt := range tests {
		if got := clip(tt.in, tt.limit); got != tt.want {
			t.Errorf("clip(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

// A clock that says nonsense is kept within what can be written (F12).
func TestUnixNano(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		e := event(0)
		e.Time = at
		b := newBatch()
		b.add(&e)
		err := decodeEvents(string(b.buf[frameHeaderSize:]), 1, 1, func(got *policy.Event) bool {
			if year := at.Year(); year > 1700 && year < 2200 && !got.Time.Equal(at) {
				t.Errorf("%v came back as %v", at, got.Time)
			}
			return true
		})
		if err != nil {
			t.Errorf("%v: %v", at, err)
		}
	}
}

func TestEscaped(t *testing.T) {
	tests := []struct{ in, want string }{
		{"host.example", "host.example"},
		{"a\nb\tc", `a\nb\tc`},
		{"\x1b[2J", `\x1b[2J`},
		{`\n`, `\\n`},
		{"\xff", `\xff`},
		{"\u202e", `\u202e`},
		{"Zoë 日本", "Zoë 日本"},
	}
	for _, tt := range tests {
		if got := escaped(tt.in); got != tt.want {
			t.Errorf("escaped(%q) = %s, want %s", tt.in, got, tt.want)
		}
	}
	if got := cell("=1\n"); got != `'=1\n` || strings.Contains(got, "\n") {
		t.Errorf("cell = %q", got)
	}
}
