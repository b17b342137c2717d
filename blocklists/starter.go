package blocklists

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"sync"
	"time"

	"schoolgate/policy"
)

// Files under starter/ are compiled by hand for this product, each line with its
// reason. starter/sites.csv is also the correction of the public lists: what it
// says of a site replaces what they say.
//
//go:embed starter
var starterFiles embed.FS

const ownLicence = "made for this project, no third-party licence"

// starterDate is the day of the newest line in starter/: a test holds it to the
// content.
var starterDate = time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)

// starterSum is a SHA-256 of the name and content of every file under starter/.
var starterSum = sync.OnceValue(func() string {
	h := sha256.New()
	files, err := starterFiles.ReadDir("starter")
	for _, file := range files {
		if err == nil {
			_, err = io.WriteString(h, file.Name()+"\x00")
		}
		var text []byte
		if err == nil {
			text, err = starterFiles.ReadFile("starter/" + file.Name())
		}
		h.Write(text)
	}
	if err != nil {
		panic(err) // the files are in the binary, and a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil))
})

// Content identifies what a feed holds that ships in the binary; "" for any other.
// A store tells by it whether it was built of the starter lists of this binary.
func (f Feed) Content() string {
	if f.embedded == nil {
		return ""
	}
	return starterSum()
}

// Starter are the feeds that ship in the binary, for a box that has fetched
// nothing yet and as the correction of what it fetches.
func Starter() []Feed {
	own := Feed{
		Format: CSV, Licence: ownLicence, Date: starterDate, Enabled: true, embedded: starterFiles,
	}
	sites := own
	sites.Name, sites.Path, sites.Kind = starterSites, "starter/sites.csv", Curated
	sites.Columns = Columns{Host: "host", Category: "category"}
	sites.Note = "well-known names of every category, compiled by hand; small"

	gaps := own
	gaps.Name, gaps.Path, gaps.Kind = "starter-gaps", "starter/gap-services.csv", Curated
	gaps.Columns = Columns{Host: "host", Category: "category"}
	gaps.Note = "services of categories that no public list covers"

	iwf := own
	iwf.Name, iwf.Path, iwf.Kind, iwf.Category = "starter-synthetic-iwf", "starter/SYNTHETIC-iwf-style.csv", Mandatory, policy.ChildAbuse
	iwf.Delta = "starter/SYNTHETIC-iwf-style-delta.csv"
	iwf.Columns = Columns{Host: "entry", Action: "action", Where: map[string][]string{"status": {"active"}}}
	iwf.Synthetic = true
	iwf.Note = "synthetic: reserved names only; the real list comes under contract with the Internet Watch Foundation"

	ctiru := own
	ctiru.Name, ctiru.Path, ctiru.Kind, ctiru.Category = "starter-synthetic-ctiru", "starter/SYNTHETIC-ctiru-style.csv", Mandatory, policy.Terrorism
	ctiru.Columns = Columns{Host: "entry", Where: map[string][]string{"status": {"active"}}}
	ctiru.Synthetic = true
	ctiru.Note = "synthetic: reserved names only; the real list comes from the Home Office"

	return []Feed{sites, gaps, iwf, ctiru}
}
