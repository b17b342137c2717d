package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"schoolgate/internal/testkit"
)

// TestFetchScript meets the commands that bring lists in as their user does,
// with a publisher of lists on loopback.
func TestFetchScript(t *testing.T) {
	var mu sync.Mutex
	servers := map[string]*testkit.FeedServer{} // by work folder: scripts run at once
	testscript.Run(t, testscript.Params{
		Dir: "testdata/fetch",
		Setup: func(env *testscript.Env) error {
			server := testkit.Feeds(env.T().(testing.TB))
			mu.Lock()
			servers[env.WorkDir] = server
			mu.Unlock()
			env.Setenv("SSL_CERT_FILE", server.CA)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			for _, name := range []string{"feeds.yaml", "etc/feeds.yaml"} {
				file := filepath.Join(env.WorkDir, name)
				text, err := os.ReadFile(file)
				if errors.Is(err, fs.ErrNotExist) {
					continue // a script has one of the two
				}
				if err != nil {
					return err
				}
				if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "SERVER", server.URL)), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// publish NAME FILE: the publisher has the file under that name now
			"publish": func(ts *testscript.TestScript, neg bool, args []string) {
				want(ts, neg, args, 2, "publish NAME FILE")
				mu.Lock()
				defer mu.Unlock()
				servers[ts.Getenv("WORK")].Set(args[0], ts.ReadFile(args[1]))
			},
			"exitcode": exitcode,
		},
	})
}
