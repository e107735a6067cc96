# Sourced by the settings of this folder in which a cluster changes from another network to podwire, node by node, and
# back, while pods run and ask each other. The commands are those of docs/cluster.md.

# documented PATTERN: the one command of the documentation that matches. It speaks of flannel; $namespace, $daemonset
# and $conflist are what the other network has.
documented() {
  local command
  command=$(awk '/^## From kindnet or flannel/ { on = 1; next } /^## / { on = 0 } on && /^    / { print substr($0, 5) }' "$REPOSITORY/docs/cluster.md" |
    grep -- "$*" | sed "s/kube-flannel-ds/$daemonset/; s/-n kube-flannel/-n $namespace/; s/10-flannel/${conflist%.conflist}/; s/ *#.*//")
  [[ $command && $command != *$'\n'* ]] || { echo "the documentation has not one command \"$*\": $command"; return 1; }
  echo "$command"
}
# run_documented PATTERN: as a user does it, in the folder of the project.
run_documented() {
  local command
  command=$(documented "$@") || { echo "$command"; return 1; }
  (cd "$REPOSITORY" && kubectl() { k "$@"; } && eval "${command//NODE/${node-}}")
}
# on_documented NODE PATTERN: a command that is for a node.
on_documented() {
  local at=$1 command
  command=$(documented "${@:2}") || { echo "$command"; return 1; }
  on "$at" sh -c "$command"
}

# person NAME NODE [HOSTPORT]: a pod that answers, and that asks all others without end. It says after each round how
# many answers it has had, and from how many it never had one; and at once who answered before and does no more.
person() {
  people="$people $1"
  k apply --filename - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: people}}
spec:
  nodeName: $2
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  containers:
  - name: answers
    image: registry.k8s.io/agnhost:1
    imagePullPolicy: Never
    args: [netexec, --http-port=8080, --udp-port=-1]
    ports: [{containerPort: 8080${3:+, hostPort: $3}}]
    readinessProbe: {httpGet: {path: /hostname, port: 8080}, periodSeconds: 1}
  - name: asks
    image: registry.k8s.io/agnhost:1
    imagePullPolicy: Never
    command:
    - sh
    - -c
    - |
      asked=0 known=' '
      touch /tmp/urls
      while :; do
        missing=0
        while read -r url; do
          if timeout 3 wget -q -O /dev/null "\$url"; then
            asked=\$((asked + 1))
            case \$known in *" \$url "*) ;; *) known="\$known\$url " ;; esac
          else
            case \$known in *" \$url "*) echo "lost \$url" ;; *) missing=\$((missing + 1)) ;; esac
          fi
        done </tmp/urls
        echo "round \$asked \$missing"
        sleep 0.2
      done
YAML
}
people=

addresses_of() { k get pod "$1" --output 'jsonpath={.status.podIPs[*].ip}'; }
# Each asks every other at all addresses of a family that it has itself.
introduce() {
  local one other address
  declare -A addresses
  for one in $people; do addresses[$one]=$(addresses_of "$one"); done
  for one in $people; do
    for other in $people; do
      [[ $one != "$other" ]] || continue
      for address in ${addresses[$other]}; do
        [[ $address == *:* && ${addresses[$one]} != *:* ]] || url "$address" 8080 hostname
      done
    done | k exec --stdin "$one" --container asks -- sh -c 'cat >/tmp/new && mv /tmp/new /tmp/urls' || return 1
  done
}
rounds() { k logs "$1" --container asks | grep -c '^round'; }
has_rounds() {
  local said
  said=$(k logs "$1" --container asks | grep '^round')
  (($(wc -l <<<"$said") >= $2)) && [[ $said == *' 0' ]]
}
# all_reach: everybody has asked everybody twice since, with success, and nothing was ever lost.
all_reach() {
  local one lost
  declare -A before
  for one in $people; do before[$one]=$(rounds "$one"); done
  for one in $people; do within 60 has_rounds "$one" $((before[$one] + 3)) || { echo "$one does not go on: $(k logs "$one" --container asks | tail -n 3)"; return 1; }; done
  for one in $people; do
    lost=$(k logs "$one" --container asks | grep '^lost' | sort | uniq -c) && { echo "$one: $lost"; return 1; }
  done
  return 0
}
asked() {
  local one
  for one in $people; do k logs "$one" --container asks | grep '^round' | tail -n 1; done | awk '{ sum += $2 } END { print sum }'
}
no_address_twice() {
  local twice
  twice=$(k get pods --output json | jq -r '.items[] | select(.spec.hostNetwork != true) | .status.podIPs[]?.ip' | sort | uniq -d)
  [[ -z $twice ]] || { echo "given twice: $twice"; return 1; }
}
# arrive NAME NODE [HOSTPORT]: a pod comes, and everybody asks it from then on.
arrive() {
  person "$@" >/dev/null
  check "$1 starts on $2" k wait --for=condition=Ready "pod/$1" --timeout=60s
  check "everybody asks $1, too" introduce
}
# leave NAME NODE WHEN: it goes, and leaves nothing.
leave() {
  go_away "$1" "$2"
  check "$2 has exactly what its pods have, $3" within 30 no_difference "$2"
}
go_away() {
  local addresses
  addresses=$(addresses_of "$1")
  people=$(printf ' %s' $(tr ' ' '\n' <<<"$people" | grep -vx "$1"))
  check "nobody asks $1 any more" introduce
  check 'and everybody has reached all' all_reach
  check "$1 goes" k delete pod "$1" --timeout=60s
  check "and no rule of $1" within 30 no_rules_of "$2" $addresses
}
# attached_by NAME NODE PATTERN: in the configuration that the runtime keeps of its attachment.
attached_by() {
  local id
  id=$(sandbox_of "$2" "$1") || return 1
  contains "$3" on "$2" sh -c 'cat /var/lib/cni/results/*"$0"-eth0 | jq -r .config | base64 -d' "$id"
}
leaves_masqueraded() {
  contains "$(seen_as "172.30.0.1${2#n}")" k exec "$1" --container asks -- timeout 5 wget -q -O - http://198.51.100.1:8000/clientip
}

# Whether the other network brings a plugin of its own in the place of one of podwire's.
replaces=

# look WHEN: what holds in every moment.
look() {
  check "every pod reaches every pod, $1" all_reach
  check 'and none was given an address of another' no_address_twice
}

# apply_settings: the manifest with the documented settings of the network that was before.
apply_settings() {
  k create --filename "$manifest" --dry-run=client --output json |
    jq --arg settings "$settings" 'if .kind == "ConfigMap" then .data = {apiServer: "https://172.30.0.1:6443", "config.yaml": $settings} else . end' |
    k apply --filename -
}
settings_documented() {
  settings=$(sed -n "s/^| $1 | \`{\(.*\)}\` |\$/{\1}/p" "$REPOSITORY/docs/cluster.md")
  [[ $settings ]]
}
conflist_gone() { on "$1" test ! -e "/etc/cni/net.d/$2"; }
away_from() { [[ -z $(k --namespace "$namespace" get pods --field-selector "spec.nodeName=$1" --selector "app=$daemonset" --no-headers 2>/dev/null) ]]; }
conflist_of_podwire() { on "$1" test -e /etc/cni/net.d/10-podwire.conflist; }

# to_podwire WORDS: node by node. WORDS are in the configuration of what the other network attached.
to_podwire() {
  local node before=$1
  "$kubernetes/agnhost" netexec --http-port=8000 --udp-port=-1 >>"$logs/outside.log" 2>&1 &
  required 'the account of pods is made' within 30 k get serviceaccount default
  for node in $nodes; do
    arrive "old-a-$node" "$node" 9080
    arrive "old-b-$node" "$node"
    check "old-a-$node is the old network's" attached_by "old-a-$node" "$node" "$before"
  done
  look 'with the old network'
  required 'the documentation has settings for it' settings_documented "$2"
  check 'nodes are labelled' run_documented 'kubectl label nodes --all'
  check 'the old network runs on those' run_documented 'patch ds'
  check 'and does' rolled_out "$namespace" "$daemonset"
  required 'podwire is applied' apply_settings
  check 'and rolled out' run_documented 'rollout status ds/podwire$'
  for node in $nodes; do
    check "$node: its configuration is there" within 30 conflist_of_podwire "$node"
    check "$node: and an Event that the other comes first" within 30 event OtherConflist "$node"
    arrive "both-$node" "$node"
    check "both-$node is still the old network's" attached_by "both-$node" "$node" "$before"
  done
  look 'with both'
  for node in $nodes; do
    check "$node changes" run_documented 'kubectl label node NODE cni=podwire'
    check 'the old network leaves it' within 60 away_from "$node"
    check 'its configuration is removed' on_documented "$node" 'rm /etc/cni'
    arrive "new-a-$node" "$node" 9081
    check "new-a-$node is podwire's" attached_by "new-a-$node" "$node" '"type": *"chain"'
    arrive "new-b-$node" "$node"
    look "after $node has changed"
    check 'what leaves the cluster has the address of the node' leaves_masqueraded "new-a-$node" "$node"
    check 'also from an old pod' leaves_masqueraded "old-a-$node" "$node"
    leave "old-a-$node" "$node" "when podwire's plugins detached an old pod"
  done
  check 'the old network is deleted' run_documented 'delete ds kube'
  for node in $nodes; do check "$node: its routes, too" on_documented "$node" 'ip route flush'; done
  for node in $nodes; do
    check "$node: routes to other nodes' pods are podwire's alone" lacks 'proto (boot|static)' on "$node" ip route show root 10.244.0.0/16 scope global
  done
  look 'without the old network'
  for node in $nodes; do leave "both-$node" "$node" 'when the old network is gone'; done
  echo "   $(asked) questions, none lost"
}

# back_again WORDS COMMAND...: the other network again, which COMMAND applies; WORDS are in its configuration.
back_again() {
  local node before=$1 one
  shift
  check 'the old network is applied again' "$@"
  check 'and runs on labelled nodes alone' run_documented 'patch ds'
  for node in $nodes; do
    check "$node changes back" run_documented 'kubectl label node NODE cni=old'
    check 'the old network is there' within 60 on "$node" test -e "/etc/cni/net.d/$conflist"
    arrive "back-a-$node" "$node" 9082
    check "back-a-$node is the old network's" attached_by "back-a-$node" "$node" "$before"
    look "after $node has changed back"
  done
  if [[ $replaces ]]; then
    check 'podwire starts anew' run_documented 'rollout restart'
    check 'on each node' rolled_out kube-system podwire
    for node in $nodes; do
      check "$node has podwire's plugin again" on "$node" sh -c 'cmp /opt/cni/bin/"$0" /opt/cni/bin/bridge' "$replaces"
    done
  fi
  check 'podwire is deleted' run_documented 'kubectl delete --cascade=foreground -f deploy/podwire.yaml'
  check 'with what a cloud needed' run_documented 'deploy/network-unavailable.yaml'
  check 'and taken off the nodes' run_documented 'kubectl apply -f deploy/uninstall.yaml'
  check 'everywhere' run_documented 'rollout status ds/podwire-uninstall'
  check 'which ends, too' run_documented 'kubectl delete -f deploy/uninstall.yaml'
  for node in $nodes; do
    check "$node: its configuration is gone" conflist_gone "$node" 10-podwire.conflist
    check "$node: its routes are gone" empty on "$node" ip route show proto 117
    check "$node: also of IPv6" empty on "$node" ip -6 route show proto 117
    check "$node: its rules are gone" lacks podwire-agent on "$node" nft list tables
    arrive "back-b-$node" "$node"
  done
  look 'without podwire'
  for node in $nodes; do
    check 'what leaves the cluster has the address of the node' leaves_masqueraded "back-b-$node" "$node"
    check "also from podwire's pod" leaves_masqueraded "new-a-$node" "$node"
  done
  for node in $nodes; do
    go_away "new-a-$node" "$node"
    go_away "old-b-$node" "$node"
    check "$node has exactly what its pods have, of the old network and of podwire" within 30 no_difference "$node"
  done
  echo "   $(asked) questions, none lost"
}
