package supply

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"schoolgate/blocklists"
)

// ImportRequest says what to take from a folder or a USB stick.
type ImportRequest struct {
	Path   string // a list, or a folder of lists
	Feed   string // the feed that a single list is for; "" goes by its name
	Accept bool   // take changes beyond a feed's limit
	Meter  Meter  // may be nil
}

// Import takes lists from the disk as Fetch takes them from the net. A list is
// for the feed that it is named after, with any ending, or whose address or path
// ends in its name.
func (s *Supply) Import(ctx context.Context, r ImportRequest) (out []blocklists.Outcome, done Settled, err error) {
	jobs, err := s.importJobs(r)
	if err != nil {
		return nil, done, err
	}
	err = s.locked(ctx, func() error {
		for _, j := range jobs {
			got := s.cache.Import(ctx, &j.feed, j.file, blocklists.UpdateOptions{Accept: r.Accept})
			s.tell(got)
			if r.Meter != nil {
				r.Meter.End(got)
			}
			out = append(out, got)
		}
		done, err = s.settle(ctx, nil)
		return errors.Join(err, s.sweep())
	})
	return out, done, err
}

type importJob struct {
	feed blocklists.Feed
	file string
}

func (s *Supply) importJobs(r ImportRequest) (jobs []importJob, err error) {
	info, err := os.Stat(r.Path)
	if err != nil {
		return nil, err
	}
	files := []string{r.Path}
	if info.IsDir() {
		if files, err = filesIn(r.Path); err != nil {
			return nil, err
		}
	}
	for _, f := range s.fetched() {
		if r.Feed != "" && f.Name != r.Feed {
			continue
		}
		i := slices.IndexFunc(files, func(file string) bool { return isNamed(&f, filepath.Base(file)) })
		if i < 0 {
			i = slices.IndexFunc(files, func(file string) bool { return isAddressed(&f, filepath.Base(file)) })
		}
		if r.Feed != "" && !info.IsDir() {
			i = 0 // said outright
		}
		if i >= 0 {
			jobs = append(jobs, importJob{f, files[i]})
		}
	}
	if len(jobs) == 0 {
		return nil, fmt.Errorf("%s holds no list that is named after a feed with a url (or after its address); for a single list say --feed NAME", r.Path)
	}
	return jobs, nil
}

// maxImported bounds the files of a folder that are looked at.
const maxImported = 10_000

func filesIn(dir string) (files []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > maxImported {
		return nil, fmt.Errorf("%s holds more than %d files", dir, maxImported)
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// isNamed reports whether a file has the name of a feed, with any ending that is
// not one of what proves a list.
func isNamed(f *blocklists.Feed, name string) bool {
	ending, ok := strings.CutPrefix(name, f.Name)
	return ok && (ending == "" || ending[0] == '.') && !strings.HasSuffix(ending, ".minisig") && !strings.HasSuffix(ending, ".sha256")
}

// isAddressed reports whether a file has the name that ends a feed's address or path.
func isAddressed(f *blocklists.Feed, name string) bool {
	if u, err := url.Parse(f.Remote.URL); err == nil && path.Base(u.Path) == name {
		return true
	}
	return f.Path != "" && filepath.Base(f.Path) == name
}
