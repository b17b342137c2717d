package alerts

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// Tally counts a month's alerts of one theme on pupils. It names nobody, and is
// kept when the alerts are forgotten (M9).
type Tally struct {
	Month  string `json:"month"` // 2026-11
	Theme  string `json:"theme"`
	Opened int    `json:"opened"`
	// Minutes are how long alerts waited to be acknowledged: whole minutes up to
	// four hours, whole hours beyond, up to thirty days.
	Minutes  map[int]int     `json:"minutes,omitempty"`
	Outcomes map[Outcome]int `json:"outcomes,omitempty"`
}

const (
	maxTallies     = 2000 // months and themes; the oldest go
	longestMinutes = 30 * 24 * 60
)

func (y *Tally) acknowledged(after time.Duration) {
	minutes := min(int(after/time.Minute), longestMinutes)
	if minutes > 240 {
		minutes -= minutes % 60
	}
	if y.Minutes == nil {
		y.Minutes = map[int]int{}
	}
	y.Minutes[minutes]++
}

func (y *Tally) closed(o Outcome) {
	if y.Outcomes == nil {
		y.Outcomes = map[Outcome]int{}
	}
	y.Outcomes[o]++
}

// tally counts something of an alert. Those on staff are in no figures: where they
// are few, a number is a name.
func (t *tx) tally(a *Alert, add func(*Tally)) error {
	if a.Adult || len(a.About) > 0 {
		return nil
	}
	y := Tally{Month: a.First.In(t.cfg.Location).Format("2006-01"), Theme: a.Theme}
	key := []byte(y.Month + "\x00" + y.Theme)
	b := t.Bucket(bucketTallies)
	ok, err := t.get(bucketTallies, key, &y)
	if err != nil {
		return err
	}
	if !ok && count(b) >= maxTallies {
		if first, _ := b.Cursor().First(); first != nil {
			if err := b.Delete(slices.Clone(first)); err != nil {
				return err
			}
		}
	}
	add(&y)
	return t.put(bucketTallies, key, &y)
}

func (t *tx) tallies() (list []Tally, err error) {
	err = t.Bucket(bucketTallies).ForEach(func(k, v []byte) error {
		var y Tally
		if err := decode(v, &y); err != nil {
			return fmt.Errorf("tally %q: %w", k, err)
		}
		list = append(list, y)
		return nil
	})
	return list, err
}

// Impact is what came of a theme's alerts over some months, for governors. A
// number of fewer than five is not told: it could point to a child.
type Impact struct {
	Theme      string
	Opened     int
	Answered   int
	Closed     int
	Outcomes   map[Outcome]int
	FalseRate  float64       // share of the closed, tests left out, that were false alarms; -1 for too few
	Median     time.Duration // to acknowledge; -1 for too few
	minuteList []int
}

// Few is the number below which the report tells none.
const Few = 5

// Impacts sums tallies of the months from and to, both included and written
// 2026-11; "" does not bound. The last row is the sum of all.
func Impacts(list []Tally, from, to string) []Impact {
	sums := map[string]*Impact{}
	all := &Impact{Theme: "all", Outcomes: map[Outcome]int{}}
	for _, y := range list {
		if from != "" && y.Month < from || to != "" && y.Month > to {
			continue
		}
		i := sums[y.Theme]
		if i == nil {
			i = &Impact{Theme: y.Theme, Outcomes: map[Outcome]int{}}
			sums[y.Theme] = i
		}
		i.add(&y)
		all.add(&y)
	}
	out := make([]Impact, 0, len(sums)+1)
	for _, i := range sums {
		out = append(out, i.finish())
	}
	slices.SortFunc(out, func(a, b Impact) int { return strings.Compare(a.Theme, b.Theme) })
	return append(out, all.finish())
}

func (i *Impact) add(y *Tally) {
	i.Opened += y.Opened
	for o, n := range y.Outcomes {
		i.Outcomes[o] += n
		i.Closed += n
	}
	for minutes, n := range y.Minutes {
		i.Answered += n
		i.minuteList = append(i.minuteList, slices.Repeat([]int{minutes}, n)...)
	}
}

func (i *Impact) finish() Impact {
	i.FalseRate, i.Median = -1, -1
	judged, wrong := i.Closed-i.Outcomes[OutcomeTest], 0
	for o, n := range i.Outcomes {
		if o.FalseAlarm() {
			wrong += n
		}
	}
	if judged >= Few {
		i.FalseRate = float64(wrong) / float64(judged)
	}
	if n := len(i.minuteList); n >= Few {
		sort.Ints(i.minuteList)
		i.Median = time.Duration(i.minuteList[n/2]) * time.Minute
	}
	i.minuteList = nil
	return *i
}
