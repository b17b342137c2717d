package configs

import (
	"slices"

	"schoolgate/policy"
)

// usuallyWatched is the themes a band is listened to for where its profile says
// nothing: pupils for all, staff for what is a crime or a matter of Prevent.
func usuallyWatched(band policy.AgeBand) []string {
	switch {
	case band.Pupil():
		return policy.Themes()
	case band == policy.Staff:
		return []string{"grooming", "extremism"}
	}
	return nil
}

// readWatch reads the themes that searches are listened to for: all, none, or some.
func (r *schoolReader) readWatch(p *policy.Profile, v value) {
	if v.isText() {
		if word, _ := read(v, choice("choice", "all", "none")); word == "all" {
			p.Watch = policy.Themes()
		}
		return
	}
	v.each(func(v value) {
		name, ok := v.text()
		if !ok {
			return
		}
		if all := policy.Themes(); !slices.Contains(all, name) {
			v.problem("%v", unknown("theme", clip(name), all))
			return
		}
		p.Watch = append(p.Watch, name)
	})
}
