// Package blocklists reads lists of hosts and URLs as they are published and
// hands their entries over. A feed is declared in YAML, read once from start to
// end, and each line of it is either an entry, a comment or a refusal with
// file, line and reason:
//
//  1. the file is opened, and unpacked if it is gzip or tar
//  2. its first bytes are looked at: a web page, a picture, UTF-16 is no list
//  3. each line is taken apart by the parser of the declared format
//  4. each host is read by policy.ParseHost, so it means what it means at the doors
//
// Whoever made the file is not trusted: line length, unpacked size, packing
// ratio, members and bad lines are bounded by [Limits], and past a bound the
// feed as a whole is refused. It never writes a file, follows a link out of an
// archive, asks the network or decides whether an entry counts; that is the
// category store's work.
package blocklists
