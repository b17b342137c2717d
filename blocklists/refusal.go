package blocklists

import (
	"fmt"
	"strings"

	"schoolgate/policy"
)

// Reason is why a line gave no entry. Its text is constant, so that reasons can
// be counted.
type Reason string

// Broken lines: the list says something that cannot be.
const (
	BadHost     Reason = "not a host name"
	BadURL      Reason = "not a URL"
	TooLong     Reason = "line is too long"
	NotText     Reason = "not text: control characters or broken UTF-8"
	NotPlain    Reason = "port, path or URL in a list of plain names"
	NotAddress  Reason = "does not begin with an address"
	NotDnsmasq  Reason = "not a dnsmasq line"
	NotZoneLine Reason = "not a zone file line"
	NotCSV      Reason = "not a CSV row of this table"
	UnknownCode Reason = "category code is not in the feed's category map"
	NotAnAction Reason = "action is neither add nor remove"
	NoFile      Reason = "included file does not exist"
)

// Lines that are well formed and that this product does not take.
const (
	TopLevel       Reason = "one label: a whole top-level domain, or no name on the internet"
	Everything     Reason = "matches every host"
	LocalName      Reason = "the device's own name"
	PrivateAddress Reason = "an address that is not on the internet"
	Exception      Reason = "an exception rule: say it in the school's policy"
	Cosmetic       Reason = "a cosmetic rule: it hides part of a page"
	Expression     Reason = "an expression: counted, not compiled"
	PartOfName     Reason = "a part of a name or address, not a host"
	SomeRequest    Reason = "a rule for some requests only"
	Forwards       Reason = "forwards or redirects the name and does not block it"
	Directive      Reason = "a directive that names no host"
	OtherRecord    Reason = "a record or trigger other than a blocked name"
	Link           Reason = "a link inside the archive or folder: never followed"
	Outside        Reason = "a member that points outside the archive"
	OtherMember    Reason = "a member that holds no list"
	NotMapped      Reason = "folder is not in the feed's category map"
	Cycle          Reason = "file includes itself"
)

var unsupported = map[Reason]bool{
	TopLevel: true, Everything: true, LocalName: true, PrivateAddress: true, Exception: true, Cosmetic: true,
	Expression: true, PartOfName: true, SomeRequest: true, Forwards: true, Directive: true,
	OtherRecord: true, Link: true, Outside: true, OtherMember: true, NotMapped: true, Cycle: true,
}

// Fault reports whether the line itself is broken, which counts towards
// refusing the feed as a whole.
func (r Reason) Fault() bool { return !unsupported[r] }

// Refusal is a line, or a member of an archive, that gave no entry.
type Refusal struct {
	File   string
	Line   int // 0 for a whole member
	Reason Reason
	Text   string // the beginning of the line, quoted; never of a mandatory list
}

// String is file:line: reason: text.
func (r Refusal) String() string {
	at := policy.Pos{File: r.File, Line: r.Line}.String()
	if r.Line == 0 {
		at = r.File
	}
	if r.Text == "" {
		return fmt.Sprintf("%s: %s", at, r.Reason)
	}
	return fmt.Sprintf("%s: %s: %s", at, r.Reason, r.Text)
}

// quoteMax is how much of a refused line is shown.
const quoteMax = 60

func quote(line string) string {
	if len(line) > quoteMax {
		return fmt.Sprintf("%+q…", strings.ToValidUTF8(line[:quoteMax], "\uFFFD"))
	}
	return fmt.Sprintf("%+q", line)
}
