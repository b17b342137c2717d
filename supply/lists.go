package supply

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"schoolgate/blocklists"
	"schoolgate/categories"
)

// ListsBuild says what store to build of which feeds.
type ListsBuild struct {
	Feeds    []blocklists.Feed
	Out      string // the store file; put in place by rename, and only if all went well
	Key      []byte // of mandatory lists
	Parsed   string // folder that keeps what public feeds gave, for the next build; "" reads every feed anew
	Version  uint64
	Workers  int       // that read feeds; 0 is as many as there are processors
	Progress io.Writer // a line for each feed as it is done; nil for none
	Refused  io.Writer // every refused line with file:line and reason, then the entries not believed; nil for none
	Log      *slog.Logger
}

// FeedReport is what became of one feed.
type FeedReport struct {
	Feed    blocklists.Feed
	Read    blocklists.Stats
	Store   categories.SourceInfo
	Refused map[string]int64     // by reason, lines and entries alike
	First   []blocklists.Refusal // the first few of each reason
	Kept    bool                 // it is unchanged, and was not parsed again
	Elapsed time.Duration
	Err     error
}

// ListsReport is what became of a build.
type ListsReport struct {
	Feeds   []FeedReport
	Store   categories.Report
	Elapsed time.Duration
}

// feedTimeout bounds the reading of one feed. A feed of five million entries
// takes two seconds.
const feedTimeout = 10 * time.Minute

// BuildLists reads the feeds and puts a store of their entries in place. If any
// feed is refused nothing is put in place, so that a list that broke on its way
// never leaves a hole where the last store had none; the error names every feed
// that was refused. The report is filled as far as the build went.
func BuildLists(ctx context.Context, o ListsBuild) (ListsReport, error) {
	began := time.Now()
	var report ListsReport
	if len(o.Feeds) == 0 {
		return report, errors.New("no feed is enabled: there is nothing to build a store of")
	}
	words, err := wordsFor(o.Feeds)
	if err != nil {
		return report, err
	}
	b, err := categories.Create(o.Out, categories.BuildOptions{Version: o.Version, Key: o.Key, Words: words, Log: o.Log})
	if err != nil {
		return report, err
	}
	defer b.Abort()
	build := &listsBuild{store: b, workers: o.Workers, refused: newRefusedLog(o.Refused), progress: o.Progress}
	if o.Parsed != "" {
		build.parsed = blocklists.OpenParsed(o.Parsed, o.Key, o.Log)
	}
	report.Feeds = build.read(ctx, o.Feeds)
	var errs []error
	for _, f := range report.Feeds {
		errs = append(errs, f.Err)
	}
	err = errors.Join(append(errs, build.progressErr)...)
	if err == nil {
		build.parsed.Sweep(o.Feeds)
		err = build.writing()
	}
	if err == nil {
		report.Store, err = b.Finish(ctx)
	}
	for i, s := range report.Store.Sources {
		report.Feeds[i].Store = s
	}
	for _, s := range report.Store.Suspects {
		build.refused.suspect(s)
	}
	report.Elapsed = time.Since(began)
	return report, errors.Join(err, build.refused.close())
}

// listsBuild is one build: its workers share the store, the log and the screen.
type listsBuild struct {
	store   *categories.Builder
	parsed  *blocklists.Parsed
	workers int
	refused *refusedLog

	mu          sync.Mutex
	progress    io.Writer
	progressErr error
	done        int
}

// read reads all feeds, as many at once as there are processors, and goes on
// past one that is refused, so that every problem is told at once.
func (b *listsBuild) read(ctx context.Context, feeds []blocklists.Feed) []FeedReport {
	reports := make([]FeedReport, len(feeds))
	next := make(chan int, len(feeds))
	sources := make([]categories.SourceID, len(feeds))
	for i, f := range feeds { // in order, so that a build can be repeated
		sources[i] = b.store.Source(sourceOf(f))
		next <- i
	}
	close(next)
	var workers sync.WaitGroup
	if b.workers == 0 {
		b.workers = runtime.NumCPU()
	}
	for range min(b.workers, len(feeds)) {
		workers.Go(func() {
			for i := range next {
				reports[i] = b.one(ctx, feeds[i], sources[i])
				b.say(&reports[i], len(feeds))
			}
		})
	}
	workers.Wait()
	return reports
}

func sourceOf(f blocklists.Feed) categories.Source {
	return categories.Source{
		Name: f.Name, Licence: f.Licence, Weight: f.Weight, Family: f.Family, Date: f.Date,
		Curated: f.Kind == blocklists.Curated, Clean: f.Kind == blocklists.Clean,
		Mandatory: f.Kind == blocklists.Mandatory, Synthetic: f.Synthetic, Content: f.Content(),
	}
}

// one reads one feed into the store.
func (b *listsBuild) one(ctx context.Context, f blocklists.Feed, id categories.SourceID) FeedReport {
	r := FeedReport{Feed: f, Refused: map[string]int64{}}
	ctx, cancel := context.WithTimeout(ctx, feedTimeout)
	defer cancel()
	began := time.Now()
	refuse := func(x blocklists.Refusal) {
		reason := string(x.Reason)
		if r.Refused[reason]++; r.Refused[reason] <= firstRefusals {
			r.First = append(r.First, x)
		}
		b.refused.add(f.Name, x)
	}
	r.Read, r.Kept, r.Err = b.parsed.Read(ctx, f, func(e blocklists.Entry) error {
		err := b.store.Add(id, categories.Entry{Host: e.Host, Path: e.Path, Exact: e.Exact, Category: e.Category})
		var no categories.Refused
		if errors.As(err, &no) {
			refuse(refusedEntry(f, e, no.Reason))
			return nil
		}
		return err
	}, refuse)
	r.Elapsed = time.Since(began)
	return r
}

// refusedEntry is an entry that the store did not take, as a refused line.
func refusedEntry(f blocklists.Feed, e blocklists.Entry, reason string) blocklists.Refusal {
	x := blocklists.Refusal{File: e.File, Line: e.Line, Reason: blocklists.Reason(reason)}
	if f.Kind != blocklists.Mandatory {
		x.Text = e.Host.String() + e.Path
	}
	return x
}

func (b *listsBuild) say(r *FeedReport, of int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done++
	if b.progress == nil || b.progressErr != nil {
		return
	}
	outcome := fmt.Sprintf("%d entries", r.Read.Entries)
	switch {
	case r.Err != nil:
		outcome = "REFUSED"
	case r.Kept:
		outcome += ", unchanged"
	}
	_, b.progressErr = fmt.Fprintf(b.progress, "[%d/%d] %s: %s (%s)\n", b.done, of, r.Feed.Name, outcome, r.Elapsed.Round(time.Millisecond))
}

// writing says that no feed is left to wait for; the rest takes as long again.
func (b *listsBuild) writing() error {
	if b.progress == nil {
		return nil
	}
	_, err := fmt.Fprintln(b.progress, "every list is read; weighing what they say and writing the store")
	return err
}

// firstRefusals is how many refused lines of one reason and feed a person is
// shown at once; all of them are in the file.
const firstRefusals = 3

// maxRefusedLines bounds the file of refused lines; what is over it is counted.
const maxRefusedLines = 2_000_000

// refusedLog writes refused lines of all feeds, one a line. Writers may share it.
type refusedLog struct {
	mu    sync.Mutex
	w     *bufio.Writer
	lines int
	err   error
}

func newRefusedLog(w io.Writer) *refusedLog {
	if w == nil {
		return &refusedLog{}
	}
	return &refusedLog{w: bufio.NewWriter(w)}
}

func (l *refusedLog) add(feed string, x blocklists.Refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w == nil || l.err != nil {
		return
	}
	if l.lines++; l.lines <= maxRefusedLines {
		_, l.err = fmt.Fprintf(l.w, "%s: %s\n", feed, x)
	}
}

// suspect writes an entry of public lists that the store does not believe.
func (l *refusedLog) suspect(s categories.Suspect) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w != nil && l.err == nil {
		_, l.err = fmt.Fprintf(l.w, "not believed: %s%s: %s by %s, and the name has a clean record\n",
			s.Host, s.Path, s.Category, strings.Join(s.Sources, ", "))
	}
}

func (l *refusedLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w == nil || l.err != nil {
		return l.err
	}
	if over := l.lines - maxRefusedLines; over > 0 {
		fmt.Fprintf(l.w, "and %d more\n", over) // an error stays with the writer until Flush
	}
	return l.w.Flush()
}
