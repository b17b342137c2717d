package policy

import (
	"math"
	"strings"
	"testing"
)

func TestReference(t *testing.T) {
	for n, want := range map[uint64]string{
		1: "SG-1", 9: "SG-9", 10: "SG-A", 17: "SG-H", 18: "SG-J-V", 32: "SG-10-Z", 1000: "SG-Z8-H", math.MaxUint64: "SG-FZZZZZZZZZZZZ-E",
	} {
		if got := FormatReference("SG-", n); got != want {
			t.Errorf("FormatReference(%d) = %q, want %q", n, got, want)
		}
	}
	for n := uint64(1); n < 1<<40; n += n/3 + 1 {
		ref := FormatReference("SG-", n)
		if strings.ContainsAny(ref[3:], "OILU") {
			t.Errorf("%s has letters that look like others", ref)
		}
		for _, s := range []string{ref, strings.ToLower(ref), strings.ReplaceAll(ref, "0", "O"), strings.ReplaceAll(ref, "1", "l")} {
			if n < refPlain && s != ref && s != strings.ToLower(ref) {
				continue
			}
			if got, ok := ParseReference("SG-", s); !ok || got != n {
				t.Errorf("ParseReference(%q) = %d, %v, want %d", s, got, ok, n)
			}
		}
		wrong := []byte(ref)
		for i := 3; n >= refPlain && i < len(ref); i++ {
			if wrong[i] == '-' {
				continue
			}
			for _, c := range []byte(refLetters) {
				if wrong[i] = c; c != ref[i] {
					if got, ok := ParseReference("SG-", string(wrong)); ok {
						t.Errorf("%s misread as %s is %d", ref, wrong, got)
					}
				}
			}
			wrong[i] = ref[i]
		}
	}
	for s, want := range map[string]uint64{"SG-1A2B": 36*36*36 + 10*36*36 + 2*36 + 11, "sg-zz": 35*36 + 35, "SG-J": 19} { // as they were
		if got, ok := ParseReference("SG-", s); !ok || got != want {
			t.Errorf("ParseReference(%q) = %d, %v, want %d", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "SG-", "SG-0", "1A2", "AL-1", "SG--", "SG--1", "SG-1-", "SG-Z8-HH", "SG-U8-H", "SG-Z8-é", "SG-ZZZZZZZZZZZZZZ-A", "SG-1A_2", "SG-3W5E11264SGSG"} {
		if got, ok := ParseReference("SG-", s); ok {
			t.Errorf("ParseReference(%q) = %d, want none", s, got)
		}
	}
}
