package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"schoolgate/control"
)

// controlHandler serves the commands.
func (a *Appliance) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, _ *http.Request) {
		var reply control.Reloaded
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
	err = control.Ask(ctx, dir, "untrusting", nil, &u)
	return u, err
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
