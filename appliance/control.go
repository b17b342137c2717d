package appliance

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

// controlSocket is where commands on the box reach the running daemon. Whoever
// may enter the data directory (0700) may use it.
const controlSocket = "control.sock"

// maxReply bounds what a command reads of the daemon's answer, in bytes.
const maxReply = 1 << 20

// ErrNotRunning is returned by commands that need the daemon when there is none.
var ErrNotRunning = errors.New("schoolgate is not running")

// reloadReply is the daemon's answer to a reload, as it goes over the socket.
type reloadReply struct {
	Changed  string   `json:"changed,omitempty"`  // what is in force now, for the person who asked
	Problems []string `json:"problems,omitempty"` // why the old state was kept
}

// listenControl binds the control socket. A socket left behind by a dead daemon
// is replaced; the journal's lock has already made sure that no live one is.
func listenControl(ctx context.Context, dir string) (net.Listener, error) {
	path := filepath.Join(dir, controlSocket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, os.Chmod(path, 0o600)
}

// controlHandler serves the commands.
func (a *Appliance) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, _ *http.Request) {
		var reply reloadReply
		changed, err := a.Reload()
		if err != nil {
			reply.Problems = lines(err)
		}
		reply.Changed = changed
		a.answer(w, reply)
	})
	mux.HandleFunc("POST /untrusting", func(w http.ResponseWriter, _ *http.Request) {
		u := Refusers{Devices: texts(a.proxy.Untrusting())}
		for _, p := range a.proxy.Pinned() {
			u.Sites = append(u.Sites, PinnedSite{p.Host.String(), p.Clients, p.Since, p.Last})
		}
		a.answer(w, u)
	})
	mux.HandleFunc("POST /record", a.recordAct)
	mux.HandleFunc("POST /contain", a.contain)
	mux.HandleFunc("POST /reindex", a.reindex)
	mux.HandleFunc("POST /held", a.serveHeld)
	mux.HandleFunc("POST /incident", a.incident)
	return mux
}

// answer sends what a command asked for.
func (a *Appliance) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		a.log.Warn("control answer not sent", "err", err)
	}
}

// RequestReload asks the daemon whose data directory is dir to reload, and
// returns what is in force after it. An error tells why the old state was kept.
func RequestReload(ctx context.Context, dir string) (string, error) {
	var reply reloadReply
	if err := command(ctx, dir, "reload", nil, &reply); err != nil {
		return "", err
	}
	errs := make([]error, len(reply.Problems))
	for i, p := range reply.Problems {
		errs[i] = errors.New(p)
	}
	return reply.Changed, errors.Join(errs...)
}

// Refusers are who refuses the school's certificate.
type Refusers struct {
	Devices []string     `json:"devices"` // addresses of those that do not trust it
	Sites   []PinnedSite `json:"sites"`   // of apps on devices that do
}

// PinnedSite is a site whose app believes its own certificates only.
type PinnedSite struct {
	Host        string    `json:"host"`
	Devices     int       `json:"devices"`
	Since, Last time.Time // of their refusals
}

// Untrusting asks the daemon whose data directory is dir who refuses the school's
// certificate.
func Untrusting(ctx context.Context, dir string) (u Refusers, err error) {
	err = command(ctx, dir, "untrusting", nil, &u)
	return u, err
}

// command sends one command to the daemon whose data directory is dir: in as
// JSON, its answer into out. [ErrNotRunning] where there is none.
func command(ctx context.Context, dir, name string, in, out any) error {
	return commandAt(ctx, filepath.Join(dir, controlSocket), name, in, out)
}

// commandAt is command for a socket by its path or name.
func commandAt(ctx context.Context, path, name string, in, out any) error {
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

// lines takes a joined error apart, a line for each problem.
func lines(err error) []string {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		var out []string
		for _, e := range many.Unwrap() {
			out = append(out, e.Error())
		}
		return out
	}
	return []string{err.Error()}
}

// Running reports whether a daemon answers for a data directory.
func Running(ctx context.Context, dir string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, controlSocket))
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
