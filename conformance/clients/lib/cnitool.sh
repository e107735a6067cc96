# Sourced by the scenarios that play the runtime with the official cnitool.
export CNI_PATH=/opt/cni/bin NETCONFPATH=/etc/cni/net.d

# use_conflist FILE: makes it the only configured network; its name goes to $network.
use_conflist() {
  rm -f /etc/cni/net.d/*
  cp "$1" /etc/cni/net.d/
  network=$(jq -r .name "$1")
}

# container NAME COMMAND [CAPABILITIES]: cnitool's add, check or del for the namespace NAME.
container() { CAP_ARGS=${3-} "$CNITOOL" "$2" "$network" "/run/netns/$1"; }
whole_network() { "$CNITOOL" "$1" "$network" /run/netns/outside; }

# new_container NAME [CAPABILITIES]: a namespace, and a successful add whose result stays in $work/NAME.json.
new_container() {
  ip netns add "$1"
  container "$1" add "${2-}" >"$work/$1.json"
}
drop_container() { # drop_container NAME [CAPABILITIES]
  container "$1" del "${2-}" && end_namespace "$1"
}
# A namespace lives as long as a process in it, whatever its name.
end_namespace() {
  ip netns pids "$1" | xargs -r kill -KILL
  ip netns delete "$1"
}
inside() { in_network "/run/netns/$1" "${@:2}"; }
serve_in() { inside "$1" busybox httpd -p 80 -h $root/www; }
# address NAME [4 or 6]: the first address of that family in the result, without its prefix length.
address() {
  local separator=.
  [ "${2-4}" = 4 ] || separator=:
  jq -er --arg separator "$separator" '[.ips[].address | select(contains($separator)) | sub("/.*"; "")][0]' "$work/$1.json"
}

container_id() { grep -h -- "\"/run/netns/$1\"" /var/lib/cni/results/* | jq -er .containerId; }

# collect_garbage NAME...: GC of every plugin in the chain with these containers as the valid attachments, as a runtime that
# keeps its own list sends it (cnitool can only declare all invalid).
collect_garbage() {
  local valid plugin
  valid=$(for name in "$@"; do container_id "$name"; done | jq -R '{containerID: ., ifname: "eth0"}' | jq -sc .)
  jq -c --argjson valid "$valid" \
    '. as $list | .plugins[] + {name: $list.name, cniVersion: $list.cniVersion, "cni.dev/valid-attachments": $valid, "cni.dev/attachments": $valid}' \
    /etc/cni/net.d/*.conflist |
    while read -r plugin; do
      CNI_COMMAND=GC "$CNI_PATH/$(jq -r .type <<<"$plugin")" <<<"$plugin" || return 1
    done
}
