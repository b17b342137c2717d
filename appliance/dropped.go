package appliance

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"

	"schoolgate/clients"
	"schoolgate/control"
	"schoolgate/policy"
)

// Dropped is what the firewall dropped of a device: a try to get round the doors (S2).
type Dropped struct {
	Client netip.Addr `json:"client"`
	Kind   string     `json:"kind"` // a word of the firewall's
}

// maxDropped is how much the guard may tell at once, in bytes.
const maxDropped = 1 << 20

// droppedSocket is where the firewall's guard tells the daemon of them: an abstract
// socket, for the guard may enter no folder of the daemon's. Whoever connects must
// be root or the daemon's own user.
func droppedSocket(data string) (string, error) {
	path, err := filepath.Abs(data)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("@schoolgate-dropped-%x", sha256.Sum256([]byte(path)))[:60], nil
}

func listenDropped(ctx context.Context, data string) (net.Listener, error) {
	name, err := droppedSocket(data)
	if err != nil {
		return nil, fmt.Errorf("socket of the firewall's guard: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", name)
	if err != nil {
		return nil, fmt.Errorf("socket of the firewall's guard: %w", err)
	}
	return guardsOnly{l}, nil
}

// guardsOnly lets in only who may tell what was dropped.
type guardsOnly struct{ net.Listener }

// Accept closes on everybody else.
func (l guardsOnly) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || mayTell(conn) {
			return conn, err
		}
		conn.Close()
	}
}

// CutOff is which devices are in quarantine, for the firewall (R29): what a gateway
// lets through besides the doors is closed to them as well.
type CutOff struct {
	All       bool         `json:"all,omitempty"` // nobody knows who, so everybody
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Hardware  []string     `json:"hardware,omitempty"`
}

// AskCutOff asks the daemon whose data directory is dir for the devices in quarantine.
func AskCutOff(ctx context.Context, dir string) (CutOff, error) {
	name, err := droppedSocket(dir)
	if err != nil {
		return CutOff{}, err
	}
	var c CutOff
	return c, control.AskAt(ctx, name, "cutoff", nil, &c)
}

// guardHandler is what the firewall's guard may ask and tell.
func (a *Appliance) guardHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /dropped", a.recordDropped)
	mux.HandleFunc("POST /cutoff", func(w http.ResponseWriter, _ *http.Request) {
		known, ok := a.engine.Current().Clients.(interface{ Known() clients.Quarantine })
		if !ok {
			http.Error(w, "clients are not known", http.StatusServiceUnavailable)
			return
		}
		q := known.Known()
		c := CutOff{All: q.All, Addresses: q.Addresses}
		for _, h := range q.Hardware {
			c.Hardware = append(c.Hardware, h.String())
		}
		a.answer(w, c)
	})
	return mux
}

// TellDropped has the daemon whose data directory is dir record what was dropped.
func TellDropped(ctx context.Context, dir string, list []Dropped) error {
	name, err := droppedSocket(dir)
	if err != nil {
		return err
	}
	var recorded int
	if err := control.AskAt(ctx, name, "dropped", list, &recorded); err != nil {
		return err
	}
	if recorded != len(list) {
		return fmt.Errorf("%d of %d tries recorded", recorded, len(list))
	}
	return nil
}

// recordDropped writes an event for each: who it was, by the lists of the day, and
// what was tried. There is no host: a packet has none.
func (a *Appliance) recordDropped(w http.ResponseWriter, r *http.Request) {
	var list []Dropped
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxDropped)).Decode(&list); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var errs error
	n := 0
	for _, d := range list {
		q := policy.Request{Door: policy.DoorGateway, Client: d.Client}
		ruling := a.engine.Decide(q)
		ruling.Verdict, ruling.Reason, ruling.Rule = policy.Block, policy.ReasonProtocol, policy.Pos{}
		ruling.Category, ruling.Severity, ruling.Safe = policy.Uncategorised, 0, policy.Host{}
		e := ruling.Event(q)
		e.Finding = d.Kind
		if err := a.journal.Record(&e); err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		n++
	}
	if errs != nil {
		a.log.Error("dropped by the firewall and not recorded", "tries", len(list)-n, "err", errs)
	}
	a.answer(w, n)
}
