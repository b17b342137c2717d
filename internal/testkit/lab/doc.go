// Package lab is a school in network namespaces: pupils, staff, guests and IT on
// networks of their own, the gateway with the real schoolgate binary and its
// firewall, and an internet with name servers, sites and every port open. Tests
// use it to show what a network can show: that there is no way round.
//
// Nothing leaves the machine: each namespace is joined to the gateway's by a veth
// pair and to nothing else, and all addresses are private or from documentation
// ranges. It needs root, iproute2 and nftables, and skips loudly without them. A test
// that is killed leaves nothing behind (TestKilledLabLeavesNothing).
//
// A lab in which a forbidden way never worked proves nothing: Open takes the
// firewall away, and the same probes must then come through.
//
// # The bypass catalogue
//
// Each row of the catalogue (S2) is tried here, over IPv4 and IPv6, but for those
// that a network adds nothing to: these name the test that shows them.
//
//	Y1 other DNS servers          TestNoWayRound: every name server is the box
//	Y2 DoT, DoQ                   TestNoWayRound: what no door carries; what is dropped is on record
//	Y3 DoH by name, by address    TestNoWayRound: DNS over HTTPS
//	Y4 DoH at an unknown site     TestCatalogue: Y4
//	Y5, Y11 DDR, canaries, relays TestCatalogue: Y5, Y11
//	Y6 ECH                        TestCatalogue: Y6; GREASE: Chromium
//	Y7 QUIC, HTTP/3               TestNoWayRound: what no door carries; TestCatalogue: Y6 (records), Y14 looked into (Alt-Svc)
//	Y8 VPNs                       TestNoWayRound: what no door carries; OpenVPN on 443: proxy.TestTransparentNotTLS
//	Y9 SSH, SOCKS, odd ports      TestNoWayRound: the proxy carries to nowhere else; SSH on 443: TestCatalogue: S2 five different tries
//	Y10 Tor, obfs4, meek          TestNoWayRound: what no door carries; TestCatalogue: Y10 (relays, made-up names, noise, fronts)
//	Y12 web proxies               TestCatalogue: Y12
//	Y13 pages fetched by others   TestCatalogue: Y13
//	Y14 search engines            TestCatalogue: Y14; all 190 addresses of Google: cmd/schoolgate.TestSafeSearchOfEveryEngine
//	Y15 addresses as hosts        TestNoWayRound: bare addresses; TestCatalogue: Y15
//	Y16, Y17 written forms        TestCatalogue: Y16, Y17; UTS 46: policy's tests of ParseHost
//	Y18 odd requests              TestCatalogue: Y18
//	Y19 names that disagree       TestCatalogue: Y19, Y10 (inside)
//	Y20 hellos in pieces, no name TestNoWayRound: no server name; TestCatalogue: Y20
//	Y21 another address           TestNoWayRound: the origin of the name answers
//	Y22 other ports               TestNoWayRound: what no door carries
//	Y23 IPv6, 6to4, Teredo        every row again over IPv6; TestNoWayRound: other protocols
//	Y24 hotspots                  out of reach of a network (docs/decisions/0050-gateway.md)
//	Y25 allowed sites as carriers TestCatalogue: Y25
//	Y26 data:, blob:, srcdoc      TestCatalogue: Chromium, a page of frames
//	Y27 redirects, frames         TestCatalogue: Y27; meta refresh and frames: Chromium
//	Y28 WebSockets, WebRTC        TestCatalogue: Y28; UDP: TestNoWayRound: what no door carries
//	Y29 data in names             TestCatalogue: Y29
//	Y30 no settings               TestNoWayRound: browsing without settings; TestCatalogue: Chromium
//	Y31 proxies inside HTTP/2     TestCatalogue: Y31; odd pseudo-headers: proxy.TestPseudoHeaders
//	Y32 the clock                 of the box alone, no device has a say: the policy's tests of the timetable
//	Y33 somebody else's address   TestNoWayRound: an address of another network; forged headers: TestCatalogue: T20
//	Y34 what is open              TestCatalogue: Y34
//	Y35 a flood                   TestCatalogue: Y35, for seconds; for longer and measured: proxy.TestUnderPressure
//	Y36 asking to unlock          TestCatalogue: Y36; the button of the block page: cmd/schoolgate's tell_test.go
//	T7 smuggling                  TestNoWayRound, TestCatalogue: T7; all pairs: proxy.TestSmuggling, TestSmugglingInside
//	S2 one alert, one mail        TestCatalogue: S2
//	4.6 proxy.pac, WPAD           TestCatalogue: Chromium
package lab
