package audit

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"schoolgate/policy"
)

// Format is what Export writes.
type Format string

// The formats.
const (
	CSV  Format = "csv"  // RFC 4180, with a header row, safe to open in a spreadsheet
	JSON Format = "json" // one object a line
	IDs  Format = "ids"  // one event id a line
)

// Export writes the events a query asks for and gives their number. Stretches
// that cannot be read are left out; they are the error, after everything else
// has been written.
func (d Dir) Export(ctx context.Context, w io.Writer, format Format, q Query) (n int, err error) {
	out := bufio.NewWriter(w)
	write, finish, err := newExporter(out, format)
	if err != nil {
		return 0, err
	}
	var unread []error
	for e, err := range d.Search(ctx, q) {
		var gap *GapError
		switch {
		case errors.As(err, &gap) && len(unread) < maxGaps:
			unread = append(unread, err)
			continue
		case errors.As(err, &gap):
			continue
		case err == nil:
			err = write(&e)
			n++
		}
		if err != nil {
			return n, errors.Join(err, out.Flush())
		}
	}
	return n, errors.Join(errors.Join(unread...), finish(), out.Flush())
}

const maxGaps = 100 // that an export tells of

func newExporter(w *bufio.Writer, format Format) (write func(*policy.Event) error, finish func() error, err error) {
	none := func() error { return nil }
	switch format {
	case CSV:
		c := csv.NewWriter(w)
		c.UseCRLF = true
		row := make([]string, len(csvColumns))
		write = func(e *policy.Event) error { return c.Write(csvRow(row, e)) }
		return write, func() error { c.Flush(); return c.Error() }, c.Write(csvColumns[:])
	case JSON:
		var line []byte
		return func(e *policy.Event) error {
			if line, err = appendJSON(line[:0], e); err == nil {
				_, err = w.Write(line)
			}
			return err
		}, none, nil
	case IDs:
		return func(e *policy.Event) error {
			_, err := fmt.Fprintln(w, e.ID)
			return err
		}, none, nil
	}
	return nil, nil, fmt.Errorf("bad export format %q: want csv, json or ids", format)
}

var csvColumns = [...]string{
	"id", "time", "door", "client", "device", "group", "profile", "pupil", "host", "path", "method", "verdict",
	"reason", "category", "rule", "severity", "finding", "status", "policy", "store",
	"person", "port", "use", "words", "theme", "term", "type", "size", "act", "subject", "note",
}

func csvRow(row []string, e *policy.Event) []string {
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	return append(row[:0],
		e.ID.String(), e.Time.UTC().Format(time.RFC3339Nano), e.Door.String(), cell(e.Client), cell(e.Device),
		cell(e.Group), cell(e.Profile), strconv.FormatBool(e.Pupil), cell(e.Host), cell(e.Path), cell(e.Method),
		e.Verdict.String(), e.Reason.String(), e.Category.String(), cell(e.Rule), number(int(e.Severity)),
		cell(e.Finding), number(e.Status), cell(e.PolicyVersion), strconv.FormatUint(e.StoreVersion, 10),
		cell(e.Person), number(int(e.Port)), e.Use.String(), cell(e.Words), cell(e.Theme), cell(e.Term), cell(e.Type),
		number(int(e.Size)), cell(e.Act), cell(e.Subject), cell(e.Note))
}

// appendJSON writes the event as one line. What JSON lets stand in a string but
// a terminal or an old reader would act on is escaped as well.
func appendJSON(b []byte, e *policy.Event) ([]byte, error) {
	line, err := json.Marshal(e)
	if err != nil {
		return b, fmt.Errorf("event %s: %w", e.ID, err)
	}
	for i := 0; i < len(line); {
		r, n := utf8.DecodeRune(line[i:])
		if r > '~' && invisible(r) {
			b = appendEscape(b, r)
		} else {
			b = append(b, line[i:i+n]...)
		}
		i += n
	}
	return append(b, '\n'), nil
}

func appendEscape(b []byte, r rune) []byte {
	if r > 0xffff {
		r -= 0x10000
		b = fmt.Appendf(b, `\u%04x`, 0xd800+r>>10)
		r = 0xdc00 + r&0x3ff
	}
	return fmt.Appendf(b, `\u%04x`, r)
}
