package policy

import "testing"

// Names that imitate another are told; names of their own are not (Y17).
func TestLooksLike(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"bl\u043ecked.example", "blocked.example"},              // Cyrillic o
		{"bl\u03bfcked.example", "blocked.example"},              // Greek o
		{"www.bl\u043e\u0441ked.example", "www.blocked.example"}, // two, below
		{"blocke\u0501.example", "blocked.example"},              // Komi d
		{"b\u04cfocked.ex\u0430mple", "blocked.example"},         // in two labels
		{"g\u0131rls.example", "girls.example"},                  // dotless i
		{"blocked.example", ""},
		{"m\u00fcnchen.example", ""},                          // an accent
		{"\u0441\u043e\u0440.example", ""},                    // all Cyrillic: a word of its own
		{"\u043f\u0440\u0438\u043c\u0435\u0440a.example", ""}, // letters that look like none
		{"\u4f8b\u3048.example", ""},
		{"203.0.113.7", ""},
	} {
		h, err := ParseHost(c.name)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := h.LooksLike()
		if got.String() != c.want && ok || ok != (c.want != "") {
			t.Errorf("LooksLike(%s) = %s, %t, want %q", c.name, got, ok, c.want)
		}
	}
}
