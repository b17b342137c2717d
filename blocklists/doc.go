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
// feed as a whole is refused. Reading writes no file, follows no link out of an
// archive and asks no network. Whether an entry counts is never decided here;
// that is the category store's work.
//
// A feed with an address is downloaded by a [Fetcher] into a [Cache], which
// keeps the last good copy of each until there is a better one:
//
//  1. the publisher is asked for what is newer, over TLS, under bounds of time,
//     size and speed, and never at an address inside the school
//  2. the checksum and the signature are compared, where the feed has them
//  3. the file is read as above, and compared with the copy at hand: a list that
//     shrank, grew or became another one waits for a person
//  4. it is put beside the copy at hand, on the disk, and named as the new one
package blocklists
