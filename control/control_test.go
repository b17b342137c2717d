package control

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// served has somebody answer at a data directory of its own.
func served(t *testing.T, h http.HandlerFunc) (dir string) {
	dir = t.TempDir()
	l, err := Listen(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	server := &http.Server{Handler: h}
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return dir
}

func TestAsk(t *testing.T) {
	dir := served(t, func(w http.ResponseWriter, r *http.Request) {
		said, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path == "/refused" {
			http.Error(w, "not that", http.StatusConflict)
			return
		}
		fmt.Fprintf(w, `{"changed": "%s", "problems": []}`, strings.Trim(string(said), `"`))
	})
	var out Reloaded
	if err := Ask(t.Context(), dir, "echo", "this", &out); err != nil || out.Changed != "this" {
		t.Errorf("Ask = %+v, %v", out, err)
	}
	if err := Ask(t.Context(), dir, "refused", nil, &out); err == nil || err.Error() != "refused refused: not that" || errors.Is(err, ErrNotRunning) {
		t.Errorf("Ask = %v, want what the daemon said", err)
	}
	if !Running(t.Context(), dir) {
		t.Error("Running = false while somebody answers")
	}
}

func TestReloadTellsEveryProblem(t *testing.T) {
	dir := served(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"problems": ["one", "two"]}`)
	})
	if _, err := Reload(t.Context(), dir); err == nil || err.Error() != "one\ntwo" {
		t.Errorf("Reload = %v", err)
	}
}

func TestNobodyRuns(t *testing.T) {
	dir := t.TempDir()
	if _, err := Reload(t.Context(), dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Reload = %v, want ErrNotRunning", err)
	}
	if Running(t.Context(), dir) {
		t.Error("Running = true where nobody is")
	}
}

// The socket of a daemon that was killed is in nobody's way.
func TestListenReplacesADeadSocket(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		l, err := Listen(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
}
