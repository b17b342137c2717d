// Package blockpage is the page a person sees in place of one that was refused
// or could not be fetched, and only that.
//
// A page is chosen by what happened and by the age band of who is looking:
// pictures for EYFS, short words and pictures for KS1, plain words for KS2, the
// rule and the reason for adults. Every page for pupils shows Childline.
//
// It never shows anything of the request but the host, escaped; for a hit on a
// mandatory list not even that, and to a child it never says what the page was.
// It has no script, no image to fetch and no link back to the request, so there is
// nothing on it to abuse (T22). Its one form, on a pupil's page, tells a grown-up:
// it goes to the box itself, and opens no page.
package blockpage
