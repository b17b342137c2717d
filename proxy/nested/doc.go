// Package nested finds the addresses inside an address. A page that fetches other
// pages (a translator, an archive, a preview, a web proxy) is judged as if the page in
// it were visited (Y13), so whoever judges the one judges the others as well.
//
// It reads text and nothing else: no network, no state. [May] tells nearly every
// address apart at a glance, without an allocation; [Addresses] takes the others to
// pieces. What it finds are hosts and paths as [policy.ParseURL] reads them, never the
// host it began with, and no more than [Max]; escapes are taken off three times at
// most, and base64 of up to 4 KiB is read once.
package nested
