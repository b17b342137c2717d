package alerts

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Message is one mail as it is handed to the server.
type Message struct {
	ID      string // Message-ID without brackets and domain; the same in every repeat
	Thread  string // ID of the first mail on the same alert, "" for that mail itself
	To      string
	Subject string
	Text    string // plain text, lines ended by \n
	Date    time.Time
	Urgent  bool
	Call    *Call // for a webhook; nil for a test
}

// message writes a mail out. It is made from the mail's own fields alone, none of
// which came from a host, client or category (privacy 7).
func (s *Service) message(m *Mail) Message {
	w := writer{m: m, console: strings.TrimRight(s.cfg.Console, "/"), zone: s.cfg.Location, quiet: s.cfg.Quiet}
	out := Message{
		ID: messageID(m, m.Seq), To: m.To, Subject: w.subject(), Text: w.text(),
		Date: m.Queued.In(s.cfg.Location), Urgent: m.Severity >= 4 && m.Kind != kindReminder, Call: w.call(),
	}
	if (m.Kind == kindMore || m.Kind == kindGraver || m.Kind == kindOverdue && !w.many()) && m.Seq > 1 {
		out.Thread = messageID(m, 1)
	}
	return out
}

// messageID names the mail by alert and sequence. The alert's own time keeps it
// apart from one of the same number after a journal was begun anew; the server
// and the mail program would take the second for a repeat and hide it.
func messageID(m *Mail, seq int) string {
	if m.Notice != nil {
		return fmt.Sprintf("notice.%d.%x", m.ID, uint64(m.Born))
	}
	// Not the reference as people read it: that may change, and a repeat must not.
	return fmt.Sprintf("al-%s.%d.%x", strconv.FormatUint(uint64(m.Alerts[0]), 36), seq, uint64(m.Born))
}

var severityWords = [...]string{
	1: "for information",
	2: "please look at it this week",
	3: "please look at it today",
	4: "please look at it within the hour",
	5: "please act at once",
}

func inWords(severity uint8) string {
	return severityWords[min(max(severity, 1), 5)]
}

// writer words one mail for a safeguarding lead: what happened as far as a mail
// may say, then what to do, in the order to do it.
type writer struct {
	m       *Mail
	console string
	zone    *time.Location
	quiet   time.Duration
}

func (w *writer) subject() string {
	if w.m.Notice != nil {
		return w.noticeSubject()
	}
	ref := reference(w.m.Alerts[0])
	if w.many() {
		return w.manySubject()
	}
	switch w.m.Kind {
	case kindGraver:
		return fmt.Sprintf("Schoolgate alert %s: now severity %d, please review", ref, w.m.Severity)
	case kindMore:
		return fmt.Sprintf("Schoolgate alert %s: happened %s more", ref, times(w.m.More))
	case kindOverdue:
		return fmt.Sprintf("Schoolgate alert %s: severity %d, not acknowledged yet", ref, w.m.Severity)
	case kindReminder:
		return fmt.Sprintf("Schoolgate alert %s: still not acknowledged", ref)
	case kindDigest:
		return fmt.Sprintf("Schoolgate alert %s: severity %d, can wait", ref, w.m.Severity)
	}
	return fmt.Sprintf("Schoolgate alert %s: severity %d, please review", ref, w.m.Severity)
}

// many reports whether the mail is of several alerts.
func (w *writer) many() bool { return len(w.m.Alerts) > 1 }

func (w *writer) manySubject() string {
	n := len(w.m.Alerts)
	switch w.m.Kind {
	case kindOverdue:
		return fmt.Sprintf("Schoolgate: %d alerts not acknowledged yet, highest severity %d", n, w.m.Severity)
	case kindReminder:
		return fmt.Sprintf("Schoolgate: %d alerts still not acknowledged, highest severity %d", n, w.m.Severity)
	case kindDigest:
		return fmt.Sprintf("Schoolgate: %d alerts that can wait", n)
	}
	return fmt.Sprintf("Schoolgate: %d more alerts, highest severity %d, please review", n, w.m.Severity)
}

func (w *writer) text() string {
	if w.m.Notice != nil {
		return w.noticeText()
	}
	var b strings.Builder
	b.WriteString(w.opening() + "\n\n")
	if !w.many() {
		w.row(&b, "Reference", reference(w.m.Alerts[0]))
	}
	upTo := ""
	if w.many() {
		upTo = "up to "
	}
	w.row(&b, "Severity", fmt.Sprintf("%s%d of 5, %s", upTo, w.m.Severity, inWords(w.m.Severity)))
	if w.m.Count > 1 && !sameMinute(w.m.First, w.m.Last) {
		w.row(&b, "First", w.when(w.m.First))
		w.row(&b, "Last", w.when(w.m.Last))
	} else {
		w.row(&b, "When", w.when(w.m.First))
	}
	w.row(&b, "How often", times(w.m.Count)+w.soFar())
	if !w.m.By.IsZero() {
		w.row(&b, "Answer by", w.when(w.m.By))
	}
	b.WriteString("\n")
	if w.many() {
		b.WriteString(wrap("References: "+w.references()+".") + "\n")
	}
	b.WriteString("What to do now\n\n" + w.steps() + "\n" + w.closing())
	return b.String()
}

func (w *writer) row(b *strings.Builder, name, value string) {
	fmt.Fprintf(b, "  %-10s  %s\n", name, value)
}

func (w *writer) opening() string {
	switch w.m.Kind {
	case kindGraver:
		return "An alert you know of has become more serious."
	case kindMore:
		return "What raised this alert went on after our last e-mail. It is the same\nalert: if you have dealt with it, there may be nothing more to do."
	case kindOverdue:
		return w.plural("Nobody has acknowledged this alert in time, so you hear of it now.\nPlease take it on, or make sure that somebody does.",
			"Nobody has acknowledged these alerts in time, so you hear of them now.\nPlease take them on, or make sure that somebody does.")
	case kindReminder:
		return w.plural("Nobody has acknowledged this alert. You are reminded each day until\nsomebody does.",
			"Nobody has acknowledged these alerts. You are reminded each day until\nsomebody does.")
	case kindDigest:
		return w.plural("This alert can wait, so it was kept for this e-mail.", "These alerts can wait, so they were kept for one e-mail.")
	}
	if w.many() {
		return "These alerts came close together, or could not be sent earlier, so they\nare in one e-mail. Each of them needs a person to look at it."
	}
	return "Schoolgate has raised an alert that needs a person to look at it."
}

func (w *writer) plural(one, several string) string {
	if w.many() {
		return several
	}
	return one
}

func (w *writer) soFar() string {
	if w.many() {
		return " in all"
	}
	return " so far"
}

func (w *writer) references() string {
	const most = 20
	var refs []string
	for _, id := range w.m.Alerts[:min(most, len(w.m.Alerts))] {
		refs = append(refs, reference(id))
	}
	list := strings.Join(refs, ", ")
	if more := len(w.m.Alerts) - most; more > 0 {
		list += " and " + strconv.Itoa(more) + " more"
	}
	return list
}

// steps are what a calm person does first, second and third. F7: nobody opens,
// copies or photographs the page, whatever the severity.
func (w *writer) steps() string {
	var list []string
	if w.m.Severity >= 5 {
		list = append(list, "If a child may be in danger now, do not wait for Schoolgate: follow your child protection procedures, or call 999.")
	}
	list = append(list, w.look())
	if !w.m.By.IsZero() || w.m.Kind == kindReminder {
		list = append(list, w.answer())
	}
	if w.m.Severity >= 5 {
		list = append(list,
			"Do not try to open the page, search for it, copy it or take a screenshot of it, and ask nobody else to. The record is all the evidence that is needed.",
			"Keep the device as it is until you have read the record.")
	} else {
		list = append(list, "Please do not open the page to see what it is. The record says what was asked for, when, and whether it was blocked.")
	}
	var b strings.Builder
	for i, step := range list {
		b.WriteString(indent(strconv.Itoa(i+1)+". ", step))
	}
	if w.console != "" {
		head := "The record:"
		if w.many() {
			head = "The records:"
		}
		return b.String() + "\n" + head + "\n" + w.link() + "\n"
	}
	return b.String()
}

func (w *writer) look() string {
	what := "Read the record of alert " + reference(w.m.Alerts[0])
	if w.many() {
		what = "Read the records of these alerts; the most serious are named first"
	}
	if w.console != "" {
		return what + " (link below)."
	}
	command := "schoolgate alerts show " + reference(w.m.Alerts[0])
	if w.many() {
		command = "schoolgate alerts list"
	}
	return what + ". On the Schoolgate box: " + command + w.as() + ". IT support can bring you to the box, but may not read it with you."
}

// answer asks somebody to take the alert on, and says what happens else.
func (w *writer) answer() string {
	what := "Acknowledge it (schoolgate alerts ack " + reference(w.m.Alerts[0]) + w.as() + " --by YOUR-NAME) to say that you are dealing with it."
	if w.many() {
		what = "Acknowledge each of them (schoolgate alerts ack REFERENCE" + w.as() + " --by YOUR-NAME) to say that you are dealing with it."
	}
	switch {
	case w.m.By.IsZero():
		return what
	case w.m.Else == "":
		return fmt.Sprintf("%s If nobody has by %s, you are reminded.", what, w.clock(w.m.By))
	}
	return fmt.Sprintf("%s If nobody has by %s, %s told.", what, w.clock(w.m.By), inPerson(w.m.Else))
}

// as is how the reader tells a command who looks.
func (w *writer) as() string {
	if w.m.As == "" {
		return ""
	}
	return " --as " + w.m.As
}

// inPerson is a role in a sentence, with its verb.
func inPerson(role string) string {
	switch role {
	case RoleDSL:
		return "the safeguarding lead is"
	case RoleDeputy:
		return "the deputy safeguarding lead is"
	case RoleHead:
		return "the Headteacher is"
	case RoleChair:
		return "the chair of governors is"
	}
	return "those named as " + role + " are"
}

// clock is a time of the day on which the mail was written, or a day and a time.
func (w *writer) clock(t time.Time) string {
	t = t.In(w.zone)
	if t.Format(time.DateOnly) == w.m.Queued.In(w.zone).Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return w.when(t)
}

func (w *writer) link() string {
	if w.many() {
		return w.console + "/alerts"
	}
	return w.console + "/alerts/" + reference(w.m.Alerts[0])
}

func (w *writer) closing() string {
	var b strings.Builder
	if w.m.Kind == kindNew || w.m.Kind == kindGraver {
		b.WriteString(wrap(fmt.Sprintf("If it happens again within %s it is counted, and one more e-mail tells you how often.", span(w.quiet))) + "\n")
	}
	b.WriteString(wrap("If the record turns out to be about you or your family, read no further and tell the Headteacher or, if you are the Headteacher, the chair of governors.") + "\n")
	b.WriteString(wrap("This e-mail names no person and no website, on purpose: e-mail can be read by others. Please do not add names if you forward it. Replies are not read.") + "\n")
	b.WriteString("Schoolgate\n")
	return b.String()
}

// call is what a webhook gets besides the words.
func (w *writer) call() *Call {
	m := w.m
	c := &Call{Kind: string(m.Kind), Severity: m.Severity, Count: m.Count}
	for _, id := range m.Alerts[:min(len(m.Alerts), 100)] {
		c.References = append(c.References, reference(id))
	}
	for at, dst := range map[*time.Time]**time.Time{&m.First: &c.First, &m.Last: &c.Last, &m.By: &c.Acknowledge} {
		if !at.IsZero() {
			t := at.In(w.zone).Truncate(time.Second)
			*dst = &t
		}
	}
	if w.console != "" && len(m.Alerts) > 0 {
		c.Link = w.link()
	}
	return c
}

// when is local time by the 24-hour clock: "Tuesday 24 November, 09:05".
func (w *writer) when(t time.Time) string {
	t = t.In(w.zone)
	day := t.Format("Monday 2 January")
	if t.Year() != w.m.Queued.In(w.zone).Year() {
		day = t.Format("Monday 2 January 2006")
	}
	return day + ", " + t.Format("15:04")
}

func sameMinute(a, b time.Time) bool { return a.Truncate(time.Minute).Equal(b.Truncate(time.Minute)) }

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return strconv.Itoa(n) + " times"
}

func span(d time.Duration) string {
	if d%time.Minute == 0 && d != time.Minute {
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return d.String()
}

func wrap(s string) string { return indent("", s) }

// indent sets a paragraph at 70 columns, its first line behind mark.
func indent(mark, s string) string {
	var b strings.Builder
	line := mark
	empty := true
	for word := range strings.FieldsSeq(s) {
		if !empty && len(line)+1+len(word) > 70 {
			b.WriteString(line + "\n")
			line, empty = strings.Repeat(" ", len(mark)), true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	return b.String() + line + "\n"
}

// testMessage proves the way to one person.
func testMessage(to string, now time.Time) Message {
	return Message{
		ID: fmt.Sprintf("test.%x", now.UnixNano()), To: to, Date: now,
		Subject: "Schoolgate test message: alerts can reach you",
		Text: wrap("This is a test. If you can read it, Schoolgate can send you alerts. There is nothing to do, except to tell whoever asked for the test that it arrived.") +
			"\nSchoolgate\n",
	}
}
