package incidents

import (
	"fmt"
	"strings"
)

// Kind is what an incident is about, as a word.
type Kind string

// The kinds that code speaks of; the rest is in the table below.
const (
	Told        Kind = "told" // a child pressed "tell someone": a person must say what it is
	StaffMisuse Kind = "staff_misuse"
	Other       Kind = "other"
)

// ThemeTold is the theme of the alert that such a press raises, so that it is one of
// its own.
const ThemeTold = "told"

// Task is something that must be done about an incident, as a word.
type Task string

// The tasks.
const (
	Parents    Task = "parents"    // R21
	Police     Task = "police"     // R22
	CEOP       Task = "ceop"       // R22
	IWF        Task = "iwf"        // R23
	LADO       Task = "lado"       // R22
	Prevent    Task = "prevent"    // R22
	Quarantine Task = "quarantine" // R29
	Evidence   Task = "evidence"   // R27
	Support    Task = "support"
	DPO        Task = "dpo"
	Lessons    Task = "lessons" // R38
)

// about says of a task what it is, for the person who must do it.
type about struct {
	task   Task
	title  string
	advice string
	agency bool // it is a report to somebody outside, and has a reference number
}

var tasks = []about{
	{Parents, "Tell the parents or carers", "Print the letter (incidents letter), or speak to them; note the day and who did.", false},
	{Police, "Report to the police", "101; 999 if a child is in danger now. Do not open, copy or send on any image.", true},
	{CEOP, "Report to CEOP", "ceop.police.uk, for grooming and sexual exploitation.", true},
	{IWF, "Report to the Internet Watch Foundation", "report.iwf.org.uk, with the address alone (incidents unseal); never the image.", true},
	{LADO, "Report to the local authority's designated officer (LADO)", "Within one working day of an allegation against staff.", true},
	{Prevent, "Refer to Prevent", "Your local Prevent team, or 101.", true},
	{Quarantine, "Keep the device as it is", "schoolgate quarantine add; flight mode if you can; lock it away, and let nobody switch it on.", false},
	{Evidence, "Keep the evidence", "incidents evidence writes a signed file for the police.", false},
	{Support, "See the child, and note what was agreed", "Listen; do not promise to keep it secret. Childline: 0800 1111.", false},
	{DPO, "Tell the data protection lead", "Where personal data may be lost, within 72 hours.", false},
	{Lessons, "Write down what was learnt, and what was changed", "The policy or lesson that changed, or why nothing needs to.", false},
}

// kinds is what each kind is called and what must be done.
var kinds = []struct {
	kind  Kind
	title string
	tasks []Task
}{
	{Told, "A pupil told us about a page", nil},
	{"illegal_content", "Illegal content", []Task{Quarantine, Police, IWF, Evidence, Parents, Lessons}},
	{"nudes", "Nude or semi-nude images shared by pupils", []Task{Quarantine, Police, Evidence, Support, Parents, Lessons}},
	{"exploitation", "Grooming or sexual exploitation", []Task{Quarantine, CEOP, Evidence, Support, Parents, Lessons}},
	{"radicalisation", "Extremism or radicalisation", []Task{Prevent, Support, Parents, Lessons}},
	{"self_harm_concern", "Worry about self-harm or suicide", []Task{Support, Parents, Lessons}},
	{"bullying", "Bullying", []Task{Support, Parents, Lessons}},
	{"accidental_exposure", "A pupil saw something by accident", []Task{Parents, Lessons}},
	{"misuse", "A pupil looked for what is not allowed", []Task{Parents, Lessons}},
	{"bypass", "Going round the filter", []Task{Parents, Lessons}},
	{"lost_device", "A device lost, stolen or found", []Task{Quarantine, DPO, Lessons}},
	{StaffMisuse, "Concern about a member of staff", []Task{LADO, Evidence, Lessons}},
	{Other, "Something else", []Task{Parents, Lessons}},
}

// Title is the kind as people say it, "" for a word that is none.
func (k Kind) Title() string {
	for _, c := range kinds {
		if c.kind == k {
			return c.title
		}
	}
	return ""
}

// required are the tasks of a kind.
func (k Kind) required() []Task {
	for _, c := range kinds {
		if c.kind == k {
			return c.tasks
		}
	}
	return nil
}

// Title is the task as people say it, "" for a word that is none.
func (t Task) Title() string { return t.about().title }

// Advice says how the task is done.
func (t Task) Advice() string { return t.about().advice }

func (t Task) about() about {
	for _, a := range tasks {
		if a.task == t {
			return a
		}
	}
	return about{}
}

func parseKind(s string) (Kind, error) {
	if Kind(s).Title() != "" {
		return Kind(s), nil
	}
	var all []string
	for _, c := range kinds {
		if c.kind != Told {
			all = append(all, string(c.kind))
		}
	}
	if s == "" {
		return "", fmt.Errorf("say what it is about: --kind, one of %s", strings.Join(all, ", "))
	}
	return "", fmt.Errorf("unknown kind %q: want one of %s", s, strings.Join(all, ", "))
}

func parseTask(s string, agency bool) (Task, error) {
	var all []string
	for _, a := range tasks {
		if a.task == Task(s) && (a.agency || !agency) {
			return a.task, nil
		}
		if a.agency || !agency {
			all = append(all, string(a.task))
		}
	}
	what := "task"
	if agency {
		what = "agency"
	}
	return "", fmt.Errorf("unknown %s %q: want one of %s", what, s, strings.Join(all, ", "))
}

// Status is how far an incident has come. It never goes back.
type Status uint8

// The statuses.
const (
	New Status = iota
	Triaged
	Escalated
	Reported
	Closed
)

var statusNames = [...]string{New: "new", Triaged: "triaged", Escalated: "escalated", Reported: "reported", Closed: "closed"}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "new"
}

// Subject is about whom an incident is: it decides who may see it (R36).
type Subject string

// The subjects. Anything unknown is treated as the most confidential.
const (
	Pupils Subject = ""      // pupils, or nobody in particular
	Staff  Subject = "staff" // a member of staff
	Head   Subject = "head"  // the Headteacher or the DSL
)

// Role is as whom somebody works with the register.
type Role string

// The roles. IT is none of them.
const (
	RoleDSL   Role = "dsl"   // the DSL and deputies
	RoleHead  Role = "head"  // the Headteacher
	RoleChair Role = "chair" // the chair of governors
	rolePage  Role = "page"  // the block page itself: it may open, and see nothing
)

// Sees reports whether a role may see incidents about a subject.
func (r Role) Sees(s Subject) bool {
	switch s {
	case Pupils:
		return r == RoleDSL || r == RoleHead
	case Staff:
		return r == RoleHead || r == RoleChair
	}
	return r == RoleChair
}

// ParseRole reads a role.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case RoleDSL, RoleHead, RoleChair:
		return r, nil
	}
	return "", fmt.Errorf("%q may not see the register of incidents: that is for the DSL (dsl), the Headteacher (head) and the chair of governors (chair)", s)
}
