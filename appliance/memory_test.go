package appliance

import (
	"strings"
	"testing"
)

// F15: the page of readiness says that memory is short, and what that means.
func TestMemoryCheck(t *testing.T) {
	for _, tt := range []struct {
		share int
		want  string
		bad   bool
	}{
		{74, "74% of its bound in use", false},
		{75, "75% of its bound in use: devices with many web connections get no more", false},
		{88, "88% of its bound in use", true},
	} {
		c := memoryCheckOf(tt.share, 75, 88)
		if c.Say != tt.want || (c.Err != nil) != tt.bad || tt.bad && !strings.Contains(c.Err.Error(), "MemoryMax") {
			t.Errorf("%d%%: %q, %v", tt.share, c.Say, c.Err)
		}
	}
}
