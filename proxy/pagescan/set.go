package pagescan

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"schoolgate/internal/phrases"
	"schoolgate/policy"
)

//go:embed packs/*.yaml
var shipped embed.FS

// Set is phrases compiled; immutable.
type Set struct {
	phrases        []phrase
	themes         []policy.Category
	words, marks   *phrases.Automaton
	ofWord, ofMark [][]int32 // by pattern: the phrases it stands for
}

// phrase is one phrase of a theme. A negative weight excuses.
type phrase struct {
	id     int32
	text   string
	theme  policy.Category
	weight int
}

// pack is one file: phrases by weight, for one theme or, to excuse, for several.
type pack struct {
	Themes  []string         `yaml:"themes"`
	Phrases map[int][]string `yaml:"phrases"` // words that people read
	Marks   map[int][]string `yaml:"marks"`   // text of the page itself, scripts and all
	Excuses map[int][]string `yaml:"excuses"` // words that speak for a page
}

// Shipped is the set in the program. It is compiled once: a set never changes.
func Shipped() (*Set, error) { return compileShipped() }

var compileShipped = sync.OnceValues(func() (*Set, error) {
	packs, err := fs.Sub(shipped, "packs")
	if err != nil {
		return nil, err
	}
	return Load(packs)
})

// Load reads every *.yaml of a folder. With any mistake there is no set.
func Load(packs fs.FS) (*Set, error) {
	names, err := fs.Glob(packs, "*.yaml")
	if err != nil {
		return nil, err
	}
	c := compiler{set: &Set{}, words: map[string]int{}, marks: map[string]int{}}
	for _, name := range names {
		text, err := fs.ReadFile(packs, name)
		if err == nil {
			err = c.read(text)
		}
		if err != nil {
			return nil, fmt.Errorf("phrases: %s: %w", name, err)
		}
	}
	return c.finish()
}

type compiler struct {
	set          *Set
	words, marks map[string]int // pattern, by text
	wordList     []string
	markList     []string
}

func (c *compiler) read(text []byte) error {
	var p pack
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	d.KnownFields(true)
	if err := d.Decode(&p); err != nil {
		return err
	}
	for _, id := range p.Themes {
		theme, ok := policy.ParseCategory(id)
		if !ok {
			return fmt.Errorf("unknown theme %q: want the ID of a category", id)
		}
		for _, part := range []struct {
			weights map[int][]string
			sign    int
			mark    bool
		}{{p.Phrases, 1, false}, {p.Marks, 1, true}, {p.Excuses, -1, false}} {
			if err := c.add(theme, part.weights, part.sign, part.mark); err != nil {
				return err
			}
		}
		if !slices.Contains(c.set.themes, theme) {
			c.set.themes = append(c.set.themes, theme)
		}
	}
	return nil
}

func (c *compiler) add(theme policy.Category, weights map[int][]string, sign int, mark bool) error {
	for weight, list := range weights {
		if weight < 1 || weight > maxWeight {
			return fmt.Errorf("weight %d: want 1 to %d", weight, maxWeight)
		}
		for _, text := range list {
			pattern := normal(text)
			if mark {
				pattern = strings.ToLower(text)
			}
			if len(strings.TrimSpace(pattern)) < 2 {
				return fmt.Errorf("phrase %q: too short to tell anything", text)
			}
			id := int32(len(c.set.phrases))
			c.set.phrases = append(c.set.phrases, phrase{id, strings.TrimSpace(pattern), theme, sign * weight})
			c.enter(pattern, id, mark)
		}
	}
	return nil
}

const maxWeight = 200

func (c *compiler) enter(pattern string, id int32, mark bool) {
	known, list, of := c.words, &c.wordList, &c.set.ofWord
	if mark {
		known, list, of = c.marks, &c.markList, &c.set.ofMark
	}
	n, ok := known[pattern]
	if !ok {
		n = len(*list)
		known[pattern] = n
		*list, *of = append(*list, pattern), append(*of, nil)
	}
	(*of)[n] = append((*of)[n], id)
}

func (c *compiler) finish() (*Set, error) {
	var okWords, okMarks bool
	c.set.words, okWords = phrases.New(c.wordList)
	c.set.marks, okMarks = phrases.New(c.markList)
	if !okWords || !okMarks {
		return nil, fmt.Errorf("phrases: %d are too many", len(c.set.phrases))
	}
	return c.set, nil
}

func (s *Set) byPattern(a *phrases.Automaton, pattern int32) []int32 {
	if a == s.marks {
		return s.ofMark[pattern]
	}
	return s.ofWord[pattern]
}

// normal is a phrase as the words of a page are written, whole words only.
func normal(text string) string {
	w := words{spaced: true}
	said := string(w.feed([]byte(text)))
	return " " + strings.TrimSpace(said) + " "
}
