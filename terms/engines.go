package terms

import (
	_ "embed"
	"strings"
)

// engine is one search engine, and where in its addresses the words are. Only the
// addresses of result pages are named: suggestion calls (/complete/search,
// /AS/Suggestions, /ac/) carry half-words and are passed over, as is all else.
type engine struct {
	name   string
	hosts  string // and what lies below them
	paths  string // as path.Match has them, without a slash at the end
	params string // the words are in all that are there
	within string // addresses that have the words in the path, behind one of these
	tail   string // what such words end with besides
	json   string // where a search is posted as JSON, in the field query
}

// engines is the table of REQUIREMENTS 4.7, the children's engines of
// child-search-engines.csv, and the sites schools meet most that search themselves.
var engines = []engine{
	{name: "Google", hosts: googleHosts, paths: "/search /webhp /imghp /ai /cse /custom /scholar /store/search /m/search /images /videosearch /shopping /books", params: "q as_q as_epq as_oq", within: "/maps/search/"},
	{name: "Bing", hosts: "bing.com", paths: "/search /images/search /videos/search /news/search /shop /images/feed /videos/riverview/relatedvideo /maps/search /copilotsearch /chat", params: "q"},
	{name: "DuckDuckGo", hosts: "duckduckgo.com duck.com", paths: "/ /html /lite", params: "q"},
	{name: "Brave", hosts: "search.brave.com", paths: "/search /images /videos /news /goggles /ask", params: "q"},
	{name: "Ecosia", hosts: "ecosia.org", paths: "/search /images /videos /news /chat", params: "q"},
	{name: "Qwant", hosts: "qwant.com qwantjunior.com", paths: "/ /images /videos /news /web", params: "q"},
	{name: "Mojeek", hosts: "mojeek.com mojeek.co.uk", paths: "/search", params: "q"},
	{name: "AOL", hosts: "search.aol.com search.aol.co.uk", paths: "/search /aol/search /aol/image /aol/video", params: "q query p"},
	{name: "Ask", hosts: "ask.com search.ask.com", paths: "/web /search /pictures /youtube", params: "q"},
	{name: "Startpage", hosts: "startpage.com startpage.co.uk ixquick.com", paths: "/do/search /sp/search /search /do/dsearch /do/metasearch.pl", params: "query q"},
	{name: "Yahoo", hosts: "search.yahoo.com yahoo.co.jp", paths: "/search /search/images /search/video /search/news /web /image /images /video /mobile/s /yhs/search /yhs/*/search", params: "p"},
	{name: "Yandex", hosts: "yandex.com yandex.ru yandex.com.tr yandex.kz yandex.by yandex.uz yandex.eu yandex.fr ya.ru", paths: "/search /search/touch /search/smart /images/search /images /video/search /yandsearch", params: "text"},
	{name: "Baidu", hosts: "baidu.com", paths: "/s /search/index /search /sf/vsearch /from=*/s", params: "wd word"},
	{name: "YouTube", hosts: "youtube.com youtubekids.com youtubei.googleapis.com youtube.googleapis.com", paths: "/results /search /@*/search /channel/*/search /c/*/search /user/*/search", params: "search_query q query", within: "/hashtag/", json: youtubeSearch},
	{name: "Wikipedia", hosts: "wikipedia.org wiktionary.org wikimedia.org wikibooks.org wikiquote.org", paths: "/w/index.php /wiki/*:*", params: "search", within: "/wiki/Special:Search/"},
	{name: "Amazon", hosts: "amazon.co.uk amazon.com amazon.de amazon.fr amazon.ie amazon.es amazon.it amazon.nl amazon.pl amazon.in amazon.ca amazon.com.au", paths: "/s /s/* /s/*/* /*/s /gp/search /gp/aw/s", params: "k field-keywords keywords"},
	{name: "eBay", hosts: "ebay.co.uk ebay.com ebay.ie ebay.de ebay.fr ebay.pl", paths: "/sch /sch/* /sch/*/* /sch/*/*/* /shop/*", params: "_nkw"},
	{name: "TikTok", hosts: "tiktok.com", paths: "/search /search/* /*/search", params: "q", within: "/tag/ /discover/"},
	{name: "Reddit", hosts: "reddit.com", paths: "/search /search.json /r/*/search", params: "q"},
	{name: "X", hosts: "x.com twitter.com", paths: "/search", params: "q"},
	{name: "Pixabay", hosts: "pixabay.com", within: "/images/search/ /photos/search/ /vectors/search/ /illustrations/search/ /videos/search/ /gifs/search/ /music/search/ /sound-effects/search/ /users/search/"},
	{name: "Giphy", hosts: "giphy.com", paths: "/search", params: "q", within: "/search/ /explore/ /stickers/search/ /clips/search/"},
	{name: "Tenor", hosts: "tenor.com", within: "/search/", tail: "-gifs -stickers -memes"},
	{name: "Unsplash", hosts: "unsplash.com", within: "/s/photos/ /s/illustrations/ /s/collections/ /s/users/"},
	{name: "Pexels", hosts: "pexels.com", within: "/search/videos/ /search/users/ /search/"},
	{name: "Shutterstock", hosts: "shutterstock.com", paths: "/search", params: "searchterm", within: "/search/ /video/search/"},
	{name: "Getty Images", hosts: "gettyimages.co.uk gettyimages.com istockphoto.com", paths: "/search/2/image /search/2/film", params: "phrase", within: "/photos/"},
	{name: "Freepik", hosts: "freepik.com", paths: "/search", params: "query"},
	{name: "Flickr", hosts: "flickr.com", paths: "/search", params: "text q"},
	{name: "Imgur", hosts: "imgur.com", paths: "/search /search/*", params: "q"},
	{name: "DeviantArt", hosts: "deviantart.com", paths: "/search /search/*", params: "q"},
	{name: "Pinterest", hosts: "pinterest.com pinterest.co.uk", paths: "/search /search/pins /search/videos /search/boards", params: "q"},
	{name: "Instagram", hosts: "instagram.com", paths: "/explore/search /explore/search/keyword", params: "q"},
	{name: "Facebook", hosts: "facebook.com", paths: "/search /search/*", params: "q"},
	{name: "Tumblr", hosts: "tumblr.com", within: "/search/"},
	{name: "Twitch", hosts: "twitch.tv", paths: "/search", params: "term"},
	{name: "Roblox", hosts: "roblox.com", paths: "/discover /search/users /catalog /search/communities", params: "keyword Keyword"},
	{name: "Spotify", hosts: "open.spotify.com", within: "/search/"},
	{name: "Vimeo", hosts: "vimeo.com", paths: "/search", params: "q"},
	{name: "Dailymotion", hosts: "dailymotion.com", within: "/search/"},
	{name: "Quora", hosts: "quora.com", paths: "/search", params: "q"},
	{name: "Internet Archive", hosts: "archive.org", paths: "/search /search.php", params: "query"},
	{name: "BBC", hosts: "bbc.co.uk bbc.com", paths: "/search /bitesize/search /iplayer/search /sounds/search", params: "q"},
	{name: "Perplexity", hosts: "perplexity.ai", paths: "/search /search/new", params: "q"},
	{name: "ChatGPT", hosts: "chatgpt.com chat.openai.com", paths: "/ /search", params: "q"},
	{name: "Copilot", hosts: "copilot.microsoft.com", paths: "/ /chats", params: "q"},
	{name: "Claude", hosts: "claude.ai", paths: "/new", params: "q"},
	{name: "Gemini", hosts: "gemini.google.com", paths: "/app", params: "q prompt"},
	{name: "Netflix", hosts: "netflix.com", paths: "/search", params: "q"},
	{name: "Scratch", hosts: "scratch.mit.edu", paths: "/search/projects /search/studios", params: "q"},
	{name: "You.com", hosts: "you.com", paths: "/search", params: "q"},
	{name: "Swisscows", hosts: "swisscows.com", paths: "/web /*/web /*/images /*/video", params: "query"},
	{name: "Lycos", hosts: "search.lycos.com search.lycos.co.uk", paths: "/web", params: "q"},
	{name: "Dogpile", hosts: "dogpile.com info.com webcrawler.com metacrawler.com excite.com", paths: "/serp /search/web", params: "q"},
	{name: "Kagi", hosts: "kagi.com", paths: "/search /images /videos", params: "q"},
	{name: "Yep", hosts: "yep.com", paths: "/web /images /news", params: "q"},
	{name: "Presearch", hosts: "presearch.com", paths: "/search /images /videos", params: "q"},
	{name: "Gibiru", hosts: "gibiru.com", paths: "/results.html", params: "q"},
	{name: "Naver", hosts: "search.naver.com", paths: "/search.naver", params: "query"},
	{name: "Seznam", hosts: "search.seznam.cz", paths: "/", params: "q"},
	{name: "Sogou", hosts: "sogou.com", paths: "/web", params: "query"},

	// Shops of knives and vapes, stories, and the other engines that browsers offer.
	{name: "Etsy", hosts: "etsy.com", paths: "/search /*/search", params: "q"},
	{name: "Temu", hosts: "temu.com", paths: "/search_result.html /*/search_result.html", params: "search_key"},
	{name: "AliExpress", hosts: "aliexpress.com", paths: "/wholesale", params: "SearchText", within: "/w/wholesale-"},
	{name: "Vinted", hosts: "vinted.co.uk vinted.com", paths: "/catalog", params: "search_text"},
	{name: "Argos", hosts: "argos.co.uk", within: "/search/"},
	{name: "Steam", hosts: "store.steampowered.com", paths: "/search", params: "term"},
	{name: "Wattpad", hosts: "wattpad.com", within: "/search/"},
	{name: "Archive of Our Own", hosts: "archiveofourown.org", paths: "/works/search /works /tags/search /bookmarks/search", params: "work_search[query] work_search%5Bquery%5D tag_search[name] tag_search%5Bname%5D"},
	{name: "Urban Dictionary", hosts: "urbandictionary.com", paths: "/define.php", params: "term"},
	{name: "Fandom", hosts: "fandom.com", paths: "/ /wiki/*:Search /wiki/Special:Search", params: "s query search"},
	{name: "wikiHow", hosts: "wikihow.com", paths: "/wikiHowTo", params: "search"},
	{name: "Britannica", hosts: "britannica.com", paths: "/search /search/*", params: "query"},
	{name: "SoundCloud", hosts: "soundcloud.com", paths: "/search /search/*", params: "q"},
	{name: "Bluesky", hosts: "bsky.app", paths: "/search", params: "q"},
	{name: "Threads", hosts: "threads.net threads.com", paths: "/search", params: "q"},
	{name: "Grok", hosts: "grok.com", paths: "/", params: "q"},
	{name: "Ghostery", hosts: "ghosterysearch.com", paths: "/search", params: "query"},
	{name: "OceanHero", hosts: "oceanhero.today", paths: "/web /images /videos", params: "q"},
	{name: "Lilo", hosts: "search.lilo.org", paths: "/ /results.php", params: "q"},
	{name: "MetaGer", hosts: "metager.org metager.de", paths: "/meta/meta.ger3 /*/meta/meta.ger3", params: "eingabe"},
	{name: "Marginalia", hosts: "marginalia.nu marginalia-search.com", paths: "/search", params: "query"},

	{name: "Swiggle", hosts: "swiggle.org.uk", paths: "/ /search", params: "q"},
	{name: "Kiddle", hosts: "kiddle.co", paths: "/s.php", params: "q"},
	{name: "KidRex", hosts: "kidrex.org", paths: "/results /results.html", params: "q"},
	{name: "KidzSearch", hosts: "kidzsearch.com", paths: "/ /kzsearch.php /kzsearch2.php /images.php /search /search.html", params: "q"},
	{name: "Safe Search Kids", hosts: "safesearchkids.com", paths: "/ /search-results", params: "q"},
	{name: "Wacky Safe", hosts: "wackysafe.com", paths: "/ /search", params: "q"},
	{name: "Junior Safe Search", hosts: "juniorsafesearch.com", paths: "/ /search", params: "q"},
	{name: "Primary School ICT", hosts: "primaryschoolict.com", paths: "/ /search", params: "q"},
	{name: "Blinde Kuh", hosts: "blinde-kuh.de", paths: "/ /search /bksearch.cgi", params: "q query"},
	{name: "fragFINN", hosts: "fragfinn.de", paths: "/ /suche /search", params: "q s query"},
}

// googleHosts stands for every host of the file below.
const googleHosts = "google"

// googleDomains is every domain Google searches under, one a line (public fact:
// www.google.com/supported_domains).
//
//go:embed google-domains.txt
var googleDomains string

// byHost is the engines by host.
var byHost = func() map[string]*engine {
	m := map[string]*engine{}
	for i := range engines {
		e := &engines[i]
		hosts := strings.Fields(e.hosts)
		if e.hosts == googleHosts {
			hosts = hosts[:0]
			for line := range strings.Lines(googleDomains) {
				if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
					hosts = append(hosts, line)
				}
			}
		}
		for _, h := range hosts {
			m[h] = e
		}
	}
	return m
}()
