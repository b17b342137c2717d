#!/bin/sh
# bench-proxy.sh: the HTTP(S) door beside squid from Debian and a bare Go proxy, in
# turns, in a network namespace of its own. As root it installs what it needs; all
# run on the same cores as the load, so read the ratios.
#
#   bench-proxy.sh -short             under a minute: fewer names, shorter turns
#   SCHOOLGATE_BENCH_LISTED=6800000   names on the lists
#   SCHOOLGATE_BENCH_SECONDS=1.5      length of a turn
#   SCHOOLGATE_BENCH_ROUNDS=3         turns of each, the median counts
#   SCHOOLGATE_BENCH_LINES=kept,bulk  only the lines whose names hold one of these
#   SCHOOLGATE_BENCH_PEER=ours,squid  only these of ours, squid, bare and before
#   SCHOOLGATE_BENCH_BEFORE=FILE      another binary of ours, which takes turns with the rest
set -eu
cd "$(dirname "$0")"
[ "$(id -u)" = 0 ] || { echo "bench-proxy: root is needed for a network namespace" >&2; exit 1; }
missing=""
[ -x /usr/lib/squid/security_file_certgen ] || missing="$missing squid-openssl"
command -v nft >/dev/null || missing="$missing nftables"
command -v ip >/dev/null || missing="$missing iproute2"
if [ -n "$missing" ]; then
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086 # the list is meant to be split
	apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
CGO_ENABLED=0 go build -trimpath -o "$dir/schoolgate" schoolgate/cmd/schoolgate
go test -c -o "$dir/bench.test" .
# Debian starts squid on installing it; that one is another's business and idle.
SCHOOLGATE_BENCH_PROXY="$dir/schoolgate" unshare --net --mount sh -c 'ip link set lo up && exec "$@"' sh \
	"$dir/bench.test" -test.run '^TestPeers$' -test.v -test.timeout 20m ${1:+-test.short}
