// Package pagescan reads pages for what they are about while they pass: weighted
// phrases in the words a person would see, marks of web proxies in the page itself.
//
// It reads HTML, the codings gzip, deflate, br and zstd, and every charset that a
// browser knows, up to [MaxPage] bytes of a page. It does not read what scripts
// write, pictures, video, or what comes after; a page it passes is not proven good.
// It never changes a byte, and keeps none once the page is over.
package pagescan
