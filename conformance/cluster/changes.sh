# Sourced by `inside`: what is done to a cluster while its pods talk, and whether they lose a connection by it.

# A pod on the first and one on the last node, which talk to each other, each with servers of its own.
apply_talkers() {
  local node=${nodes%% *} name
  for name in talk-a talk-b; do
    jq -n --arg name $name --arg node "$node" --rawfile script "$CLUSTER/talk" '
      {image: "registry.k8s.io/agnhost:1", imagePullPolicy: "Never"} as $of |
      {apiVersion: "v1", kind: "Pod", metadata: {$name}, spec: {
        nodeName: $node, restartPolicy: "Never", terminationGracePeriodSeconds: 1, containers: [
          $of + {name: "web", args: ["netexec", "--http-port=8080", "--udp-port=-1"]},
          $of + {name: "echo", command: ["nc", "-ll", "-p", "7", "-e", "cat"]},
          $of + {name: "talk", command: ["sh", "-c", $script]}]}}' | k apply --filename - || return 1
    node=${nodes##* }
  done
  k wait --for=condition=Ready pod/talk-a pod/talk-b --timeout=60s
}

# begin_talking WITHOUT: to the other pod, to the host port of the first node, and to the outside; the last two not
# where WITHOUT is theirs.
begin_talking() {
  local from to=talk-b family
  apply_talkers || return 1
  for from in talk-a talk-b; do
    for family in $families; do
      echo "fresh $(url "$(address_of $to "$family")" 8080 hostname)"
      echo "long $(address_of $to "$family")"
      [[ $1 == outside ]] || echo "fresh $(url "$(outside_of "$family")" 8000 hostname)"
      echo "fresh $(url "$(node_address $server "$family")" 9080 hostname)"
    done >"$FOLDER/$from.peers"
    k exec --stdin $from --container talk -- sh -c 'cat >/tmp/new && mv /tmp/new /tmp/peers' <"$FOLDER/$from.peers" || return 1
    to=talk-a
  done
}

# They have talked without losing a connection, each with all of its peers.
nothing_lost() {
  local from status=0
  for from in talk-a talk-b; do k exec $from --container talk -- touch /tmp/stop || return 1; done
  for from in talk-a talk-b; do
    within 40 contains '^resent' k logs $from --container talk >/dev/null || { echo "$from does not end"; return 1; }
    k logs $from --container talk >"$FOLDER/$from.said"
    awk -v peers="$(wc -l <"$FOLDER/$from.peers")" '
      / lost / { print }
      $1 == "fresh" || $1 == "long" { told++; if ($3 > 0 && $4 == 0) well++ }
      END { if (told != peers || well != peers) { print well + 0 " of " peers " peers are well"; exit 1 } }' "$FOLDER/$from.said" || status=1
  done
  return $status
}

# under_traffic WHAT WITHOUT COMMAND...
under_traffic() {
  local what=$1 before=$failed
  step 'pods talk to each other' begin_talking "$2"
  ((failed == before)) || return
  "${@:3}"
  check "no connection is lost while $what" nothing_lost
  awk '$1 == "fresh" { new += $3; lost += $4 } $1 == "long" { long++; lines += $3; lost += $4 } $1 == "resent" { again += $2 }
    END { printf "   %d new connections and %d long ones with %d lines, %d lost; %d first packets sent again\n", new, long, lines, lost, again }' \
    "$FOLDER"/talk-?.said
  k delete pod talk-a talk-b --wait=true >/dev/null 2>&1
}

# --- kills

declare -A spaces
count_spaces() { on "$1" ls /run/netns | wc -l; }
remember_spaces() { local node; for node in $nodes; do spaces[$node]=$(count_spaces "$node"); done; }
changed() { [[ $(count_spaces "$1") != "${spaces[$1]}" ]]; }

# kill -9 of kubelet, containerd and the agent on every node, while pods come, and while they go.
daemons_are_killed() {
  local pods=$(((${PODWIRE_CLUSTER_PODS:-60} + 2) / 3)) name node
  for name in kubelet containerd $([[ $example ]] || echo agent); do
    check "every node is ready before $name is killed" within 60 ready
    remember_spaces
    [[ $name != containerd ]] || forgets_since=$(date +%s.%N)
    apply_many "$pods" >/dev/null
    check "$name is killed on every node while pods come" killed_everywhere "$name"
    [[ $name != containerd ]] || forgets_until=$(date +%s.%N)
    check "all pods come after $name was killed" within 180 all_ready "$pods"
    nothing_left_over "after $name was killed"
    remember_spaces
    k delete deployment many --wait=false >/dev/null
    check "$name is killed on every node while pods go" killed_everywhere "$name"
    check "all pods go after $name was killed" within 180 none_there
    nothing_left_over "after $name was killed while pods went"
  done
  [[ $example ]] || check 'the agents are ready again' within 120 agents_ready
  for node in $nodes; do echo "   $(forgotten "$node" | wc -l) addresses on $node are of pods that containerd forgot"; done
}

killed_everywhere() {
  local node one killers=() status=0
  for node in $nodes; do kill_later "$node" "$1" & killers+=($!); done
  for one in "${killers[@]}"; do wait "$one" || status=1; done
  return $status
}

# Killed when the first pod that comes or goes is under way on that node, and started again.
kill_later() {
  within 60 changed "$1" || { echo "no pod comes or goes on $1"; return 1; }
  case $2 in
    agent) kill_agent "$1" ;;
    *)
      kill_9 "$1" "$2" && start "$1" "$2"
      [[ $2 != containerd ]] || within 30 on "$1" ctr version >/dev/null
      ;;
  esac
}

# The number of the agent's process on a node, as the node counts.
agent_of() {
  on "$1" sh -c 'for one in /proc/[0-9]*; do
    { tr "\0" " " <"$one/cmdline"; } 2>/dev/null | grep -q "a[g]ent --root=/host --listen" && echo "${one#/proc/}" && exit 0
  done; exit 1'
}
# kubelet starts it anew, after a while where it has been killed before.
kill_agent() {
  local process
  process=$(within 120 agent_of "$1") && on "$1" kill -9 "$process"
}
agents_ready() { [[ $(k --namespace kube-system get daemonset podwire --output 'jsonpath={.status.numberReady}') == "$(wc -w <<<"$nodes")" ]]; }

# --- a lost API server

# What the agent has made on a node. Which table is first says nothing: it makes one anew that somebody may have
# changed.
made_by_agent() {
  on "$1" sh -c 'ip route show proto 117; ip -6 route show proto 117
    for family in ip ip6; do nft list table $family podwire-agent 2>/dev/null; done; cat /etc/cni/net.d/*'
}
has_agent_other_than() { [[ $(agent_of "$1") != "$2" ]]; }
has_still() { diff <(made_by_agent "$1") "$FOLDER/$1.made"; }

# Agents that start while it is away find nobody, and take nothing away.
api_server_is_lost() {
  local node
  declare -A agents
  for node in $nodes; do made_by_agent "$node" >"$FOLDER/$node.made"; done
  kill -9 "$api_server"
  for node in $nodes; do agents[$node]=$(agent_of "$node"); done
  for node in $nodes; do check "the agent of $node is killed while the API server is away" kill_agent "$node"; done
  for node in $nodes; do check "it is started again on $node" within 90 has_agent_other_than "$node" "${agents[$node]}"; done
  for node in $nodes; do check "$node has still what the agent made" has_still "$node"; done
  step 'the API server comes back' start_api_server
  check 'and answers' within 60 k get --raw /readyz
  check 'the agents are ready again' within 120 agents_ready
  check 'the nodes are ready' within 60 ready
  for node in $nodes; do check "$node has what the agent made" within 20 has_still "$node"; done
}

# --- another version of the agent, and of the plugins

plugin_of() { cmp "$FOLDER/$1/opt/cni/bin/ptp" "$2/ptp"; }
upgraded_to() { k --namespace kube-system set image daemonset/podwire "install=$1" "agent=$1"; }
agents_rolled_out() { k --namespace kube-system rollout status daemonset/podwire --timeout=240s; }

# Pods that one version attached are detached by the other, both ways.
agents_are_upgraded() {
  local pods=$(((${PODWIRE_CLUSTER_PODS:-60} + 5) / 6)) node
  apply_many "$pods" >/dev/null
  check "$pods pods come before the upgrade" within 180 all_ready "$pods"
  check 'the next version is applied' upgraded_to localhost/podwire:next
  check 'and rolled out' agents_rolled_out
  for node in $nodes; do check "$node has its plugins" plugin_of "$node" "$NEXT_BIN"; done
  k scale deployment many --replicas $((2 * pods)) >/dev/null
  check 'pods come by it' within 180 all_ready $((2 * pods))
  k scale deployment many --replicas 1 >/dev/null
  check 'pods of both versions go' within 180 all_ready 1
  nothing_left_over 'after the upgrade'
  k scale deployment many --replicas $((2 * pods)) >/dev/null
  check 'pods come again' within 180 all_ready $((2 * pods))
  check 'the version before is applied' k --namespace kube-system rollout undo daemonset/podwire
  check 'and rolled out' agents_rolled_out
  for node in $nodes; do check "$node has the plugins of before" plugin_of "$node" "$PODWIRE_BIN"; done
  k delete deployment many --wait=false >/dev/null
  check 'all pods go' within 180 none_there
  nothing_left_over 'after the way back'
}

# --- nodes that boot, or change their addresses

boot_of() { k get node "$1" --output 'jsonpath={.status.nodeInfo.bootID}'; }
has_booted() { [[ $(boot_of "$1") != "$2" ]]; }
# Every container of the node has started since then.
started_since() {
  k get pods --all-namespaces --field-selector "spec.nodeName=$1" --output json | jq --exit-status --argjson since "$2" '
    [.items[] | .status.containerStatuses[] | .state.running.startedAt // "1970-01-01T00:00:00Z" | fromdateiso8601 | . >= $since] | length > 0 and all'
}

# Everything in its namespaces dies at once; it boots with the same disk.
node_boots() {
  local node=${nodes##* } pods=$(((${PODWIRE_CLUSTER_PODS:-60} + 5) / 6)) before since family other
  apply_many "$pods" >/dev/null
  check "$pods pods come" within 180 all_ready "$pods"
  before=$(boot_of "$node")
  step "$node loses its power" power_off "$node"
  since=$(date +%s)
  step 'and boots' boot "$node"
  start "$node" kubelet
  start "$node" kube-proxy
  check 'kubelet tells of it' within 60 has_booted "$node" "$before"
  if [[ $example && $nodes == *\ * ]]; then step 'the routes between the nodes are made again' connect_nodes; fi
  check 'its pods run again' within 180 started_since "$node" "$since"
  check 'every node is ready' within 60 ready
  nothing_left_over "after $node has booted"
  check 'a pod on it is ready' k wait --for=condition=Ready pod/client --timeout=60s
  check 'the DNS server, too' k --namespace kube-system wait --for=condition=Ready pod/coredns --timeout=60s
  for family in $families; do pods_reach_by "$family"; done
  k delete deployment many --wait=false >/dev/null
  check 'all pods go' within 180 none_there
  nothing_left_over "when those of $node's former life are gone"
}

power_off() {
  local node=$1 hierarchy
  kill -9 "${init[$node]}"
  within 20 is_dead "$node" || return 1
  ip link delete "$node" 2>/dev/null || true
  for hierarchy in $HIERARCHIES; do
    within 20 find "/sys/fs/cgroup/$hierarchy/$GROUP/$node" -mindepth 1 -depth -type d -exec rmdir {} + || return 1
  done
}
is_dead() { [[ ! -e /proc/${init[$1]} ]]; }

# routes_by NODE OTHER: the ways of NODE to the pods of OTHER are by the addresses that OTHER has.
routes_by() {
  local range
  for range in $(ranges "$2"); do
    contains "via $(node_address "$2" "$(family_of "$range")") " on "$1" ip -"$(family_of "$range")" route show proto 117 "$range" || return 1
  done
}

# A node has both addresses until everybody knows of the new one.
node_is_readdressed() {
  local node=${nodes##* } other former=() one
  for one in $families; do former+=("$(node_address "$node" "$one")"); done
  on "$node" sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1
  suffix[$node]=2${node#n}
  step "$node gets other addresses" give_addresses "$node"
  for one in kubelet kube-proxy; do
    kill_9 "$node" $one
    start "$node" $one
  done
  for one in $families; do
    check "kubelet tells of IPv$one's" within 60 contains "$(node_address "$node" "$one")" node_addresses "$node"
  done
  for other in $nodes; do
    [[ $other == "$node" ]] || check "the ways of $other to its pods are by them" within 30 routes_by "$other" "$node"
  done
  for one in "${former[@]}"; do
    step "$one is taken away" on "$node" ip address delete "$one/$([[ $one == *:* ]] && echo 64 || echo 24)" dev eth0
  done
  step 'the network outside knows of it' routes_from_outside
  # What they have begun with the former addresses is stuck for half a minute.
  for one in kubelet kube-proxy; do
    kill_9 "$node" $one
    start "$node" $one
  done
  check 'kubelet knows its pods' within 60 in_pod client true
  check 'every node is ready' within 60 ready
  # kubelet starts it anew when nobody answers by the address that it was given.
  check "$node's agent listens at the new address" within 240 \
    contains '^ok$' curl -gsS -m 5 "$(url "$(node_address "$node" "${families%% *}")" 9117 readyz)"
  check 'the agents are ready' within 60 agents_ready
  for one in $families; do pods_reach_by "$one"; done
}
node_addresses() { k get node "$1" --output 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}'; }

# --- STATUS

# containerd 2 asks the plugins whether pods can be attached, and kubelet tells it of the node.
status_is_heard() {
  local node=${nodes##* }
  step "$node lacks a plugin" on "$node" mv /opt/cni/bin/portmap /opt/cni/bin/.portmap
  check 'and is not ready, which says so' within 60 \
    contains 'portmap' k get node "$node" --output 'jsonpath={.status.conditions[?(@.type=="Ready")].message}'
  step 'it has it again' on "$node" mv /opt/cni/bin/.portmap /opt/cni/bin/portmap
  check 'and is ready' within 60 ready
}

# --- what dead pods left

# event REASON NODE [PATTERN]: the node has an Event whose message matches.
event() {
  k get events --namespace default --output json | jq --exit-status --arg reason "$1" --arg node "$2" --arg pattern "${3-}" \
    '.items[] | select(.reason == $reason and .involvedObject.name == $node) | .message | select(test($pattern))'
}
# pods_containers NODE POD: as containerd calls them; and the sandbox alone.
pods_containers() { on "$1" ctr --namespace k8s.io containers ls --quiet "labels.\"io.kubernetes.pod.name\"==$2${3+,$3}"; }
sandbox_of() { pods_containers "$1" "$2" 'labels."io.cri-containerd.kind"==sandbox' | grep .; }

# `gc: true` as the documentation tells, beside a runtime that forgets a pod, and one whose containers kubelet's never
# has among its sandboxes. The two looks are ten seconds apart.
dead_are_collected() {
  local node=$server apart=10 sandbox addresses looked
  settings+=$'gc: true\n'
  check 'the manifest is applied with gc' apply_manifest
  check 'the agent says what it lacks' within 60 event CollectionFailed "$node" 'deploy/gc\.yaml'
  check 'deploy/gc.yaml is applied' k --namespace kube-system patch daemonset podwire --patch-file "$REPOSITORY/deploy/gc.yaml"
  check 'and the looks are nearer to each other' k --namespace kube-system patch daemonset podwire --type=json \
    --patch '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--gc-every='$apart'"}]'
  check 'and rolled out' agents_rolled_out

  check 'a container of another client than kubelet is attached' \
    on "$node" ctr --namespace k8s.io run --detach --null-io --cni registry.k8s.io/pause:3.10 stranger
  check 'a pod starts' start_forgotten "$node"
  sandbox=$(sandbox_of "$node" forgotten)
  check 'which has leases' contains "^${sandbox:-its sandbox is unknown}\$" owners "$node"
  addresses=$(k get pod forgotten --output 'jsonpath={.status.podIPs[*].ip}')
  step 'containerd forgets it' forget "$node" forgotten
  check "every node is ready" within 90 ready
  step 'and its namespace goes' remove_space "$node" "${addresses%% *}"
  check 'but not its leases' contains "^$sandbox\$" owners "$node"
  looked=$SECONDS
  check 'all of them get old' grow "$node"
  check 'gc removes it' within 60 event Collected "$node" "podwire/$sandbox"
  check 'by two looks' test $((SECONDS - looked)) -ge $apart
  check 'it has no leases' lacks "^$sandbox\$" owners "$node"
  # shellcheck disable=SC2086 -- addresses are words
  check 'and no rules' no_rules_of "$node" $addresses
  check 'the other container has its own' contains '^k8s.io-stranger$' owners "$node"
  check 'and reaches a pod' on "$node" ctr --namespace k8s.io tasks exec --exec-id ask stranger \
    timeout 5 wget -q -O - "$(url "$(address_of web "${families%% *}")" 8080 hostname)"
  check 'so does a pod' contains '^web$' pod_fetch client "$(url "$(address_of web "${families%% *}")" 8080 hostname)"

  check 'the other container ends without a word' end_of_container "$node" stranger
  check 'gc removes it, too' within 60 event Collected "$node" 'podwire/k8s.io-stranger'
  nothing_left_over 'when gc has removed what was dead'
  settings=${settings/$'gc: true\n'/}
  check 'the manifest replaces what gc needed' apply_manifest replace
  check 'and is rolled out' agents_rolled_out
  check 'the agent is as before' lacks 'hostPID|SYS_ADMIN|gc-every' k --namespace kube-system get daemonset podwire --output yaml
}

start_forgotten() {
  k run forgotten --image=registry.k8s.io/agnhost:1 --overrides='{"spec": {"nodeName": "'"$1"'", "containers": [{
    "name": "forgotten", "image": "registry.k8s.io/agnhost:1", "imagePullPolicy": "Never", "args": ["pause"],
    "ports": [{"containerPort": 8080, "hostPort": 9085}]}]}}' && k wait --for=condition=Ready pod/forgotten --timeout=60s
}

# forget NODE POD: kubelet has no say in it, and containerd starts without it. What pins its namespace stays.
forget() {
  local container
  kill_9 "$1" kubelet || return 1
  for container in $(pods_containers "$1" "$2"); do
    on "$1" ctr --namespace k8s.io tasks rm --force "$container"
    on "$1" ctr --namespace k8s.io sandboxes rm --force "$container"
    on "$1" ctr --namespace k8s.io containers rm "$container"
  done
  [[ -z $(pods_containers "$1" "$2") ]] || { echo "$(pods_containers "$1" "$2") stay"; return 1; }
  k delete pod "$2" --force --grace-period=0 || return 1
  kill_9 "$1" containerd && start "$1" containerd && within 30 on "$1" ctr version && start "$1" kubelet
}

# remove_space NODE ADDRESS: the namespace that has the address.
remove_space() {
  on "$1" sh -c 'for one in /run/netns/*; do
    ip -netns "${one##*/}" -oneline address show | grep -qF " $0/" && ip netns delete "${one##*/}" && exit 0
  done; exit 1' "$2"
}

# end_of_container NODE ID
end_of_container() {
  on "$1" ctr --namespace k8s.io tasks rm --force "$2" && on "$1" ctr --namespace k8s.io containers rm "$2"
}

# owners NODE: containers that have leases.
owners() {
  on "$1" sh -c 'find /run/cni-ipam-state /var/lib/cni/networks -mindepth 2 -maxdepth 2 -type f -name "*[.:]*" ! -name "last_*" 2>/dev/null |
    while read -r lease; do head -n 1 "$lease" | tr -d "\r"; echo; done | grep . | sort -u'
}

# no_rules_of NODE ADDRESS...
no_rules_of() {
  local address
  for address in "${@:2}"; do
    ! on "$1" nft list ruleset | grep -F -- "$address" | grep -vE "${address//./\\.}[0-9a-f:]" || return 1
  done
}

# grow NODE: all that plugins keep becomes eleven minutes old; gc takes nothing that is younger than ten.
grow() { on "$1" find /run/podwire /var/lib/cni -type f -exec touch -h -d '11 minutes ago' {} +; }
