# Sourced by scenarios with networks of others, after cnitool.sh: their plugins in a folder of their own, pods' arguments,
# and calls of single plugins, for lists that switch CHECK off or whose version has no GC.

# use_plugins_of_others FOLDER: behind podwire's, as `install` would put both into one folder.
use_plugins_of_others() {
  export CNI_PATH=/opt/cni/bin:$1
  official=$(dirname "$CNITOOL")/official
}

pod_arguments() { echo "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=$1;K8S_POD_UID=00000000-0000-0000-0000-000000000001"; }
container() { CNI_ARGS=$(pod_arguments "$1") CAP_ARGS=${3-} "$CNITOOL" "$2" "$network" "/run/netns/$1"; }

# container_of NAME: as cnitool calls it.
container_of() { echo "cnitool-$(printf '/run/netns/%s' "$1" | sha512sum | cut -c1-20)"; }

# plugin_of_pod NAME PLUGIN COMMAND [CAPABILITIES]: one plugin of the list, with the pod's result where the command has
# it and it was not forgotten.
plugin_of_pod() {
  local configuration result=$work/$1.json
  [[ $3 = STATUS || ! -e $result ]] && result=/dev/null
  configuration=$(jq -c --arg type "$2" --arg command "$3" --argjson capabilities "${4:-null}" --slurpfile result "$result" '. as $list
    | [.plugins[] | select(.type == $type)][0]
    | . as $plugin
    | {name: $list.name, cniVersion: (if $command == "STATUS" then "1.1.0" else $list.cniVersion end)} + .
    + (if $capabilities then {runtimeConfig: ($capabilities | with_entries(select($plugin.capabilities[.key])))} else {} end)
    + (if $result[0] then {prevResult: $result[0]} else {} end)' /etc/cni/net.d/*.conflist) &&
    CNI_COMMAND=$3 CNI_CONTAINERID=$(container_of "$1") CNI_NETNS=/run/netns/$1 CNI_IFNAME=eth0 CNI_ARGS=$(pod_arguments "$1") \
      "/opt/cni/bin/$2" <<<"$configuration"
}

# forget NAME: its result is lost, also for cnitool.
forget() {
  rm "$work/$1.json"
  grep -l "\"/run/netns/$1\"" /var/lib/cni/results/* | xargs rm
}

# gc_of_plugin PLUGIN NAME...: GC of one plugin of the list with these pods as the valid ones.
gc_of_plugin() {
  local plugin=$1 valid
  shift
  valid=$(for name in "$@"; do container_of "$name"; done | jq -R '{containerID: ., ifname: "eth0"}' | jq -sc .)
  jq -c --arg type "$plugin" --argjson valid "$valid" '. as $list | .plugins[] | select(.type == $type)
    + {name: $list.name, cniVersion: "1.1.0", "cni.dev/valid-attachments": $valid, "cni.dev/attachments": $valid}' /etc/cni/net.d/*.conflist |
    CNI_COMMAND=GC "/opt/cni/bin/$plugin"
}

# same_as_official NAME CAPABILITIES: before there are others, a pod that is attached and detached by the list, once with podwire's plugins and
# once with the official ones, gets the same result, but for names and hardware addresses that are made up.
same_as_official() {
  check 'a pod attached and detached' attached_once "$1" "$2" "$CNI_PATH" podwire
  check 'and so with the official plugins' attached_once "$1" "$2" "$official:${CNI_PATH#*:}" official
  check 'has the same result' diff -u $work/official.result $work/podwire.result
}
attached_once() {
  local CNI_PATH=$3
  rm -rf /var/lib/cni/networks /run/cni
  new_container "$1" "$2" || return 1
  jq --sort-keys . "$work/$1.json" | sed -E 's/"(veth)[0-9a-f]+"/"\1"/; s/"([0-9a-f]{2}:){5}[0-9a-f]{2}"/"mac"/' >"$work/$4.result"
  drop_container "$1" "$2"
}
