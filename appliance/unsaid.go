package appliance

import (
	"strings"
	"unicode"

	"schoolgate/incidents"
	"schoolgate/policy"
)

// What people type (the words of a search, a note, a reason) may be an address of a
// mandatory list, and so may a part of a path. It is a crime to pass on wherever it
// stands, so it is taken out before anything is written down (F7, privacy 8).

// unsaidMark stands where an address was.
const unsaidMark = "(sealed)"

// maxUnsaid bounds how often one text is looked up; what is left of it then is not
// kept.
const maxUnsaid = 64

// beginsAddress are the marks after which an address may begin, and which no host
// holds; endsAddress those that belong to the sentence around it.
const (
	beginsAddress = `/\=?&@:;,|<>()[]{}"'`
	endsAddress   = `.,;:!?)]}>"'`
)

// refang reads an address as it was before somebody made it safe to write.
var refang = strings.NewReplacer("[.]", ".", "(.)", ".", "{.}", ".", "[dot]", ".", "hxxps:", "https:", "hxxp:", "http:")

// unsaid is the text without the addresses that are on a mandatory list.
func unsaid(lists policy.Classifier, text string) string {
	if lists == nil || !strings.ContainsAny(text, ".[") { // nearly all
		return text
	}
	var b strings.Builder
	left := maxUnsaid
	for text != "" {
		end := strings.IndexFunc(text, unicode.IsSpace)
		if end == 0 {
			end = len(text) - len(strings.TrimLeftFunc(text, unicode.IsSpace))
			b.WriteString(text[:end])
			text = text[end:]
			continue
		}
		if end < 0 {
			end = len(text)
		}
		b.WriteString(unsaidWord(lists, text[:end], &left))
		text = text[end:]
	}
	return b.String()
}

// unsaidWord is one word of it. An address may begin at any mark in it, as in
// (http://…), q=… or /go/….
func unsaidWord(lists policy.Classifier, word string, left *int) string {
	plain := refang.Replace(word)
	for start := 0; start < len(plain); start++ {
		if start > 0 && !strings.ContainsRune(beginsAddress, rune(plain[start-1])) {
			continue
		}
		address := strings.TrimRight(plain[start:], endsAddress)
		host := strings.TrimPrefix(strings.TrimPrefix(address, "http://"), "https://")
		if end := strings.IndexAny(host, "/?#"+beginsAddress); end >= 0 {
			host = host[:end]
		}
		if !strings.Contains(host, ".") {
			continue
		}
		if *left--; *left < 0 {
			return plain[:start] + unsaidMark
		}
		if listed(lists, address) || listed(lists, host) {
			return plain[:start] + unsaidMark
		}
	}
	return word
}

func listed(lists policy.Classifier, address string) bool {
	u, err := policy.ParseURL(address)
	return err == nil && lists.Classify(u.Host, u.Path).Mandatory != policy.Uncategorised
}

// lists are the lists in force; nil before there are any.
func (a *Appliance) lists() policy.Classifier {
	if s := a.store.Load(); s != nil {
		return s
	}
	return nil
}

// unsaidAct takes such addresses out of what somebody did.
func (a *Appliance) unsaidAct(e *policy.Event) {
	e.Subject, e.Note = unsaid(a.lists(), e.Subject), unsaid(a.lists(), e.Note)
}

// unsaidChange takes them out of what goes into the register of incidents.
func (a *Appliance) unsaidChange(c *incidents.Change) {
	for _, text := range []*string{&c.Text, &c.To, &c.Number, &c.Changed} {
		*text = unsaid(a.lists(), *text)
	}
}
