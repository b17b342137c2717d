package supply

import (
	"slices"

	"schoolgate/blocklists"
	"schoolgate/categories"
)

// wordsFor are the words of names that the starter lists bring with them.
func wordsFor(feeds []blocklists.Feed) ([]categories.Word, error) {
	if !slices.ContainsFunc(feeds, blocklists.Feed.BringsWords) {
		return nil, nil
	}
	words, err := blocklists.Words()
	if err != nil {
		return nil, err
	}
	list := make([]categories.Word, len(words))
	for i, w := range words {
		list[i] = categories.Word{Text: w.Text, Category: w.Category, Unless: w.Unless}
	}
	return list, nil
}
