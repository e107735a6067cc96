# Sourced by every scenario: named checks, waiting, and what must be gone at the end.
#
# A check prints one line, "ok NAME" or "FAIL NAME :: reason", and the scenario goes on. `finish` prints "done PASSED FAILED".
set -uo pipefail
passed=0
failed=0
work=/run/work
mkdir -p $work

pass() { passed=$((passed + 1)); echo "ok $1"; }
skip() { echo "skip $1 :: $2"; }
fail() { failed=$((failed + 1)); echo "FAIL $1 :: $(tr -s '\n' ' ' <<<"$2" | cut -c1-600)"; }
finish() { echo "done $passed $failed"; exit $((failed > 0)); }

# check NAME COMMAND...: the command must succeed.
check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then pass "$name"; else fail "$name" "$*: exit $?: $output"; fi
}

# refuse NAME COMMAND...: the command must fail.
refuse() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then fail "$name" "$*: should have failed: $output"; else pass "$name"; fi
}

# beyond NAME COMMAND...: like check, for what the official suite is known to leave behind. With OFFICIAL=1 a failure is only noted.
beyond() {
  if [ -n "${OFFICIAL-}" ] && ! "${@:2}" >/dev/null 2>&1; then echo "note $1: not in the official suite"; else check "$@"; fi
}

# contains PATTERN COMMAND...: the command's output matches the extended regular expression.
contains() {
  local pattern=$1 output
  shift
  output=$("$@" 2>&1) || true
  grep -qE -- "$pattern" <<<"$output" || { echo "no /$pattern/ in: $output"; return 1; }
}

# lacks PATTERN COMMAND...: the command succeeds and nothing in its output matches.
lacks() {
  local pattern=$1 output
  shift
  output=$("$@" 2>&1) || { echo "$*: exit $?: $output"; return 1; }
  ! grep -E -- "$pattern" <<<"$output" || return 1
}

# eventually COMMAND...: repeats the command until it succeeds; after a minute its last failure stands.
eventually() {
  local deadline=$((SECONDS + 60)) output
  until output=$("$@" 2>&1); do
    [ $SECONDS -lt $deadline ] || { echo "$output"; return 1; }
    sleep 0.05
  done
  echo "$output"
}

# in_network NAMESPACE COMMAND...: runs a host program, or one of the functions exported below, in a network namespace (a path).
in_network() { nsenter --net="$1" bash -c '"$@"' bash "${@:2}"; }
outside() { in_network /run/netns/outside "$@"; }
# The time is for a busy machine: who expects no answer where packets are dropped gives a shorter one.
fetch() { curl --globoff --silent --show-error --max-time 15 "$@"; }

# Sends a line by UDP and prints the answer. udp_ask ADDRESS:PORT (socat's notation, so [::1]:53 for IPv6); prints nothing if none comes.
udp_ask() { echo ping | socat -t 1 -T 1 - "UDP:$1"; }

# Answers every datagram with the address it came from. Runs until the cell ends. udp_server PORT, in the current namespace.
udp_server() { socat -T 2 "UDP4-RECVFROM:$1,fork" 'SYSTEM:read -r question; echo source=$SOCAT_PEERADDR'; }
export -f fetch udp_ask udp_server

# A web server on the neighbour whose /cgi-bin/who tells the source address it saw.
start_outside_web() {
  outside busybox httpd -f -p 8000 -h $work/root/www &
  eventually outside fetch http://127.0.0.1:8000/ >/dev/null
}

leases() {
  mkdir -p /var/lib/cni/networks /run/cni-ipam-state
  find /var/lib/cni/networks /run/cni-ipam-state -type f ! -name 'last_reserved_ip*' ! -name lock
}
cached_results() { find /var/lib/cni -path '*results*' -type f; }
host_ends() { ip -oneline link show type veth | grep -v ' eth0@' || true; }
shaping_links() { ip -oneline link show type ifb; }
namespaces() { ip netns list | grep -v '^outside'; }
rules() { nft list ruleset; }

empty() {
  local output
  output=$("$@" 2>/dev/null) || true
  [ -z "$output" ] || { echo "left over: $output"; return 1; }
}

# nothing_left SCENARIO ADDRESSES: no state of any container remains; ADDRESSES is a pattern for container addresses in rules.
nothing_left() {
  check "$1: no lease" empty leases
  check "$1: no cached result" empty cached_results
  check "$1: no host end of a pair" eventually empty host_ends
  check "$1: no shaping link" empty shaping_links
  check "$1: no namespace" eventually empty namespaces
  no_rules_left "$1" "$2"
}
no_rules_left() { check "$1: no rule" lacks "$2|CNI-[0-9a-f]{24}|CNI-(DN|SN)-" rules; }
