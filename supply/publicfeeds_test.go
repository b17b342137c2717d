package supply

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"schoolgate/blocklists"
	"schoolgate/internal/testkit"
)

// Each public feed names its address, its licence and what it gets wrong.
func TestThePublicFeedsAreDeclaredInFull(t *testing.T) {
	feeds := publicFeeds(t)
	fetched := 0
	for _, f := range feeds {
		if f.Remote.URL == "" {
			if !strings.HasPrefix(f.Name, "starter-") {
				t.Errorf("%s is neither fetched nor a starter list", f.Name)
			}
			continue
		}
		fetched++
		if f.Note == "" || f.Licence == "" || !strings.HasPrefix(f.Remote.URL, "https://") {
			t.Errorf("%s: address %q, licence %q, note %q", f.Name, f.Remote.URL, f.Licence, f.Note)
		}
		if f.Kind == blocklists.Mandatory {
			t.Errorf("%s: no public list is mandatory", f.Name)
		}
	}
	if fetched < 40 {
		t.Errorf("only %d feeds are fetched", fetched)
	}
}

func publicFeeds(t *testing.T) []blocklists.Feed {
	t.Helper()
	feeds, problems := blocklists.LoadFeeds(filepath.Join("..", "configs", "feeds.yaml"))
	if err := blocklists.Joined(problems); err != nil {
		t.Fatal(err)
	}
	return feeds.Enabled()
}

// What the shared lists hold of each publisher is read in full as that feed, so
// the declared format and categories are the publisher's.
func TestThePublicFeedsAreReadAsDeclared(t *testing.T) {
	lists := testkit.Lists(t)
	files := publishers(t, lists)
	cache, err := blocklists.OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, f := range publicFeeds(t) {
		file, ok := files[f.Remote.URL]
		if !ok {
			continue
		}
		read++
		if info, err := os.Stat(file); err == nil && info.Size() > 300<<10 && underRace {
			continue // read without the race detector
		}
		got := cache.Import(t.Context(), &f, file, blocklists.UpdateOptions{})
		if got.Err != nil {
			t.Errorf("%s: %v", f.Name, got.Err)
		}
	}
	if read < 40 {
		t.Errorf("only %d feeds have their list in %s", read, lists)
	}
}

// publishers finds the file in the shared lists for each address.
func publishers(t *testing.T, lists string) map[string]string {
	t.Helper()
	table, err := os.Open(filepath.Join(lists, "SOURCES.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	rows, err := csv.NewReader(table).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"https://dsi.ut-capitole.fr/blacklists/download/blacklists.tar.gz":    filepath.Join(lists, "ut1", "blacklists.tar.gz"),
		"https://codeload.github.com/v2fly/domain-list-community/tar.gz/HEAD": filepath.Join(lists, "v2fly", "data.tar.gz"),
	}
	for _, r := range rows {
		repo, path := r[6], r[7]
		files["https://raw.githubusercontent.com/"+repo+"/HEAD/"+path] = filepath.Join(lists, r[0])
	}
	return files
}
