package terms

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"schoolgate/policy"
)

// Disguises are seen through (4.7, D8, S10), and what only looks like one is left.
func TestFold(t *testing.T) {
	set := watch(t)
	for _, test := range []struct{ promise, words, want string }{
		{"case and spaces", "  HOW to   Kill ", "how to kill"},
		{"accents", "pórn", "porn"},
		{"full width", "ｐｏｒｎ", "porn"},
		{"zero width", "po\u200brn", "porn"},
		{"Cyrillic look-alikes (S10)", "роrn", "porn"},
		{"leet", "p0rn", "porn"},
		{"leet signs", "$ex", "sex"},
		{"one as l", "ki11", "kill"},
		{"masked", "p*rn", "porn"},
		{"spaced out", "k i l l", "kill"},
		{"dots", "k.i.l.l", "kill"},
		{"spaced over words", "k i l l m y s e l f", "kill myself"},
		{"held letters", "kiiiill", "kill"},
		{"a slip in a word of a phrase", "how to strangel somone", "how to strangle someone"},
		{"a letter doubled that is not", "how to embarass someone", "how to embarrass someone"},
		{"an English word is no slip", "how to strange a house", "how to strange a house"},
		{"held letters keep a double", "boooooobs", "boobs"},
		{"hyphen", "self-harm", "self harm"},
		{"one word", "selfharm", "self harm"},
		{"words run together", "howtokillmyself", "howto kill myself"},
		{"misspelling", "suiside", "suicide"},
		{"slip of a long word", "parracetamol", "paracetamol"},
		{"split word", "sui cide", "suicide"},
		{"text speak", "u r ugly", "you are ugly"},
		{"apostrophe", "i'm fat", "im fat"},
		{"a class name stays", "year 4", "year 4"},
		{"an explosive's name stays", "c4", "c4"},
		{"a road stays", "a55 traffic", "a55 traffic"},
		{"a key stage stays", "ks2", "ks2"},
		{"heroine is no heroin", "heroine", "heroine"},
		{"therapist is one word", "therapist", "therapist"},
		{"nothing", "", ""},
		{"signs alone", "?!*", ""},
		{"not UTF-8", "\xffporn\xfe", "porn"},
	} {
		if got := set.Fold(test.words); got != test.want {
			t.Errorf("%s: Fold(%q) = %q, want %q", test.promise, test.words, got, test.want)
		}
	}
}

// What must be raised in every language, and what must not (S10).
func TestMatch(t *testing.T) {
	set := watch(t)
	for _, test := range []struct {
		promise, words string
		want           Theme
	}{
		{"words between", "the bigger kids at school always take my lunch", Bullying},
		{"words between, but too many", "kids like this book and then one day in the long summer holidays i take my lunch", NoTheme},
		{"another language's word is an English one", "bike pedal hazard symbols viol botswana pula", NoTheme},
		{"a process is no person", "how to kill a process in linux", NoTheme},
		{"a person is", "how to kill a person", Violence},
		{"the gravest speaks", "porn suicide how to kill myself", Suicide},
		{"a lesson about it", "romeo and juliet suicide homework", NoTheme},
		{"a lesson is no excuse for oneself", "how to kill myself homework", Suicide},
		{"weed killer", "weed killer", NoTheme},
		{"weed beside weed killer", "weed killer smoking weed", Drugs},
		{"help is sought", "childline number", HelpSeeking},
		{"how it stops is help that is looked for (F10)", "how do i stop cutting myself", HelpSeeking},
		{"that it goes on is not", "why cant i stop cutting", SelfHarm},
		{"help with one thing is no shield for another", "how to stop self harming i want to die", Suicide},
		{"a helpline, whatever it is for", "suicide hotline uk", HelpSeeking},
		{"a helpline that did not help", "suicide hotline didnt help i still want to die", Suicide},
		{"a child in danger is heard, whatever it asks", "my dad hits me what should i do", Violence},
		{"so is one in a hurry", "i need help my dad beats me", Violence},
		{"whom to tell is help that is looked for", "who can i tell if my dad hits me", HelpSeeking},
		{"somebody else in danger is heard", "my friend wants to kill himself what do i do", Suicide},
		{"a disorder that should end", "how to recover from anorexia", HelpSeeking},
		{"a disorder that should begin", "how to be anorexic", EatingDisorders},
		{"Polish", "chcę umrzeć", Suicide},
		{"Polish without its letters", "chce umrzec", Suicide},
		{"Romanian", "vreau să mor", Suicide},
		{"Arabic", "كيف أصنع قنبلة", Weapons},
		{"Arabic with vowels and another yeh", "اِنْتِحار", Suicide},
		{"Urdu", "خودکشی", Suicide},
		{"Urdu in Latin", "khud kushi", Suicide},
		{"Punjabi", "ਖੁਦਕੁਸ਼ੀ", Suicide},
	} {
		hit, ok := set.MatchAny(test.words)
		got := NoTheme
		if ok {
			got = hit.Theme
		}
		if got != test.want {
			t.Errorf("%s: MatchAny(%q) = %q, want %q", test.promise, test.words, got, test.want)
		}
	}
}

// TestLanguages: every pack of another language says something of every theme, and
// hears the forms and spellings that people write.
func TestLanguages(t *testing.T) {
	set := watch(t)
	phrases := map[string]map[Theme]int{}
	for _, term := range set.Terms() {
		if phrases[term.Language] == nil {
			phrases[term.Language] = map[Theme]int{}
		}
		phrases[term.Language][term.Theme] += term.variants
	}
	for _, language := range []string{"pl", "ur", "ar", "pa", "ro"} {
		all := 0
		for _, theme := range Themes() {
			all += phrases[language][theme]
			if phrases[language][theme] < 4 {
				t.Errorf("%s: %d phrases of %s, want 4 and more", language, phrases[language][theme], theme)
			}
		}
		if all < 200 {
			t.Errorf("%s: %d phrases, want 200 and more", language, all)
		}
	}
	for words, want := range map[string]Theme{
		"chcialabym umrzec": Suicide, "Tata mnie bije pasem": Violence, "dlaczego nikt mnie nie lubi": Bullying, "jak uciec z domu w nocy": RunningAway, "telefon zaufania dla dzieci": HelpSeeking,
		"cum sa ma sinucid": Suicide, "tata o bate pe mama": Violence, "colegii rad de mine": Bullying, "vreau să fug de acasă": RunningAway, "cu cine pot vorbi": HelpSeeking,
		"mujhe marna hai": Suicide, "abbu mujhe marte hain": Violence, "mera koi dost nahi": Bullying, "گھر سے بھاگنا چاہتا ہوں": RunningAway, "mujhe madad chahiye": HelpSeeking,
		"عايز اموت": Suicide, "بابا بيضربني": Violence, "لا أحد يحبني": Bullying, "كيف أهرب من البيت": RunningAway, "biddi amoot": Suicide,
		"main marna chaundi aa": Suicide, "ਡੈਡੀ ਮੈਨੂੰ ਮਾਰਦੇ ਹਨ": Violence, "mainu koi pasand ni karda": Bullying, "ਘਰੋਂ ਭੱਜਣਾ": RunningAway, "mainu madad chahidi hai": HelpSeeking,
		"kocham moja mame": NoTheme, "jak zrobic ciasto": NoTheme, "cum sa fac un desen": NoTheme, "mujhe chai chahiye": NoTheme, "كيف أرسم قطة": NoTheme, "ਮੈਂ ਸਕੂਲ ਜਾਂਦਾ ਹਾਂ": NoTheme,
	} {
		got := NoTheme
		if hit, ok := set.MatchAny(words); ok {
			got = hit.Theme
		}
		if got != want {
			t.Errorf("MatchAny(%q) = %q, want %q", words, got, want)
		}
	}
}

func TestQuery(t *testing.T) {
	for _, test := range []struct{ promise, url, engine, words string }{
		{"Google", "https://www.google.co.uk/search?q=a+b%20c&oq=zz", "Google", "a b c"},
		{"another country", "https://www.google.com.mt/search?q=a", "Google", "a"},
		{"a country that is none", "https://www.google.example/search?q=a", "", ""},
		{"advanced search", "https://www.google.com/search?as_q=a&as_epq=b", "Google", "a b"},
		{"a second parameter hides nothing", "https://www.google.com/search?q=a&q=b", "Google", "a b"},
		{"suggestions", "https://www.google.com/complete/search?q=half&client=chrome", "", ""},
		{"Bing's suggestions", "https://www.bing.com/AS/Suggestions?qry=half&q=half", "", ""},
		{"DuckDuckGo's suggestions", "https://duckduckgo.com/ac/?q=half", "", ""},
		{"a browser's search has a client too", "https://www.google.com/search?client=firefox-b-d&q=a", "Google", "a"},
		{"another page of the engine", "https://www.google.com/maps?q=a", "", ""},
		{"mail", "https://mail.google.com/mail/?q=a", "", ""},
		{"no words", "https://www.google.com/search?q=", "", ""},
		{"no engine (privacy 4)", "https://www.nhs.example/search?q=a", "", ""},
		{"an engine's name in another host", "https://www.google.com.evil.example/search?q=a", "", ""},
		{"Yahoo", "https://uk.search.yahoo.com/search?p=a", "Yahoo", "a"},
		{"Yandex", "https://yandex.ru/search/?text=a", "Yandex", "a"},
		{"Baidu", "https://www.baidu.com/s?wd=a", "Baidu", "a"},
		{"YouTube", "https://m.youtube.com/results?search_query=a+b", "YouTube", "a b"},
		{"a video", "https://www.youtube.com/watch?v=a", "", ""},
		{"Wikipedia", "https://en.wikipedia.org/w/index.php?search=a&title=Special:Search", "Wikipedia", "a"},
		{"Amazon", "https://www.amazon.co.uk/s?k=a", "Amazon", "a"},
		{"eBay", "https://www.ebay.co.uk/sch/i.html?_nkw=a", "eBay", "a"},
		{"in the path", "https://unsplash.com/s/photos/blue-cat", "Unsplash", "blue cat"},
		{"in the path behind a language", "https://pixabay.com/en/images/search/blue%20cat/", "Pixabay", "blue cat"},
		{"Giphy", "https://giphy.com/search/blue-cat", "Giphy", "blue cat"},
		{"behind #", "https://www.google.co.uk/#q=a+b", "Google", "a b"},
		{"Swiggle's own", "https://swiggle.org.uk/#gsc.tab=0&gsc.q=a%20b", "Swiggle", "a b"},
		{"another fragment", "https://www.google.co.uk/search#top", "", ""},
		{"Yahoo's path parameter", "https://uk.images.search.yahoo.com/search/images;_ylt=Aw?p=a", "Yahoo", "a"},
		{"a tag", "https://www.tiktok.com/tag/a", "TikTok", "a"},
		{"asked of a machine", "https://copilot.microsoft.com/?q=a", "Copilot", "a"},
		{"in a channel", "https://www.youtube.com/@bbcnews/search?query=a", "YouTube", "a"},
		{"a telephone's Yahoo", "https://search.yahoo.com/mobile/s?p=a", "Yahoo", "a"},
		{"Wikipedia in Polish", "https://pl.wikipedia.org/wiki/Specjalna:Szukaj?search=a", "Wikipedia", "a"},
		{"a page of Wikipedia", "https://en.wikipedia.org/wiki/Guy_Fawkes", "", ""},
		{"Wikipedia's suggestions", "https://en.wikipedia.org/w/api.php?action=opensearch&search=half", "", ""},
		{"Amazon's suggestions", "https://completion.amazon.co.uk/api/2017/suggestions?prefix=half&k=half", "", ""},
		{"YouTube's suggestions", "https://suggestqueries-clients6.youtube.com/complete/search?q=half", "", ""},
		{"Ecosia's suggestions", "https://ac.ecosia.org/autocomplete?q=half", "", ""},
		{"Brave's suggestions", "https://search.brave.com/api/suggest?q=half", "", ""},
		{"Yahoo's suggestions", "https://uk.search.yahoo.com/sugg/gossip/gossip-uk-ura/?command=half&p=half", "", ""},
		{"eBay's suggestions", "https://www.ebay.co.uk/autosug?kwd=half&_nkw=half", "", ""},
		{"stories", "https://archiveofourown.org/works/search?work_search%5Bquery%5D=a", "Archive of Our Own", "a"},
		{"a shop", "https://www.temu.com/search_result.html?search_key=a", "Temu", "a"},
		{"Swiggle", "https://swiggle.org.uk/?q=a", "Swiggle", "a"},
		{"a name in capitals", "https://www.bing.com/search?Q=a+b", "Bing", "a b"},
		{"an escaped name", "https://www.bing.com/search?%51=a+b", "Bing", "a b"},
		{"escaped twice", "https://www.bing.com/search?q=a%2520b", "Bing", "a b"},
		{"Latin-1", "https://www.bing.com/search?q=caf%E9", "Bing", "café"},
		{"not an address", "a b c", "", ""},
	} {
		engine, words, ok := Query(test.url)
		if engine != test.engine && ok || words != test.words || ok != (test.words != "") {
			t.Errorf("%s: Query(%q) = %q, %q, %v; want %q, %q", test.promise, test.url, engine, words, ok, test.engine, test.words)
		}
	}
}

// What is wrong with a pack is told with its place.
func TestLoadProblems(t *testing.T) {
	for _, test := range []struct{ promise, pack, want string }{
		{"theme", "language: en\ntheme: suicid\nterms: [{severity: 1, say: [x]}]", `p.yaml:2:8: theme: unknown theme "suicid"`},
		{"severity", "language: en\ntheme: hate\nterms: [{severity: 6, say: [x]}]", `p.yaml:3:20: severity: want 1 to 5, got "6"`},
		{"field", "language: en\ntheme: hate\nterm: []", `p.yaml:3:1: the pack: unknown field "term"`},
		{"band", "language: en\ntheme: hate\nterms: [{severity: 1, bands: [ks9], say: [x]}]", `p.yaml:3:31: bands: unknown age band "ks9"`},
		{"context", "language: en\ntheme: hate\nterms: [{severity: 1, unless: [<lesson>], say: [x]}]", `p.yaml:3:32: unknown context <lesson>`},
		{"over is for help alone", "language: en\ntheme: hate\nterms: [{severity: 1, over: [drugs], say: [x]}]", `p.yaml:3:30: over: only help that is looked for speaks over`},
		{"over a theme there is not", "language: en\ntheme: help_seeking\nterms: [{severity: 1, over: [drug], say: [x]}]", `p.yaml:3:30: over: unknown theme "drug"`},
		{"over itself", "language: en\ntheme: help_seeking\nterms: [{severity: 1, over: [help_seeking], say: [x]}]", `p.yaml:3:30: over: help_seeking does not speak over itself`},
		{"brackets", "language: en\ntheme: hate\nterms: [{severity: 1, say: ['a (b']}]", `p.yaml:3:29: "a (b": the brackets do not close`},
		{"words between at the end", "language: en\ntheme: hate\nterms: [{severity: 1, say: [a b ...]}]", `p.yaml:3:29: "a b ...": ... stands between two parts`},
		{"words between in an exception", "language: en\ntheme: hate\nnever: [a ... b]\nterms: [{severity: 1, say: [x y]}]", `p.yaml:3:9: "a ... b": ... stands between two parts of a phrase that is said`},
		{"nothing left", "language: en\ntheme: hate\nterms: [{severity: 1, say: ['?!']}]", `p.yaml:3:29: "?!": "?!" comes to 0 bytes`},
		{"alias", "language: &a en\ntheme: *a", `p.yaml:1:11: anchor &a`},
		{"YAML", "language: en\n terms: [", `p.yaml:2: not a pack`},
		{"no file", "", `p.yaml:1: not a pack: the file is empty`},
		{"no term", "silent: [the]", `packs: no pack has a term`},
	} {
		set, problems := Load(fstest.MapFS{"p.yaml": {Data: []byte(test.pack)}})
		if set != nil || len(problems) == 0 || !strings.HasPrefix(problems[0].Error(), test.want) {
			t.Errorf("%s: Load = %v, want %s", test.promise, problems, test.want)
		}
	}
}

// A phrase too rich to be written out is found by its steps.
func TestChain(t *testing.T) {
	many := func(letter string) string {
		var list []string
		for i := range 20 {
			list = append(list, fmt.Sprintf("%s%c", letter, 'a'+i))
		}
		return "(" + strings.Join(list, "|") + ")"
	}
	pack := "language: en\ntheme: hate\nterms: [{severity: 1, say: ['" + many("x") + " (foo|) " + many("y") + "']}]"
	set, problems := Load(fstest.MapFS{"p.yaml": {Data: []byte(pack)}})
	if set == nil || len(set.slots) < 2 {
		t.Fatalf("Load = %v, %d slots; want a chain", problems, len(set.slots))
	}
	for words, want := range map[string]bool{
		"xa yb": true, "so xa foo yb then": true, "xa xb yc": true, "xa foo foo yb": false, "ya xb": false, "xa": false, "xa bar yb": false, "foo yb": false,
	} {
		if _, ok := set.MatchAny(words); ok != want {
			t.Errorf("MatchAny(%q) = %v, want %v", words, ok, want)
		}
	}
}

// A term for one age band says nothing of another; the shield is for every band (F10).
func TestBands(t *testing.T) {
	set, problems := Load(fstest.MapFS{"p.yaml": {Data: []byte("language: en\ntheme: help_seeking\nterms: [{severity: 1, bands: [ks2], say: [x y]}, {severity: 2, theme: drugs, bands: [ks2], say: [z]}]")}})
	if set == nil {
		t.Fatal(problems)
	}
	if hit, ok := set.Match("x y", policy.KS2); !ok || !hit.Theme.Shielded() {
		t.Errorf("Match for KS2 = %v, want a shielded hit", ok)
	}
	if hit, ok := set.Match("x y", policy.Staff); !ok || !hit.Theme.Shielded() {
		t.Errorf("Match for staff = %v, want a shielded hit", ok)
	}
	if _, ok := set.Match("z", policy.Staff); ok {
		t.Errorf("Match for staff = true, want false")
	}
	if _, said, ok := set.MatchOf("a  Z b", policy.KS2, ThemeSet(0).With(Drugs)); !ok || said != "z" {
		t.Errorf("MatchOf = %q, %v, want z", said, ok)
	}
	if _, _, ok := set.MatchOf("z", policy.KS2, ThemeSet(0).With(Hate)); ok {
		t.Errorf("MatchOf speaks for a theme nobody listens to")
	}
}

func TestMatchAllocates(t *testing.T) {
	set := watch(t)
	for words, want := range map[string]float64{
		"how to kill a process in linux": 0, "h0w to kiiill mys3lf": 0, "chcę umrzeć": 1, // the normaliser's
	} {
		if got := testing.AllocsPerRun(100, func() { set.MatchAny(words) }); got > want && !raceEnabled {
			t.Errorf("MatchAny(%q) allocates %v times, want %v", words, got, want)
		}
	}
	const search = "https://www.google.co.uk/search?q=how+to+draw+a+cat&source=hp"
	if got := testing.AllocsPerRun(100, func() { _, _, _ = Query(search) }); got > 2 {
		t.Errorf("Query allocates %v times, want 2 at most", got)
	}
}

// Google's domains are those that the sample school forces SafeSearch on.
func TestGoogleDomains(t *testing.T) {
	sample, err := os.ReadFile("../configs/sample/google-domains.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(sample) != googleDomains {
		t.Error("google-domains.txt differs from configs/sample/google-domains.txt: copy it")
	}
}
