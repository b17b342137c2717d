package alerts

import (
	"fmt"
	"strings"
)

// noticeSubject and noticeText word a notice for whoever looks after the box:
// what it means for the children first, then what to do.
func (w *writer) noticeSubject() string {
	switch n := w.m.Notice; n.Kind {
	case NoticeHeld:
		return fmt.Sprintf("Schoolgate: new lists (version %d) wait for your decision", n.Version)
	case NoticeRed:
		return "Schoolgate: a mandatory list is out of date, please act today"
	case NoticeUnheard:
		return "Schoolgate: alert e-mails could not be delivered"
	case NoticeDisk:
		return fmt.Sprintf("Schoolgate: the disk is %d%% full", n.Count)
	case NoticeClosed:
		return "Schoolgate has closed the internet: it cannot keep records"
	case NoticeFaults:
		return "Schoolgate: a fault in the filter itself keeps coming back"
	case NoticeAlive:
		return "Schoolgate is working and can reach you"
	}
	return "Schoolgate: please look at the box"
}

func (w *writer) noticeText() string {
	if w.m.Notice.Kind == NoticeAlive {
		return w.aliveText()
	}
	said := map[NoticeKind]func() (string, []string){
		NoticeHeld: w.held, NoticeRed: w.red, NoticeUnheard: w.unheard, NoticeDisk: w.disk,
		NoticeClosed: w.closed, NoticeFaults: w.faults,
	}[w.m.Notice.Kind]
	if said == nil {
		said = func() (string, []string) {
			return "Schoolgate asks for a person to look at it.", []string{"On the box, run: schoolgate lists status"}
		}
	}
	opening, steps := said()
	var b strings.Builder
	b.WriteString(wrap(opening) + "\nWhat to do\n\n")
	for i, step := range steps {
		b.WriteString(indent(fmt.Sprintf("%d. ", i+1), step))
	}
	b.WriteString("\n" + wrap("You are reminded once a day for as long as this stays so. It went to those named as it, head or leadership in policy.yaml. It names no person and no website, on purpose. Replies are not read."))
	b.WriteString("\nSchoolgate\n")
	return b.String()
}

func (w *writer) aliveText() string {
	return wrap("There is nothing to do. This e-mail comes at its time so that you know that silence means what it should: Schoolgate is working, and an alert would have reached you.") +
		"\n" + wrap("If it stops coming, tell IT support: alerts may not be reaching you.") +
		"\n" + wrap("It says nothing of any alert, on purpose. Replies are not read.") + "\nSchoolgate\n"
}

func (w *writer) held() (string, []string) {
	n := w.m.Notice
	var why []string
	if n.Count > 0 {
		why = append(why, fmt.Sprintf("%s that the school has said must stay open", sites(n.Count)))
	}
	if n.Used > 0 {
		why = append(why, fmt.Sprintf("%s that were in use here last week", sites(n.Used)))
	}
	because := "It differs from the lists in force by more than Schoolgate takes on by itself."
	if len(why) > 0 {
		because = "It would newly block " + strings.Join(why, ", and ") + "."
	}
	return fmt.Sprintf("The filter's lists were updated, and Schoolgate has not put the new version %d in force. %s "+
			"That may be a publisher's mistake. It has waited since %s. Meanwhile the school is filtered by the lists it had; "+
			"mandatory lists (child abuse and terrorism) are not held back and stay up to date.", n.Version, because, w.when(n.Since)),
		[]string{
			"On the box, see what the new version would block and why: schoolgate lists status",
			"If it is right, let it in. Your name and reason are kept on record: schoolgate lists release " + fmt.Sprint(n.Version) + " --reason ... --by ...",
			"If it is a mistake, nothing need be done. The version is dropped as soon as the publisher mends the list.",
		}
}

func (w *writer) red() (string, []string) {
	n := w.m.Notice
	list := "One of the mandatory lists"
	if feed := plainFeed(n.Feed); feed != "" {
		list = fmt.Sprintf("The mandatory list %q", feed)
	}
	age := "has never been fetched, so what it holds is not blocked"
	if !n.Since.IsZero() {
		age = "was last brought up to date on " + w.when(n.Since) + ". What it held then is still blocked; what its publisher has added since is not"
	}
	return list + " " + age + ". A school must keep this list in force, so please do not leave it until tomorrow.",
		[]string{
			"On the box, see what went wrong at the last try: schoolgate lists status",
			"Fetch it by hand: schoolgate lists fetch. If the publisher has given you a file, import it: schoolgate lists import",
			"If it cannot be mended today, tell the Headteacher and the safeguarding lead, and whoever provides the list.",
		}
}

func (w *writer) unheard() (string, []string) {
	return fmt.Sprintf("%s of alerts could not be delivered for a week and %s given up. The alerts themselves are kept. "+
			"Somebody who should have heard of them has not.", mails(w.m.Notice.Count), wasOrWere(w.m.Notice.Count)),
		[]string{
			"Tell the safeguarding lead and the Headteacher now: the alerts are listed on the box by schoolgate alerts list",
			"Check the addresses under alerts, recipients in policy.yaml, and send a test: schoolgate alerts test-mail",
		}
}

func (w *writer) disk() (string, []string) {
	return fmt.Sprintf("The disk that Schoolgate keeps its records on is %d%% full. Every request must be recorded, so once there is no room "+
			"nobody in the school can browse, a child's help-lines apart, until there is room again. It then goes on by itself.", w.m.Notice.Count),
		[]string{
			"On the box, see what takes the room: df -h, and du -sh in the folder that data names in schoolgate.yaml",
			"Remove what does not belong to Schoolgate, or give the box a larger disk. Leave the records alone: what is past its time is removed by itself, and anything else would be missed.",
		}
}

func (w *writer) closed() (string, []string) {
	return "Schoolgate could not write its records when it last tried. Nothing is let through unrecorded, so pupils and staff cannot browse; a child's help-lines still work. " +
			"It tries again at every request, and opens by itself once the disk takes records.",
		[]string{
			"On the box, see why: the line journal of the page /readyz, and journalctl -u schoolgate",
			"If the disk is full, make room, but leave Schoolgate's own records alone. If it has failed or is read-only, see dmesg, and have it replaced.",
			"Tell the school that this is no fault of the internet line, and when you expect it to be mended.",
		}
}

func (w *writer) faults() (string, []string) {
	return fmt.Sprintf("Within an hour Schoolgate's own code failed on %d requests. Each was refused and none let through. "+
			"A page or app may not work for the children until this is mended.", w.m.Notice.Count),
		[]string{
			"On the box, see where it failed: journalctl -u schoolgate. Those lines hold no names and no websites, so they may be sent on.",
			"If there is a newer version of Schoolgate, install it. If not, please report the fault with those lines.",
		}
}

func sites(n int) string {
	if n == 1 {
		return "1 site"
	}
	return fmt.Sprintf("%d sites", n)
}

func mails(n int) string {
	if n == 1 {
		return "One e-mail"
	}
	return fmt.Sprintf("%d e-mails", n)
}

func wasOrWere(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}
