package blocklists

import (
	"encoding/csv"
	"fmt"
	"io/fs"
	"strings"

	"schoolgate/policy"
)

// Word is a piece of a host's name that says what the site is, such as
// "unblocked-games". It is evidence only for names that no list speaks for.
type Word struct {
	Text     string // a dot at either end is the end of a label
	Category policy.Category
	Unless   []string // pieces of a name that give it another meaning
}

// starterSites is the starter feed that brings the words with it.
const starterSites = "starter-sites"

const wordsFile = "starter/words.csv"

// BringsWords reports whether [Words] belong to a store with this feed.
func (f Feed) BringsWords() bool { return f.embedded != nil && f.Name == starterSites }

// Words are the words of names that ship in the binary, each with its reason.
func Words() ([]Word, error) {
	f, err := starterFiles.Open(wordsFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readWords(f)
}

func readWords(f fs.File) ([]Word, error) {
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", wordsFile, err)
	}
	words := make([]Word, 0, len(rows))
	for i, row := range rows[1:] {
		c, ok := policy.ParseCategory(row[1])
		if !ok {
			return nil, fmt.Errorf("%s:%d: unknown category %q", wordsFile, i+2, row[1])
		}
		words = append(words, Word{Text: row[0], Category: c, Unless: strings.Fields(row[2])})
	}
	return words, nil
}
