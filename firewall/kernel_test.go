package firewall

import (
	"runtime"
	"strings"
	"testing"
)

// inNamespace gives the test a network namespace of its own: nothing it loads is
// ever the machine's. The thread is not given back.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := newNamespace(); err != nil {
		t.Skipf("SKIPPED: no network namespace: %v", err)
	}
}

// F22: whatever is done to the rules is seen, told, and undone by the next apply.
func TestCheckAndApply(t *testing.T) {
	ctx := needNFT(t)
	inNamespace(t)
	rules, err := New(school())
	if err != nil {
		t.Fatal(err)
	}
	if d, err := rules.Apply(ctx); err != nil || !d.Absent {
		t.Fatalf("first apply = %v, %v, want the table to have been absent", d, err)
	}
	if d, err := rules.Apply(ctx); err != nil || !d.None() {
		t.Fatalf("second apply = %v, %v, want nothing to do", d, err)
	}
	for _, test := range []struct{ promise, done, want string }{
		{"flushed whole", "flush ruleset", "absent: table inet schoolgate"},
		{"table deleted", "delete table inet schoolgate", "absent: table inet schoolgate"},
		{"rules flushed", "flush table inet schoolgate", "missing: chain forward: iifname @clients jump allowed"},
		{"a chain flushed", "flush chain inet schoolgate turned", "missing: chain turned: jump allowed"},
		{"a way opened", `insert rule inet schoolgate forward accept`, "foreign: chain forward: accept"},
		{"default turned", `chain inet schoolgate forward { policy accept; }`, "missing: chain forward: type filter hook forward priority filter; policy drop;"},
		{"a range taken out", `delete element inet schoolgate sources4 { "lan2" . 10.2.0.0/24 }`, `missing: set sources4: "lan2" . 10.2.0.0/24`},
		{"an address put in", `add element inet schoolgate open4 { 10.2.0.1 . 22 }`, "foreign: set open4: 10.2.0.1 . 22"},
		{"a chain of another", `add chain inet schoolgate mine { type filter hook forward priority -10; }`, "foreign: chain mine: exists"},
		{"rules in another order", "flush chain inet schoolgate forward\n" +
			`add rule inet schoolgate forward counter drop comment "everything else, running or not (D5)"` + "\n" +
			"add rule inet schoolgate forward ct state established,related ct direction reply accept\n" +
			"add rule inet schoolgate forward iifname @clients jump allowed\n", "order: chain forward"},
	} {
		if _, err := nft(ctx, test.done, "-f", "-"); err != nil {
			t.Fatalf("%s: %v", test.promise, err)
		}
		d, err := rules.Check(ctx)
		if err != nil || !strings.Contains(d.String(), test.want+"\n") {
			t.Errorf("%s: Check = %q, %v, want a line %q", test.promise, d, err, test.want)
		}
		if _, err := rules.Apply(ctx); err != nil {
			t.Errorf("%s: Apply: %v", test.promise, err)
		}
		if d, err := rules.Check(ctx); err != nil || !d.None() {
			t.Errorf("%s: after Apply Check = %q, %v, want nothing", test.promise, d, err)
		}
	}
}

// Forwarding that somebody turned on is seen and turned off.
func TestSettings(t *testing.T) {
	ctx := needNFT(t)
	inNamespace(t)
	rules, err := New(plainSchool())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rules.Apply(ctx); err != nil {
		t.Fatal(err)
	}
	if err := (Sysctl{Path: "net/ipv4/ip_forward", Value: "1"}).set(); err != nil {
		t.Fatal(err)
	}
	d, err := rules.Apply(ctx)
	if want := "setting: net/ipv4/ip_forward is 1, want 0 (nothing is allowed through)\n"; err != nil || d.String() != want {
		t.Errorf("Apply = %q, %v, want %q", d, err, want)
	}
	if d, err := rules.Check(ctx); err != nil || !d.None() {
		t.Errorf("Check = %q, %v, want nothing", d, err)
	}
}

// Rules of others are left alone.
func TestOtherTablesStay(t *testing.T) {
	ctx := needNFT(t)
	inNamespace(t)
	if _, err := nft(ctx, "table ip other { chain c { accept; }; }", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	rules, err := New(school())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rules.Apply(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := nft(ctx, "", "-s", "list", "table", "ip", "other"); err != nil {
		t.Errorf("another's table after Apply: %v", err)
	}
}
