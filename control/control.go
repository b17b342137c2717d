package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// socket is where commands on the box reach the running daemon. Whoever may enter
// the data directory (0700) may use it.
const socket = "control.sock"

// maxReply bounds what a command reads of the daemon's answer, in bytes.
const maxReply = 1 << 20

// ErrNotRunning is returned by commands that need the daemon when there is none.
var ErrNotRunning = errors.New("schoolgate is not running")

// Reloaded is the daemon's answer to a reload, as it goes over the socket.
type Reloaded struct {
	Changed  string   `json:"changed,omitempty"`  // what is in force now, for the person who asked
	Problems []string `json:"problems,omitempty"` // why the old state was kept
}

// Listen binds the control socket. A socket left behind by a dead daemon is
// replaced; the journal's lock has already made sure that no live one is.
func Listen(ctx context.Context, dir string) (net.Listener, error) {
	path := filepath.Join(dir, socket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, os.Chmod(path, 0o600)
}

// Ask sends one command to the daemon whose data directory is dir: in as JSON, its
// answer into out. [ErrNotRunning] where there is none.
func Ask(ctx context.Context, dir, name string, in, out any) error {
	return AskAt(ctx, filepath.Join(dir, socket), name, in, out)
}

// AskAt is [Ask] for a socket by its path or name.
func AskAt(ctx context.Context, path, name string, in, out any) error {
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://schoolgate/"+name, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%w: nothing answers at %s: %w", ErrNotRunning, path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
		return errors.Join(fmt.Errorf("%s refused: %s", name, strings.TrimSpace(string(text))), err)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(out); err != nil {
		return fmt.Errorf("answer of the daemon: %w", err)
	}
	return nil
}

// Reload asks the daemon whose data directory is dir to reload, and returns what is
// in force after it. An error tells why the old state was kept.
func Reload(ctx context.Context, dir string) (string, error) {
	var reply Reloaded
	if err := Ask(ctx, dir, "reload", nil, &reply); err != nil {
		return "", err
	}
	errs := make([]error, len(reply.Problems))
	for i, p := range reply.Problems {
		errs[i] = errors.New(p)
	}
	return reply.Changed, errors.Join(errs...)
}

// Running reports whether a daemon answers for a data directory.
func Running(ctx context.Context, dir string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, socket))
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
