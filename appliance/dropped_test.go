package appliance

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// S2: what the firewall dropped becomes events, and only whoever may say so is heard.
func TestGuardIsHeard(t *testing.T) {
	dir := t.TempDir()
	if err := TellDropped(t.Context(), dir, []Dropped{{Kind: "vpn"}}); err == nil {
		t.Error("told nobody, and it was no error")
	}
	l, err := listenDropped(t.Context(), dir)
	if err != nil {
		t.Skipf("SKIPPED: no abstract sockets here: %v", err)
	}
	defer l.Close()
	heard := ""
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard = r.Method + " " + r.URL.Path
		w.Write([]byte("1"))
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	defer s.Close()
	if err := TellDropped(t.Context(), dir, []Dropped{{Kind: "vpn"}}); err != nil || heard != "POST /dropped" {
		t.Errorf("TellDropped = %v, heard %q", err, heard)
	}
	if err := TellDropped(t.Context(), dir, []Dropped{{Kind: "vpn"}, {Kind: "tunnel"}}); err == nil || !strings.Contains(err.Error(), "1 of 2") {
		t.Errorf("TellDropped = %v, want that one is missing", err)
	}
}
