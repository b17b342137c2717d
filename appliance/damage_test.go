package appliance

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"schoolgate/categories"
	"schoolgate/policy"
	"schoolgate/supply"
)

// A version that cannot be read is told of wherever a person looks, while an
// older one answers, and is built again by itself.
func TestADamagedStoreIsToldAndMended(t *testing.T) { // faults F5, F24
	for name, break_ := range map[string]func([]byte) []byte{
		"a flipped bit":  func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"cut short":      func(b []byte) []byte { return b[:len(b)-100] },
		"another format": otherFormat,
	} {
		for _, all := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, all versions %v", name, all), func(t *testing.T) { mendsDamage(t, break_, all) })
		}
	}
}

// otherFormat is a store as an older or newer schoolgate would write it.
func otherFormat(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[len(b)-footerSize+8:], 1)
	return b
}

// footerSize is that of categories/file.go.
const footerSize = 24

func mendsDamage(t *testing.T, spoil func([]byte) []byte, all bool) {
	b := newFeedBox(t, betsAndFloor)
	cfg, err := b.listens()()
	if err != nil {
		t.Fatal(err)
	}
	b.publish(numbered("bet", 20), numbered("bad", 20))
	b.fetch()
	b.publish(numbered("bet", 22), numbered("bad", 20))
	b.fetch()
	versions, err := categories.OpenDir(cfg.Box.Lists.Store)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint64{2, 1} {
		if version == 1 && !all {
			continue
		}
		text, err := os.ReadFile(versions.Path(version))
		if err != nil {
			t.Fatal(err)
		}
		b.write(versions.Path(version), string(spoil(text)))
	}
	want := "category store 2 cannot be read, and store 1 answers in its place"
	if all {
		want = "no version of the category store can be read"
	}
	damage, err := supply.DamageOf(cfg)
	if err != nil || damage.Err() == nil {
		t.Fatalf("DamageOf = %v, %v", damage.Err(), err)
	}
	if got := damage.Err().Error(); !strings.Contains(got, want) {
		t.Errorf("lists status: %q, want %q", got, want)
	}
	a, err := New(t.Context(), Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}()
	if got := listsCheck(a); !strings.Contains(got, want) {
		t.Errorf("readyz: %q, want %q", got, want)
	}
	if n := testutil.ToFloat64(a.damageMetric()); n == 0 {
		t.Error("the metric counts no damaged version")
	}
	b.server.Set("bets", "<!DOCTYPE html>the publisher is down")
	a.supply.roots = b.server.Roots
	if _, err := a.supplyRound(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := listsCheck(a); got != "" {
		t.Errorf("readyz after the box has built it again: %s", got)
	}
	if n := testutil.ToFloat64(a.damageMetric()); n != 0 {
		t.Errorf("the metric still counts %v", n)
	}
	b.listed("bet-21.example", policy.Gambling)
	b.listed("bad-3.example", policy.ChildAbuse)
}

// listsCheck is what the line of the lists on the page of readiness complains of.
func listsCheck(a *Appliance) string {
	for _, c := range a.Checks() {
		if c.Name == "lists" && c.Err != nil {
			return c.Err.Error()
		}
	}
	return ""
}
