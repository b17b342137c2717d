#!/bin/sh
# bench-dns.sh: the DNS door beside dnsdist and unbound from Debian, with dnsperf,
# in turns, medians of three rounds, and beside a responder of ours that looks at
# nothing (bare): what the kernel takes. As root it installs what it needs. Every
# server gets core 0, the load the last core. It takes about ten minutes.
#
#   SCHOOLGATE_BENCH_LISTED=5000000   names on the list (230000)
#   SCHOOLGATE_BENCH_CORES=0,1        cores of the servers (0)
#   SCHOOLGATE_BENCH_LOAD=misses      only warm, rush, misses or 5000/s
#   SCHOOLGATE_BENCH_PEER=schoolgate,bare  only these servers
#   SCHOOLGATE_BENCH_ROUNDS=3         rounds after the one that warms up
#   SCHOOLGATE_BENCH_PROFILE=cpu.prof a profile of ours
set -eu
cd "$(dirname "$0")/.."
for tool in dnsperf dnsdist unbound; do
	command -v $tool >/dev/null && continue
	[ "$(id -u)" = 0 ] || { echo "bench-dns: $tool is missing: apt-get install dnsperf dnsdist unbound" >&2; exit 1; }
	apt-get update >/dev/null
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends dnsperf dnsdist unbound >/dev/null
	break
done
# The rush keeps more questions under way than the usual receive buffer holds, and
# dnsdist takes no other: a question lost there would measure the wait for it.
buffer=$(sysctl -n net.core.rmem_default)
if [ "$(id -u)" = 0 ] && sysctl -qw net.core.rmem_default=4194304; then
	trap 'sysctl -qw net.core.rmem_default="$buffer"' EXIT
	trap 'exit 130' INT TERM
else
	echo "bench-dns: net.core.rmem_default stays $buffer: read nothing into the rush" >&2
fi
SCHOOLGATE_BENCH_DNS=1 go test -count=1 -run '^TestPeers$' -v -timeout 30m . 2>&1
