package terms

import "testing"

// watch is the shipped packs, or the end of the test.
func watch(t testing.TB) *Set {
	t.Helper()
	set, problems := Shipped()
	for _, p := range problems {
		t.Error(p)
	}
	if set == nil {
		t.FailNow()
	}
	return set
}

func TestShippedPacksLoad(t *testing.T) {
	set := watch(t)
	states, classes := set.automaton.Size()
	t.Logf("%d terms, %d states, %d classes, %d bytes of tables", len(set.Terms()), states, classes, set.automaton.Bytes())
}
