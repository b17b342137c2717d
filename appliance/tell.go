package appliance

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"schoolgate/audit"
	"schoolgate/blockpage"
	"schoolgate/desk"
	"schoolgate/incidents"
	"schoolgate/policy"
	"schoolgate/redaction"
)

// A pupil's block page has a button to tell somebody (R17, R18, S12). Pressing it
// opens an incident of the page's event, and raises an alert; then the child is
// thanked. It needs no page to be opened again: what there is to know, the log knows.

const (
	tellKeyFile = "tell.key"
	tellKeySize = 32
	tellFor     = 30 * time.Minute // how long a page's button works, at least
	tellBody    = 4 << 10          // bytes of a press
	tellWords   = 300              // letters that a child in KS2 may write
	toldBy      = "a pupil, on the block page"

	severityTold = 3
)

// One tablet may tell of so much, and the whole school; beyond it the child is still
// thanked, and the log has a word of it.
const (
	tellsPerClient  = 5
	tellEvery       = 2 * time.Minute
	tellsAll        = 60
	tellAllEvery    = 10 * time.Second
	tellClientsKept = 1000
)

// telling takes what children tell.
type telling struct {
	key  [tellKeySize]byte
	macs sync.Pool // of *mac, with that key

	mu       sync.Mutex
	all      *rate.Limiter
	byClient map[netip.Addr]*rate.Limiter
}

// openTelling reads or makes the key of the buttons, before any page is shown.
func (a *Appliance) openTelling() error {
	t := &a.tell
	t.all, t.byClient = rate.NewLimiter(rate.Every(tellAllEvery), tellsAll), map[netip.Addr]*rate.Limiter{}
	path := filepath.Join(a.box().Data, tellKeyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text = make([]byte, tellKeySize)
		rand.Read(text)
		err = os.WriteFile(path, text, 0o600)
	}
	if err == nil && len(text) != tellKeySize {
		// A key cut short by a power cut: buttons of pages shown before work no more.
		text = make([]byte, tellKeySize)
		rand.Read(text)
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("key of the pages: %w", err)
	}
	copy(t.key[:], text)
	t.macs.New = func() any { return &mac{Hash: hmac.New(sha256.New, t.key[:])} }
	return nil
}

// The buttons that a page can have. A token is good for one of them.
const (
	buttonTell byte = iota
	buttonOnward
)

// token lets the client that a page was shown to press a button on it for that page's
// event, and nobody else, nor for another.
func (t *telling) token(button byte, id policy.EventID, client netip.Addr, at time.Time) string {
	m := t.macs.Get().(*mac)
	defer t.macs.Put(m)
	m.buf = append(m.buf[:0], button)
	m.buf = binary.BigEndian.AppendUint64(m.buf, uint64(id))
	m.buf = binary.BigEndian.AppendUint64(m.buf, uint64(at.Unix()/int64(tellFor/time.Second)))
	m.buf = client.Unmap().WithZone("").AppendTo(m.buf)
	m.Reset()
	m.Write(m.buf)
	m.buf = m.Sum(m.buf[:0])
	return base64.RawURLEncoding.EncodeToString(m.buf[:18])
}

// mac makes tokens, one at a time; to set one up costs more than to use it.
type mac struct {
	hash.Hash
	buf []byte
}

func (t *telling) believes(token string, button byte, id policy.EventID, client netip.Addr, now time.Time) bool {
	for _, at := range []time.Time{now, now.Add(-tellFor)} {
		if hmac.Equal([]byte(token), []byte(t.token(button, id, client, at))) {
			return true
		}
	}
	return false
}

// tokenOf is the token of a page for an event, to tell somebody.
func (t *telling) tokenOf(e *policy.Event) string { return t.tokenFor(buttonTell, e) }

// onwardOf is the token of a page for an event, to go on past its warning.
func (t *telling) onwardOf(e *policy.Event) string { return t.tokenFor(buttonOnward, e) }

func (t *telling) tokenFor(button byte, e *policy.Event) string {
	client, err := netip.ParseAddr(e.Client)
	if err != nil {
		return "" // nobody known is behind it: a help-line, say
	}
	return t.token(button, e.ID, client, e.Time)
}

// lets reports whether a client may tell of one more thing now.
func (t *telling) lets(client netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.byClient[client]
	if l == nil {
		if len(t.byClient) >= tellClientsKept {
			clear(t.byClient)
		}
		l = rate.NewLimiter(rate.Every(tellEvery), tellsPerClient)
		t.byClient[client] = l
	}
	return l.Allow() && t.all.Allow()
}

// told answers a press of the button. Whatever happens the child is thanked; where
// nothing could be kept the page says to go and tell a grown-up.
func (a *Appliance) told(w http.ResponseWriter, r *http.Request, client netip.Addr) {
	status := http.StatusOK
	err := a.keepTold(w, r, client)
	if err != nil {
		status = http.StatusForbidden
		a.log.Warn("what a pupil told was not kept", "err", err)
	}
	page, err := blockpage.Thanks(w.Header(), a.config.Load().School.Name, status == http.StatusOK)
	if err != nil {
		a.log.Error("page of thanks not written", "err", err)
		page = []byte("Thank you. Turn the screen away and tell your teacher.\n")
	}
	w.WriteHeader(status)
	if _, err := w.Write(page); err != nil {
		a.log.Debug("page of thanks not sent", "err", err)
	}
}

var (
	errNotOurs  = errors.New("the press did not come from a page of ours")
	errTooOften = errors.New("too many presses")
)

func (a *Appliance) keepTold(w http.ResponseWriter, r *http.Request, client netip.Addr) error {
	id, err := a.pressOf(w, r, buttonTell, client)
	if err != nil {
		return err
	}
	if i, ok := a.register.OfEvent(id); ok { // pressed twice, or told by somebody already
		return a.raiseTold(&i)
	}
	if !a.tell.lets(client) {
		return errTooOften
	}
	e, err := audit.In(a.config.Load().Box.Data).Event(r.Context(), id)
	if err != nil {
		return err
	}
	f := desk.Facts(&e)
	i, err := a.register.Do(incidents.Command{
		Act: incidents.ActOpen, By: toldBy, Change: incidents.Change{
			Kind: incidents.Told, Source: incidents.SourcePage, Facts: &f, Text: redaction.Text(a.lists(), a.wordsOf(&e, r.PostForm.Get("words"))),
		},
	})
	if err != nil {
		if again, ok := a.register.OfEvent(id); ok { // two presses at once
			return a.raiseTold(&again)
		}
		return err
	}
	return a.raiseTold(&i)
}

// pressOf is the event of the page that a button was pressed on.
func (a *Appliance) pressOf(w http.ResponseWriter, r *http.Request, button byte, client netip.Addr) (policy.EventID, error) {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return 0, errNotOurs
	}
	r.Body = http.MaxBytesReader(w, r.Body, tellBody)
	if err := r.ParseForm(); err != nil {
		return 0, errNotOurs // its text may hold what the child wrote
	}
	id, err := policy.ParseEventID(r.PostForm.Get("ref"))
	if err != nil || !a.tell.believes(r.PostForm.Get("token"), button, id, client, time.Now()) {
		return 0, errNotOurs
	}
	return id, nil
}

// wordsOf is what a child in KS2 wrote; younger ones are not asked to.
func (a *Appliance) wordsOf(e *policy.Event, text string) string {
	p := a.config.Load().School.Policy.Profile(e.Profile)
	if p == nil || p.Band != policy.KS2 {
		return ""
	}
	text = strings.ToValidUTF8(strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }), " "), "")
	if letters := []rune(text); len(letters) > tellWords {
		text = string(letters[:tellWords])
	}
	return text
}

// raiseTold sees to it that somebody hears of an incident that a page opened: by a
// flagged event, which alerts reads. It is noted on the incident, so that a crash
// between the two means that it is told again, and never that it is not told.
func (a *Appliance) raiseTold(i *incidents.Incident) error {
	a.raising.Lock()
	defer a.raising.Unlock()
	if now, ok := a.register.OfEvent(i.Facts.Event); i.Source != incidents.SourcePage || ok && now.Alerted {
		return nil
	}
	f := &i.Facts
	e := policy.Event{
		Time: time.Now(), Door: policy.DoorHTTP, Client: f.Client, Device: f.Device, Group: f.Group, Profile: f.Profile, Person: f.Person,
		Pupil: true, Verdict: policy.Block, Reason: policy.ReasonDefault, Use: policy.UsePerson, Theme: incidents.ThemeTold, Finding: incidents.ThemeTold,
		Severity: max(severityTold, f.Severity), PolicyVersion: a.engine.Current().Policy.Version, StoreVersion: a.engine.Current().StoreVersion,
	}
	if err := a.journal.Record(&e); err != nil {
		return err
	}
	_, err := a.register.Do(incidents.Alerted(i.Ref(), e.ID))
	return err
}

// raiseForgotten raises what a crash kept from being raised.
func (a *Appliance) raiseForgotten() {
	for _, i := range a.register.Unalerted() {
		if err := a.raiseTold(&i); err != nil {
			a.log.Error("an incident that a pupil opened is not told yet", "incident", i.Ref(), "err", err)
		}
	}
}
