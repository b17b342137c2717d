// Package terms hears what a search is about: it takes the words out of the
// address of a search, or out of what is posted to a search engine, folds the ways
// in which they can be written into one, and looks for watched phrases, each of
// which has a theme and a severity.
//
//  1. [Query] reads the words from an address of a known search engine, and for
//     those that [Posts] names from the body; any other address gives none, so
//     nothing but a search is ever looked at (privacy 4)
//  2. [Set.Fold] takes disguise and misspelling off: accents, look-alike letters,
//     leet, spaced-out and repeated letters, what children write
//  3. one pass of an automaton over the folded words finds every watched phrase,
//     every context and every exception of all packs at once
//  4. context and exceptions are weighed, and the gravest phrase speaks
//
// The phrases are YAML files in packs, a file a theme and language. A theme may be
// shielded (help_seeking, F10): a caller writes no person's name beside it.
//
// The package holds no clock, log, network or person, stores nothing, and decides
// about no page: whether the page was blocked is none of its business (M11). The web
// door hears the searches that it can see: those of inspected and of plain requests.
package terms
