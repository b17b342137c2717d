package blockpage

import (
	"net/http"

	"schoolgate/policy"
)

// whyChild says to a child of seven to eleven why a page is closed. It never
// names the category: the word would be the first step to look for it.
func whyChild(v *View) string {
	switch v.Reason {
	case policy.ReasonNotApproved, policy.ReasonUncategorised:
		return "Nobody at school has checked this page for you yet."
	case policy.ReasonQuarantine:
		return "This computer cannot use the internet today."
	case policy.ReasonEmergency:
		return "Your school has closed this page for everyone."
	case policy.ReasonUnsigned:
		return "Your internet agreement has not been handed in yet."
	case policy.ReasonSignIn:
		return "Please sign in first. Ask your teacher how."
	case policy.ReasonDestination, policy.ReasonProtocol, policy.ReasonBadHost:
		return "School computers cannot open this kind of address."
	case policy.ReasonCategory:
		if v.Verdict == policy.Warn {
			return "Please ask your teacher before you use this page."
		}
	}
	return "It is not a page for school."
}

// whyAdult says to an adult which step of the decision spoke.
func whyAdult(v *View) string {
	switch v.Reason {
	case policy.ReasonCategory:
		if v.Verdict == policy.Warn {
			return "This category needs a second thought before it is opened. " + goOn(v)
		}
		return "This category is closed to your profile at this time."
	case policy.ReasonException:
		return "The school has closed this site itself."
	case policy.ReasonPass:
		return "The school has closed this site for now."
	case policy.ReasonNotApproved:
		return "Your profile opens approved sites only, and this site is on no approved list."
	case policy.ReasonUncategorised:
		if v.Verdict == policy.Warn {
			return "The site is on no list, so nothing is known of it. " + goOn(v)
		}
		return "The site is on no list, and your profile opens listed sites only."
	case policy.ReasonQuarantine:
		return "This device is cut off from the internet while an incident is looked into."
	case policy.ReasonEmergency:
		return "The school has closed this site for everyone while an incident is looked into."
	case policy.ReasonUnsigned:
		return "There is no signed acceptable-use policy on record for this login."
	case policy.ReasonSignIn:
		return "On this device people sign in before they use the web, and nobody has."
	case policy.ReasonContent:
		return "The page was read as it passed, and its words or programs are of this category. That can be a mistake: the site itself is open."
	case policy.ReasonDestination:
		return "The address leads into the school's own network or to this filter, which the proxy does not serve."
	case policy.ReasonProtocol:
		return "The port, method or protocol is not one that the filter carries."
	case policy.ReasonBadHost:
		return "The address cannot be read in one certain way."
	}
	return "The filter refused this request."
}

// goOn says what can be done about a warning: nothing, where the page has no button.
func goOn(v *View) string {
	if v.Onward == "" {
		return "Please ask before you use it."
	}
	return "If you need the site, you can go on; it is recorded that you did."
}

// troubleAdult is the heading and the words for what did not work. They hold
// nothing of the machinery: no address, no port, no error text (G9).
func troubleAdult(v *View) (heading, why string) {
	switch v.Status {
	case http.StatusMisdirectedRequest:
		return "The address does not fit the connection", "The request named another site than the one its connection was opened for."
	case http.StatusProxyAuthRequired:
		return "Please sign in", whyAdult(v)
	case http.StatusBadGateway:
		if v.Finding == "certificate" {
			return "The site could not prove who it is", "Its certificate is out of date, made for another site, or not from an authority that browsers trust. Nothing was sent to it."
		}
		return "The site could not be reached", "The request was allowed, but the site does not exist, refused the connection or broke it off."
	case http.StatusGatewayTimeout:
		return "The site took too long", "The request was allowed, but no answer came from the site in time."
	case http.StatusBadRequest:
		return "The address could not be read", whyAdult(v)
	case http.StatusMethodNotAllowed:
		return "The request was refused", "The filter does not carry this HTTP method."
	case http.StatusServiceUnavailable:
		switch {
		case v.Reason == policy.ReasonNotReady:
			return "The filter is not ready", "No policy or no category list is loaded, so everything is refused until there is one."
		case v.Reference == "":
			return "The filter is not ready", "The request could not be recorded, so it was not carried out."
		}
		return "Please try again in a minute", "The site was closed when your device last asked and is open now."
	}
	return "Something went wrong", "The filter could not carry out the request. It has been noted."
}

func helpAdult(v *View) string {
	whom := v.Ask
	if whom == "" {
		whom = "IT support"
	}
	if v.Verdict == policy.Warn && v.kind() == blocked {
		return "If you are in doubt, ask " + whom + " and give the reference above."
	}
	if v.kind() == trouble {
		return "If it goes on, tell " + whom + " the reference above."
	}
	return "If you need the site for your work, ask " + whom + " and give the reference above."
}
