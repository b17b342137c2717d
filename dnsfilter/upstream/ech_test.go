package upstream

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// one is an ECHConfig of key 0x17 for front.example with an X25519 key of zeros.
const one = "fe0d" + "003c" + "17" + "0020" + "0020" + "0000000000000000000000000000000000000000000000000000000000000000" + "0004" + "00010001" + "00" + "0d" + "66726f6e742e6578616d706c65" + "0000"

// Y6: what a record's key would have a browser show is read; of what is cut or of
// another version nothing is.
func TestFrontsOfARecord(t *testing.T) {
	known := front{"front.example", 0x17}
	for _, c := range []struct {
		name, list string
		want       []front
	}{
		{"one", "0040" + one, []front{known}},
		{"two", "0080" + one + one, []front{known, known}},
		{"another version before it", "0046" + "fe0a" + "0002" + "0000" + one, []front{known}},
		{"nothing", "", nil},
		{"an empty list", "0000", nil},
		{"a list longer than it is", "0041" + one, nil},
		{"cut inside", "0020" + one[:64], nil},
		{"a name longer than it is", "0040" + one[:len(one)-32] + "ff" + one[len(one)-30:], nil},
	} {
		got := fronts(unhex(t, c.list))
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(front{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// FuzzFronts: whatever an upstream writes is read without trouble, and of bounded length.
func FuzzFronts(f *testing.F) {
	f.Add(unhex(f, "0040"+one))
	f.Fuzz(func(t *testing.T, list []byte) {
		if n := len(fronts(list)); n > maxFronts {
			t.Errorf("%d fronts", n)
		}
	})
}
