package containment

import (
	"testing"

	"schoolgate/policy"
)

// nothing is lists that know no host.
type nothing struct{}

func (nothing) Classify(policy.Host, string) policy.Facts { return policy.Facts{} }

// An act in force is laid over the lists of the snapshot before. They are no slower for
// it, however often that was.
func TestSnapshotTakesListsOverAsTheyAre(t *testing.T) {
	now := NewKeeper(Options{Dir: t.TempDir()}).Now()
	first := now.Snapshot(&policy.Policy{}, nothing{}, 1, nil)
	if first.Lists == policy.Classifier(nothing{}) {
		t.Fatal("a listed host with a suffix behind it is not known")
	}
	if next := now.Snapshot(first.Policy, first.Lists, 1, nil); next.Lists != first.Lists {
		t.Errorf("Lists = %#v, want %#v", next.Lists, first.Lists)
	}
}
