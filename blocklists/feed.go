package blocklists

import (
	"io/fs"
	"time"

	"schoolgate/policy"
)

// Format is how a feed is written.
type Format string

// The formats.
const (
	Domains   Format = "domains"   // a name on each line, # comments
	Hosts     Format = "hosts"     // an address and then names, as in /etc/hosts
	Adblock   Format = "adblock"   // ||name^
	Dnsmasq   Format = "dnsmasq"   // address=/name/ and its kin
	RPZ       Format = "rpz"       // a DNS response policy zone
	Wildcards Format = "wildcards" // *.name
	URLs      Format = "urls"      // a URL on each line, the scheme may be missing
	IPs       Format = "ip"        // an address on each line
	UT1       Format = "ut1"       // squidGuard tree: CATEGORY/{domains,urls,expressions}
	V2fly     Format = "v2fly"     // v2fly domain-list: one file for each service
	CSV       Format = "csv"       // columns named in the header
)

var formats = []Format{Domains, Hosts, Adblock, Dnsmasq, RPZ, Wildcards, URLs, IPs, UT1, V2fly, CSV}

// Kind says what an entry of a feed is worth.
type Kind string

// The kinds.
const (
	Public    Kind = "public"    // somebody's list: evidence by its weight
	Curated   Kind = "curated"   // looked at by hand for this product or school: settles the matter
	Mandatory Kind = "mandatory" // outranks everything, kept as keyed hashes only
	Clean     Kind = "clean"     // names of good repute: evidence against a public list
)

var kinds = []Kind{Public, Curated, Mandatory, Clean}

// None in a category map says that those entries are known and not wanted.
const None = "none"

// Feed is one source of entries.
type Feed struct {
	Name       string
	Path       string // file, folder or glob; relative to the feeds file
	Format     Format
	Category   policy.Category   // of every entry, or Uncategorised where Categories or Kind says
	Categories map[string]string // folder, file or code → category ID or "none"; "*" is any other
	Columns    Columns           // for CSV
	Delta      string            // for CSV: a file of additions and removals applied to Path
	Licence    string
	Family     string // the publisher's list that this is a copy of; copies count once
	Kind       Kind
	Weight     float64 // of one entry as evidence; 1 settles the matter alone
	Date       time.Time
	Enabled    bool
	Note       string // what the feed is known to get wrong
	Rule       policy.Pos
	Remote     Remote // where it is downloaded from; with Path, that is read until the first download
	Synthetic  bool   // invented entries: never counted as protection (I1)

	Limits   Limits // the zero value takes the defaults
	embedded fs.FS  // where Path lies if the feed ships in the binary
}

// Columns names the columns of a CSV feed by their header.
type Columns struct {
	Host     string              // host, or URL
	Path     string              // path prefix below Host
	Category string              // code, looked up in Feed.Categories
	Action   string              // add or remove, in a delta
	Where    map[string][]string // only rows with one of these values are taken
}

// Entry is one line of a feed, understood.
type Entry struct {
	Host     policy.Host
	Path     string // path prefix; "" for the whole host
	Exact    bool   // only this very name, nothing below it
	Category policy.Category
	File     string
	Line     int
}

// Stats is the outcome of reading a feed.
type Stats struct {
	Files      int
	Lines      int64 // read, comments and blank lines included
	Entries    int64 // handed over
	Unwanted   int64 // mapped to "none", or rows that Columns.Where leaves out
	Refused    int64
	Faults     int64 // refused because the line itself is broken
	ByReason   map[Reason]int64
	ByCategory map[policy.Category]int64
	Bytes      int64 // unpacked
}
