package policy

// Class describes a category for the people who must agree to it: IT reads the
// title, leadership the rationale, governors the coverage.
type Class struct {
	ID    string
	Title string
	Holds string // what is in it
	Why   string // why a school would block it, or keep it open
	Age   string // advice by age band

	Offence string // the illegal-content offence it covers (REQUIREMENTS I6), "" if none
	Theme   string // the inappropriate-content theme it covers (REQUIREMENTS C1-C11), "" if none
}

const (
	neverPupils   = "blocked for pupils of every age"
	neverAnyone   = "blocked for everyone"
	openAll       = "open from KS2; EYFS and KS1 see approved sites only"
	adultsOnly    = "blocked for pupils; adults as the school decides"
	supervisedUse = "open in supervised use; EYFS and KS1 see approved sites only"
)

// taxonomy is indexed by Category. A row is never removed: records of past
// years name it.
var taxonomy = [endOfCategories]Class{
	ChildAbuse:         {"child_abuse", "Child sexual abuse material", "pages, images and domains on a list of the Internet Watch Foundation kind", "It is a crime to look at it, and each view harms a child again. No one at the school can lift it.", neverAnyone, "child sexual abuse", ""},
	Terrorism:          {"terrorism", "Terrorist material", "pages and domains on a police-assessed list of unlawful terrorist content", "Possessing or spreading it is a crime. No one at the school can lift it.", neverAnyone, "terrorism", "extremism"},
	CoerciveControl:    {"coercive_control", "Controlling or coercive behaviour", "sites that offer means to stalk or control a partner or family member", "It helps a serious crime inside families.", neverAnyone, "controlling or coercive behaviour", "violence against women and girls"},
	ExtremePornography: {"extreme_pornography", "Extreme pornography and sexual violence", "pornography that is unlawful to possess in the UK", "It is a crime to possess it.", neverAnyone, "extreme sexual violence and extreme pornography", "pornography"},
	Fraud:              {"fraud", "Fraud and scams", "false shops, advance-fee and investment scams", "It takes money and personal details from pupils and staff.", neverAnyone, "fraud", "malware and hacking"},
	PeopleSmuggling:    {"people_smuggling", "People smuggling", "advertising or arranging unlawful entry to a country", "It is organised crime that preys on families.", neverAnyone, "people smuggling", ""},
	IntimateImageAbuse: {"intimate_image_abuse", "Intimate image abuse", "intimate images shared without consent, and tools that make false ones", "Sharing or making them is a crime, and pupils are both victims and offenders.", neverAnyone, "intimate image abuse", "violence against women and girls"},
	SexualExploitation: {"sexual_exploitation", "Sexual exploitation", "advertising of sexual services, and sites used to find victims", "It leads to exploitation of children and adults.", neverAnyone, "sexual exploitation", "pornography"},
	Pornography:        {"pornography", "Pornography", "sexually explicit images, video, text or shops", "It harms children's idea of bodies and relationships.", neverAnyone, "", "pornography"},
	AdultMixed:         {"adult_mixed", "Mixed adult content", "sites with much ordinary content and some meant for adults: image boards, lingerie, adult fiction", "A child is one click from the adult part.", adultsOnly, "", "pornography"},
	RacialHatred:       {"racial_hatred", "Hate and discrimination", "promotion of hatred of people for race, religion, disability, sex, gender or sexuality", "It breaks the school's duty under the Equality Act and may be an offence.", neverPupils, "hate offences", "hate and discrimination"},
	Extremism:          {"extremism", "Extremism", "promotion of terrorism, of terrorist ideologies, violence or intolerance", "The Prevent duty asks for appropriate filtering against it.", neverPupils, "terrorism", "extremism"},
	Violence:           {"violence", "Violence and gore", "graphic violence, shock images, dangerous stunts", "It frightens and hardens children.", neverPupils, "inciting violence", "harmful content"},
	Weapons:            {"weapons", "Weapons", "sale or making of guns, knives, explosives", "Children must not buy or build them.", neverPupils, "selling illegal drugs or weapons", "harmful content"},
	Drugs:              {"drugs", "Drugs", "sale, making or promotion of illegal drugs and false pharmacies", "It promotes an unlawful and harmful act.", neverPupils, "selling illegal drugs or weapons", "drugs and substance abuse"},
	AlcoholTobacco:     {"alcohol_tobacco", "Alcohol, tobacco and vaping", "shops for and promotion of alcohol, tobacco and vapes", "They may not be sold to children.", neverPupils, "", "drugs and substance abuse"},
	SelfHarm:           {"self_harm", "Self-harm and suicide", "promotion of or instruction in self-harm and suicide", "It puts a child's life at risk.", neverAnyone, "promoting suicide", "self-harm, suicide and eating disorders"},
	EatingDisorders:    {"eating_disorders", "Eating disorders", "promotion of eating disorders", "It puts a child's health at risk.", neverPupils, "", "self-harm, suicide and eating disorders"},
	Misogyny:           {"misogyny", "Misogyny and violence against women and girls", "promotion of contempt for or violence against women and girls", "Guidance names it as a harm schools must keep out.", neverPupils, "", "violence against women and girls"},
	Bullying:           {"bullying", "Bullying and harassment", "sites made to shame, rate or harass people", "It carries bullying beyond the playground.", neverPupils, "", "harmful content"},
	Misinformation:     {"misinformation", "Misinformation and conspiracy", "sites that spread false news or conspiracy theories as fact", "Guidance names it as a safeguarding harm.", neverPupils, "", "misinformation and disinformation"},
	Gambling:           {"gambling", "Gambling", "betting, casinos, lotteries, skin gambling", "It is unlawful for children and harms them.", neverPupils, "", "gambling"},
	Malware:            {"malware", "Malware", "sites that spread or steer harmful software", "It breaks the school's machines and takes its data.", neverAnyone, "", "malware and hacking"},
	Phishing:           {"phishing", "Phishing", "false sign-in pages and traps for personal details", "It takes passwords and money.", neverAnyone, "fraud", "malware and hacking"},
	Hacking:            {"hacking", "Hacking", "tools and forums for breaking into systems, stress-testing for hire", "Using them is an offence, and pupils try them.", neverPupils, "", "malware and hacking"},
	Piracy:             {"piracy", "Piracy", "unlicensed films, music, books and software; torrent indexes", "It is unlawful and carries malware and pornographic adverts.", neverAnyone, "", "piracy"},
	VPNProxy:           {"vpn_proxy", "VPN and filter avoidance", "VPN services, web proxies, anonymisers, Tor", "Through it any other category is reached unseen.", neverPupils, "", "malware and hacking"},
	DoH:                {"doh", "Encrypted DNS", "public DNS-over-HTTPS and DNS-over-TLS resolvers", "It takes name look-ups past the filter.", neverPupils, "", "malware and hacking"},
	RemoteAccess:       {"remote_access", "Remote access", "remote control of computers", "A stranger, or a pupil at home, could take over a school device.", neverPupils, "", "malware and hacking"},
	Dating:             {"dating", "Dating", "dating and meeting services", "It is for adults and a way to reach children.", adultsOnly, "", "harmful content"},
	Gaming:             {"gaming", "Games", "games, game shops and game communities", "It takes lesson time and opens chat with strangers.", "blocked for pupils in lessons; the school may open it in clubs", "", ""},
	EducationalGames:   {"educational_games", "Educational games", "games made for learning", "They are lessons. They stay open even if a games list holds them.", openAll, "", ""},
	SocialNetworks:     {"social_networks", "Social networks", "services for sharing with and following people; minimum age 13", "Primary pupils are under the services' own age limit.", adultsOnly, "", "harmful content"},
	Forums:             {"forums", "Forums and blogs", "discussion boards and personal blogs", "Mostly harmless, unmoderated in places.", supervisedUse, "", ""},
	Chat:               {"chat", "Chat and messaging", "messaging, voice and video chat", "Strangers reach children through it.", adultsOnly, "", "harmful content"},
	Webmail:            {"webmail", "Webmail", "personal e-mail in the browser", "It is a way past the school's own mail, which is checked.", adultsOnly, "", ""},
	Streaming:          {"streaming", "Streaming", "films, television, music and video sites with content for all ages", "Content is rated for adults as well, and live video cannot be checked.", adultsOnly, "", ""},
	YouTube:            {"youtube", "YouTube", "YouTube, the video site that can be held to Restricted Mode", "Much teaching material is there; Restricted Mode is forced for pupils.", "KS2 in strict mode; not for EYFS and KS1", "", ""},
	AIChatbot:          {"ai_chatbot", "AI chat", "general assistants that answer in free text", "Most ask for 13 or 18 years, and answers cannot be checked.", adultsOnly, "", ""},
	AICompanion:        {"ai_companion", "AI companions", "chat partners that play a character or a relationship", "They draw children into intimate or harmful talk.", neverPupils, "", "harmful content"},
	Shopping:           {"shopping", "Shopping", "shops, auctions and classifieds", "Rarely harmful; distracting.", supervisedUse, "", ""},
	Ads:                {"ads", "Adverts and tracking", "advertising and tracking services", "Adverts are not made for children and tracking them is wrong.", neverPupils, "", ""},
	FileSharing:        {"file_sharing", "File sharing", "public file hosting and transfer", "Files arrive there unchecked.", adultsOnly, "", "piracy"},
	Shortener:          {"shortener", "URL shorteners", "short addresses that hide where they lead", "The place behind is not seen before the click.", supervisedUse, "", ""},
	WebHosting:         {"web_hosting", "Web hosting and site builders", "places where anyone can publish a page", "Each site differs: judged by its own name where one is known.", supervisedUse, "", ""},
	Translation:        {"translation", "Translation", "translators, some of which fetch whole pages", "Useful in lessons; a whole-page translator is also a web proxy.", supervisedUse, "", ""},
	SearchEngines:      {"search_engines", "Search engines", "search engines that can be held to safe search", "Needed in lessons; safe search is forced for pupils.", openAll, "", ""},
	UnsafeSearch:       {"unsafe_search", "Search engines without enforceable safe search", "search engines whose safe search the network cannot hold", "Images and previews of anything at all.", neverPupils, "", "pornography"},
	ChildSearch:        {"child_search", "Search engines for children", "search engines made for children", "The right place for a young child's search.", openAll, "", ""},
	SexEducation:       {"sex_education", "Sex and relationships education", "age-appropriate teaching about bodies, sex and relationships", "The curriculum asks for it. It stays open even if a list calls it adult.", openAll, "", ""},
	Health:             {"health", "Health", "health services and advice", "Everyone may need it, and in private.", openAll, "", ""},
	Education:          {"education", "Education", "schools, universities, curricula, learning sites, museums", "It is what the line is for.", openAll, "", ""},
	News:               {"news", "News", "newspapers and broadcasters", "Pupils learn to read news; some of it is upsetting.", supervisedUse, "", ""},
	Finance:            {"finance", "Banking and finance", "banks, payments, insurance", "Private to the person; never inspected.", openAll, "", ""},
	Government:         {"government", "Government", "government and public services", "Everyone may need it.", openAll, "", ""},
	Charity:            {"charity", "Charities and faith", "charities, faith and community groups", "Part of school life; often blocked by mistake.", openAll, "", ""},
	Children:           {"children", "Children's sites", "entertainment and activities made for young children", "Made for them.", openAll, "", ""},
	Reference:          {"reference", "Reference", "encyclopaedias, dictionaries, maps", "Needed in lessons.", openAll, "", ""},
	Sport:              {"sport", "Sport", "sport news and clubs", "Harmless.", openAll, "", ""},
	Jobs:               {"jobs", "Jobs", "job search and careers", "Staff and careers lessons use it.", openAll, "", ""},
	Travel:             {"travel", "Travel", "travel, transport and places to stay", "Trips are planned with it.", openAll, "", ""},
	Updates:            {"updates", "Updates", "operating-system, browser and antivirus updates", "A device that cannot update is not safe.", "open for everyone", "", ""},
	Infrastructure:     {"infrastructure", "Infrastructure", "networks, time, certificates, fonts, libraries that other sites need", "Blocking it breaks unrelated sites.", "open for everyone", "", ""},
	HelpLine:           {"helpline", "Help-lines", "help-lines and counselling for children and adults in need", "A child's help-line always works, and no record is kept of who used it.", "open for everyone", "", ""},
	SchoolServices:     {"school_services", "School services", "systems the school itself uses: classroom, parents, records, safeguarding", "The school runs on them.", openAll, "", ""},
	Cryptocurrency:     {"cryptocurrency", "Cryptocurrency", "coin exchanges and promotion", "Speculation is not for children.", adultsOnly, "", "gambling"},
}
