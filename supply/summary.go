package supply

import (
	"fmt"
	"time"

	"schoolgate/categories"
)

// Summary tells what is loaded and how old it is.
func Summary(info categories.Info, now time.Time) string {
	var newest time.Time
	for _, s := range info.Sources {
		if s.Date.After(newest) {
			newest = s.Date
		}
	}
	kind := fmt.Sprintf("%d lists", len(info.Sources))
	if StarterOnly(info) {
		kind = "starter lists only"
	}
	return fmt.Sprintf("%s, %d names, newest of %s (%s), store %d built %s ago",
		kind, info.Names, newest.Format("2 January 2006"), Age(now.Sub(newest)), info.Version, Age(now.Sub(info.Built)))
}

// Age is a duration as people say it.
func Age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds", max(0, int(d.Seconds())))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
