package redaction

import (
	"strings"
	"unicode"

	"schoolgate/policy"
)

// sealedMark stands where an address was.
const sealedMark = "(sealed)"

// maxLookups bounds how often one text is looked up; what is left of it then is not
// kept.
const maxLookups = 64

// beginsAddress are the marks after which an address may begin, and which no host
// holds; endsAddress those that belong to the sentence around it.
const (
	beginsAddress = `/\=?&@:;,|<>()[]{}"'`
	endsAddress   = `.,;:!?)]}>"'`
)

// refang reads an address as it was before somebody made it safe to write.
var refang = strings.NewReplacer("[.]", ".", "(.)", ".", "{.}", ".", "[dot]", ".", "hxxps:", "https:", "hxxp:", "http:")

// Text is the text without the addresses that are on a mandatory list.
func Text(lists policy.Classifier, text string) string {
	if lists == nil {
		return text
	}
	return Without(text, sealedMark, func(address, host string) bool {
		return Listed(lists, address) != policy.Uncategorised || Listed(lists, host) != policy.Uncategorised
	})
}

// Find is the first address in a text that is on a mandatory list, and which.
func Find(lists policy.Classifier, text string) (address string, list policy.Category) {
	if lists == nil {
		return "", policy.Uncategorised
	}
	Without(text, "", func(a, host string) bool {
		if list != policy.Uncategorised {
			return false
		}
		for _, address = range []string{a, host} {
			if list = Listed(lists, address); list != policy.Uncategorised {
				return true
			}
		}
		return false
	})
	if list == policy.Uncategorised {
		address = ""
	}
	return address, list
}

// Without is a text with a mark in place of each address that is to go. What is asked
// is given an address as it was written, and its host.
func Without(text, mark string, goes func(address, host string) bool) string {
	if !strings.ContainsAny(text, ".[") { // nearly all
		return text
	}
	var b strings.Builder
	left := maxLookups
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
		b.WriteString(withoutIn(text[:end], mark, goes, &left))
		text = text[end:]
	}
	return b.String()
}

// withoutIn is one word of it. An address may begin at any mark in it, as in
// (http://…), q=… or /go/….
func withoutIn(word, mark string, goes func(address, host string) bool, left *int) string {
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
			return plain[:start] + mark
		}
		if goes(address, host) {
			return plain[:start] + mark
		}
	}
	return word
}

// Listed is the mandatory list that an address is on.
func Listed(lists policy.Classifier, address string) policy.Category {
	if lists == nil {
		return policy.Uncategorised
	}
	u, err := policy.ParseURL(address)
	if err != nil {
		return policy.Uncategorised
	}
	return lists.Classify(u.Host, u.Path).Mandatory
}

// Act takes such addresses out of what somebody did.
func Act(lists policy.Classifier, e *policy.Event) {
	e.Subject, e.Note = Text(lists, e.Subject), Text(lists, e.Note)
}

// Unreadable is lists that nobody can read: every address is taken for a listed one.
type Unreadable struct{}

// Classify implements [policy.Classifier].
func (Unreadable) Classify(policy.Host, string) policy.Facts {
	return policy.Facts{Mandatory: policy.ChildAbuse}
}

// Veil takes out of events that are to be shown or handed over what may not leave the
// box: an address that is on a mandatory list by now, and was on none when it was
// recorded, or when no list could be read. The event itself stays as it is.
func Veil(lists func() policy.Classifier) func(*policy.Event) {
	return func(e *policy.Event) {
		if e.Host != "" && Listed(lists(), e.Host) != policy.Uncategorised {
			e.Host, e.Path = sealedMark, ""
		}
		for _, text := range []*string{&e.Path, &e.Words, &e.Subject, &e.Note} {
			if *text != "" {
				*text = Text(lists(), *text)
			}
		}
	}
}
