package configs

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Terms is the school's own watched phrases, on top of those in the program.
type Terms struct {
	Folder string            // complete; "" where the school has none
	Packs  map[string]string // the text of each *.yaml, by the name that problems give it
}

// maxPacks bounds the files of the school's own packs.
const maxPacks = 50

// readTerms reads the folder of the school's own packs. What they say, package terms
// reads; here they are part of the policy's fingerprint.
func (r *schoolReader) readTerms(v value) {
	v.fields(map[string]func(value){
		"packs": func(v value) {
			name, ok := read(v, fileName)
			if !ok {
				return
			}
			packs, err := r.folder.packs(name)
			if err != nil {
				v.problem("packs: %q: %v", clip(name), err)
				return
			}
			r.terms = Terms{Folder: r.folder.place(name), Packs: packs}
			for _, file := range keys(packs) {
				fmt.Fprintf(r.digest, "%s %d\n%s", file, len(packs[file]), packs[file])
			}
		},
	})
}

// packs gives the texts of the *.yaml files of a folder.
func (f folder) packs(name string) (map[string]string, error) {
	return ReadPacks(f.place(name), filepath.Base(name))
}

// ReadPacks gives the texts of the *.yaml files of a folder; as is what problems call
// the folder.
func ReadPacks(dir, as string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, plain(err)
	}
	packs := map[string]string{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".yaml") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if len(packs) == maxPacks {
			return nil, fmt.Errorf("more than %d files", maxPacks)
		}
		text, err := readBounded(func() (fs.File, error) { return os.Open(filepath.Join(dir, e.Name())) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		packs[path.Join(as, e.Name())] = string(text)
	}
	return packs, nil
}
