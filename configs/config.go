package configs

import (
	"log/slog"
	"net"
	"net/netip"
	"time"

	"schoolgate/policy"
)

// Config is everything the appliance is built from.
type Config struct {
	Box    Box
	School School
	// Warnings are what is allowed but should be known.
	Warnings []policy.Problem
}

// Box is schoolgate.yaml. Its file names are complete: a relative one has been
// joined to the folder of the file that named it.
type Box struct {
	File    string // the file it was read from; "" for the embedded sample
	Policy  string // the policy file
	Data    string // folder of everything the box writes
	DNS     DNS
	Proxy   Proxy
	Inspect Inspect
	Gateway Gateway
	Metrics Metrics
	Lists   Lists
	Mail    Mail
	Console Console
	Audit   Audit
	Log     Log
}

// Proxy is the HTTP(S) door.
type Proxy struct {
	Listen            []netip.AddrPort
	TLSListen         []netip.AddrPort // the same inside TLS, where people may sign in
	Name              policy.Host      // by which devices know the box; the zero Host is its address
	Certificate, Key  string           // for it; "" is one of the school's own authority
	PageListen        []netip.AddrPort // where the block page is served to those the DNS sent to the sinkhole
	AllowDestinations []netip.Prefix   // private ranges that may be reached all the same
	ConnectPorts      []uint16         // for HTTPS
	HTTPPorts         []uint16         // for plain HTTP, besides 80
	Transparent       Transparent
	MaxConnections    int
	MaxPerClient      int
}

// Transparent is where the gateway redirects what devices send to any site.
type Transparent struct {
	HTTP []netip.AddrPort // what was meant for port 80
	TLS  []netip.AddrPort // what was meant for port 443
}

// Metrics is where /metrics, /healthz and /readyz are served.
type Metrics struct {
	Listen []netip.AddrPort
}

// Lists is where categories come from.
type Lists struct {
	Feeds string // the file of the feeds; "" for the starter lists in the binary
	Here  bool   // the feeds are written in this very file, under lists.feeds
	Store string // folder of the category stores
	Proxy string // the proxy that lists are fetched by; "" goes straight out
	// HoldAt is the share in a hundred of what the school used last week that a
	// new version may newly block before a person must release it (F14).
	HoldAt int
}

// Mail is how alerts leave the box. Without a Server none are sent.
type Mail struct {
	Server       string // host:port
	TLS          MailTLS
	Username     string
	PasswordFile string
	From         string
	CAFile       string // trusted besides the system's roots
	Timeout      time.Duration
}

// MailTLS is how the mail server is spoken to.
type MailTLS string

// The ways to speak to a mail server.
const (
	StartTLS MailTLS = "starttls" // plain, then TLS before anything is said; usual on port 587
	TLS      MailTLS = "tls"      // TLS from the first byte; usual on port 465
	NoTLS    MailTLS = "none"     // in clear: only to this very machine
)

// Console is where staff read alerts.
type Console struct {
	URL string // the link in an alert mail; "" for none
}

// Audit is the journal.
type Audit struct {
	Durability  Durability
	SegmentSize int64 // bytes after which a new segment is begun
	Reasons     Reasons
}

// Reasons is whether a look at records that name people needs a reason.
type Reasons string

// A terminal asks for a reason, always.
const (
	ReasonsAsked    Reasons = "asked"    // elsewhere, as in a script, it may be left out
	ReasonsRequired Reasons = "required" // nothing is shown without one
)

// Durability is when an unflagged record must be on the disk. A flagged one is
// there before its answer leaves, always.
type Durability string

// The durabilities.
const (
	Normal       Durability = "normal" // within a second
	StrictlySync Durability = "strict" // before the answer leaves
)

// Log is the operator's log, which holds no browsing.
type Log struct {
	Level  slog.Level
	Format string // text or json
}

// School is policy.yaml, read and compiled.
type School struct {
	File    string // the name decisions give it, e.g. policy.yaml
	Name    string // the school's own, for its pages; "" leaves it out
	Ask     string // whom adults ask about a blocked page; "" for IT support
	Spec    policy.Spec
	Policy  *policy.Policy
	Members []Member
	Alerts  Alerts
	Seal    Seal
	Terms   Terms

	Retention Retention
}

// Retention is for how many days records are kept, a class each (privacy 5). Leadership
// decides it, and so it stands in policy.yaml.
type Retention struct {
	Requests int // what nobody must hear of
	Flagged  int // what a person must hear of
	Guest    int // of visitors
	Staff    int // what staff did with the box
	Path     int // after these, the path of an address and the words of a search go, and the host stays
}

// Seal is the public keys that the address of a mandatory hit is sealed to, both of
// which it takes to open it (F7). Without them it is not kept.
type Seal struct{ DSL, Head string }

// Member says that whoever is at an address or has a hardware address is in a
// group, and which device it is. Exactly one of Prefix and MAC is set.
type Member struct {
	Group, Device string // Device is "" for anyone of the group
	Prefix        netip.Prefix
	MAC           net.HardwareAddr
	Quarantined   bool // cut off while an incident is open (R29)
	Unsigned      bool // no signed acceptable-use policy on record (R64)
	Rule          policy.Pos
}
