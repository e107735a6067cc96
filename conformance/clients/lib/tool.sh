# Sourced by the scenarios that look with podwire, the program for people, at what a client has made, with whichever suite.
tool() { "$PODWIRE" "$@"; }
in_terminal() { script -qec "$PODWIRE $*" /dev/null; }
# The files of state are an hour old: what is younger than ten minutes is never taken.
grow() { mkdir -p /run/podwire && find /run/podwire /var/lib/cni -type f -exec touch -d '1 hour ago' {} +; }
everything() { leases; cached_results; rules; ip -oneline link; }

# told NAME: "NETWORK INTERFACE ADDRESS PORTS STATE: HOW" of each attachment, as ps says it, of a container by its name, or by
# its ID where nothing says its name any more.
told() {
  tool ps --json | jq -er --arg name "$1" '.attachments[] | select(.name == $name or .containerID == $name) |
    "\(.network) \(.ifName) \(.addresses[0]) \(.ports | map("\(.host)->\(.container)/\(.protocol)") | join(",")) \(.state): \(.how)"'
}
told_port() { # told_port PORT: "TO NAME STATE RULE HITS CONFLICTS"
  tool ports --json | jq -er --arg port "$1" '.ports[] | select(.port == $port) |
    "\(.to) \(.holder.name) \(.holder.state) rule=\(.hasRule) hits=\(.hits // .whyUncounted) \([.listener, .rivals[]] | map(select(.)))"'
}
told_lease() { # told_lease ADDRESS: "NETWORK NAME STATE"
  tool leases --json | jq -er --arg address "$1" '.leases[] | select(.address == $address) | "\(.network) \(.name) \(.state)"'
}
told_range() { # told_range NETWORK: "USED DEAD"
  tool leases --json | jq -er --arg network "$1" '.ranges[] | select(.network == $network) | "\(.used) \(.dead)"'
}
uncounted_or() { # uncounted_or NUMBER: what hits are, where rules of this suite count, and where they do not.
  if [ -n "${OFFICIAL_PLUGINS-}" ]; then echo "hits=$1"; else echo 'hits=rules of nftables count nothing'; fi
}

# names_asked SOCKET NAME: the runtime there tells the name, where no file does: leases alone have none.
names_asked() {
  mkdir -p $work/bare/var/lib/cni
  cp -r /var/lib/cni/networks $work/bare/var/lib/cni/
  check 'leases alone have no name' lacks "$2" tool leases --root $work/bare
  check 'its runtime tells it' contains "$2 +eth0" tool leases --root $work/bare --socket "$1"
  check 'and ps has it of its runtime' contains "\"name\": \"$2\"" tool ps --json --socket "$1"
  check 'nothing is wrong with that socket' contains '"unused": \[\]' tool ps --json --socket "$1"
}

# shows NAME: what a person sees of a container in a terminal, in which headings are bold unless NO_COLOR is set.
shows() {
  check "ps shows $1 in a terminal" contains "$1 +eth0 .* alive " in_terminal ps
  check 'its headings are bold' contains $'^\e\\[1mNETWORK +CONTAINER' in_terminal ps
  check 'with NO_COLOR nothing is' lacks $'\e' env NO_COLOR=1 script -qec "$PODWIRE ps" /dev/null
  check "leases shows $1 in a terminal" contains "$1 +eth0 .* alive " in_terminal leases
  check "ports shows $1 in a terminal" contains "$1 +yes .* alive " in_terminal ports
}

# plans FILE ADDRESS: plan says which address the next container gets, and changes nothing; lint finds nothing wrong.
plans() {
  local before
  before=$(everything)
  check 'plan gives the next address' contains "\"address\": \"$2\"" tool plan "$1"
  check 'plan has it in JSON' contains "\"$2\"" tool plan "$1" --json
  check 'plan changes nothing' test "$(everything)" = "$before"
  check 'lint finds nothing' contains '0 errors, 0 warnings' tool lint
  check 'lint finds nothing in a terminal' in_terminal lint
  check 'lint finds nothing, in JSON' contains '"findings": \[\]' tool lint --json
}

# collects NAME...: what is dead waits until it is ten minutes old, then gc takes it and no more.
collects() {
  local name
  check 'gc lets the young wait' contains "left for now: .*younger than 10 minutes" tool gc
  grow
  refuse 'gc --dry-run would take something' tool gc --dry-run
  for name in "$@"; do
    check "gc --dry-run lists $name" contains "$name +eth0" tool gc --dry-run
    check "gc --dry-run has $name in JSON" contains "\"name\": \"$name\"" tool gc --dry-run --json
  done
  check 'gc' tool gc
  for name in "$@"; do refuse "$name is gone" told "$name"; done
  check 'gc has nothing more to do' contains 'Nothing here provably belongs to nobody' in_terminal gc --dry-run
}
