# Sourced by `inside`: what pods reach, in both families, and what is left when they are gone.

# in_pod POD COMMAND...
in_pod() { k exec "$1" -- timeout 5 "${@:2}"; }
# pod_fetch POD URL
pod_fetch() { in_pod "$1" wget -q -O - "$2"; }
# The address of a pod, or of a service, of family 4 or 6.
address_of() { k get pod "$1" --output 'jsonpath={.status.podIPs[*].ip}' | of_family "$2"; }
service_address() { k get service "$1" --output 'jsonpath={.spec.clusterIPs[*]}' | of_family "$2"; }
of_family() { tr ' ' '\n' | if (($1 == 4)); then grep -v :; else grep :; fi; }
url() { [[ $1 == *:* ]] && echo "http://[$1]:$2/$3" || echo "http://$1:$2/$3"; }
# An address in an extended regular expression, as agnhost writes it before the port.
seen_as() { local dots=${1//./\\.}; [[ $1 == *:* ]] && echo "^\\[$dots\\]:" || echo "^$dots:"; }

# On which node the clients are: beside the server, and, where there are several, on another one.
server=n1

apply_pods() {
  local other=${nodes##* }
  k apply --filename - <<YAML
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: $server
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: registry.k8s.io/agnhost:1
    imagePullPolicy: Never
    args: [netexec, --http-port=8080, --udp-port=8081]
    ports: [{containerPort: 8080, hostPort: 9080}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: $other
  terminationGracePeriodSeconds: 1
  containers: [{name: client, image: registry.k8s.io/agnhost:1, imagePullPolicy: Never, args: [pause]}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: coredns, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: coredns}
rules:
- {apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: coredns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: coredns}
subjects: [{kind: ServiceAccount, name: coredns, namespace: kube-system}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    .:53 {
        errors
        ready
        kubernetes cluster.local in-addr.arpa ip6.arpa
    }
---
apiVersion: v1
kind: Pod
metadata: {name: coredns, namespace: kube-system, labels: {app: coredns}}
spec:
  nodeName: $other
  serviceAccountName: coredns
  dnsPolicy: Default
  terminationGracePeriodSeconds: 1
  containers:
  - name: coredns
    image: registry.k8s.io/coredns:1
    imagePullPolicy: Never
    args: [-conf, /etc/coredns/Corefile]
    readinessProbe: {httpGet: {path: /ready, port: 8181}, periodSeconds: 1}
    volumeMounts: [{name: configuration, mountPath: /etc/coredns}]
  volumes: [{name: configuration, configMap: {name: coredns}}]
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  selector: {app: coredns}
  clusterIP: "$dns"
  ports: [{name: udp, port: 53, protocol: UDP}, {name: tcp, port: 53}]
YAML
}

pods_reach() {
  "$kubernetes/agnhost" netexec --http-port=8000 --udp-port=-1 >>"$logs/outside.log" 2>&1 &
  required 'the account of pods is made' within 30 k get serviceaccount default
  required 'pods, services and a DNS server are applied' apply_pods
  required 'pods are ready' k wait --for=condition=Ready pod/web pod/client --timeout=120s
  check 'the DNS server is ready' k --namespace kube-system wait --for=condition=Ready pod/coredns --timeout=60s
  check 'a pod reaches the API server by its service' \
    contains 'gitVersion' in_pod client wget -q -O - --no-check-certificate "https://$(first_of 10.96.0.1 '[fd96::1]')/version"
  local family
  for family in $families; do
    pods_reach_by "$family"
    check "IPv$family: a name leads to the service" within 10 \
      contains "Address.*$(service_address web "$family")" in_pod client nslookup web.default.svc.cluster.local "$dns"
  done
  [[ $families == 6 ]] ||
    check "a host port on the node's 127.0.0.1" contains '^web$' on $server curl -sS -m 5 http://127.0.0.1:9080/hostname
  check 'kubectl logs' contains 'Started HTTP server' k logs web
}

# pods_reach_by FAMILY: 4 or 6.
pods_reach_by() {
  local of=$1 what=IPv$1 web client service port node outside seen
  web=$(address_of web "$of") client=$(address_of client "$of") service=$(service_address web "$of")
  port=$(k get service web --output 'jsonpath={.spec.ports[0].nodePort}')
  node=$(node_address $server "$of")
  outside=$(outside_of "$of")
  seen=$(node_address "${nodes##* }" "$of")
  check "$what: a pod has its address" contains "inet6? $web/" in_pod web ip address show dev eth0
  check "$what: a pod reaches a pod, which sees its address" \
    contains "$(seen_as "$client")" pod_fetch client "$(url "$web" 8080 clientip)"
  check "$what: and a service" within 10 contains '^web$' pod_fetch client "$(url "$service" 80 hostname)"
  check "$what: also its own" contains '^web$' pod_fetch web "$(url "$service" 80 hostname)"
  check "$what: a host port from outside" contains '^web$' curl -gsS -m 5 "$(url "$node" 9080 hostname)"
  check "$what: a host port from a pod" contains '^web$' pod_fetch client "$(url "$node" 9080 hostname)"
  check "$what: a host port from the pod behind it" contains '^web$' pod_fetch web "$(url "$node" 9080 hostname)"
  check "$what: a node port from outside" contains '^web$' curl -gsS -m 5 "$(url "$node" "$port" hostname)"
  check "$what: the node reaches the pod" contains '^web$' on $server curl -gsS -m 5 "$(url "$web" 8080 hostname)"
  check "$what: and the service" contains '^web$' on $server curl -gsS -m 5 "$(url "$service" 80 hostname)"
  check "$what: what leaves the cluster has the node's address" \
    contains "$(seen_as "$seen")" pod_fetch client "$(url "$outside" 8000 clientip)"
  check "$what: nobody answers for a pod that is not there" in_pod client sh -c '! timeout 3 wget -q -O - "$0"' "$(url "${web%[.:]*}$( ((of == 6)) && echo :fffe || echo .254)" 8080 hostname)"
}
outside_of() { (($1 == 6)) && echo 2001:db8:ff::1 || echo 198.51.100.1; }

# many PODS: a deployment of so many pods, of which each has a host port's worth of rules but the port itself.
apply_many() {
  k apply --filename - <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  replicas: $1
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: many}}}
      containers: [{name: it, image: "registry.k8s.io/pause:3.10", imagePullPolicy: Never}]
YAML
}
all_ready() { [[ $(k get deployment many --output 'jsonpath={.status.readyReplicas}') == "$1" ]]; }
none_there() { [[ -z $(k get pods --selector app=many --no-headers 2>/dev/null) ]]; }

pods_come_and_go() {
  local began=$SECONDS
  apply_many "$1" >/dev/null
  check "$1 pods come" within 180 all_ready "$1"
  local came=$((SECONDS - began))
  nothing_left_over "with $1 pods"
  began=$SECONDS
  k delete deployment many --wait=false >/dev/null
  check "and go" within 180 none_there
  echo "   $1 pods came in $came s and went in $((SECONDS - began)) s"
  nothing_left_over 'when they are gone'
}

# The addresses of pods that live on a node.
living() {
  k get pods --all-namespaces --field-selector "spec.nodeName=$1" --output json |
    jq -r '.items[] | select(.spec.hostNetwork != true and (.status.phase == "Running" or .status.phase == "Pending")) | .status.podIPs[]?.ip' | sort -u
}
# Files of leases, which are called like their addresses.
leased() {
  on "$1" find /run/cni-ipam-state /var/lib/cni/networks -type f -name '*[.:_]*' 2>/dev/null |
    sed 's,.*/,,; s/_/:/g' | grep -E '^[0-9a-f]+[.:][0-9a-f.:]+$' | sort -u
}
# Addresses of pods in rules of the plugins.
in_rules() {
  on "$1" nft list ruleset | awk '/^table/ { ours = $3 == "podwire" } ours' |
    grep -oE '(10\.244\.[0-9.]+|fd44:[0-9a-f:]+)(/[0-9]+)?' | grep -vE '/|\.[01]$|::1?$' | sort -u
}

# From when until when a killed containerd may have forgotten pods, in seconds.
forgets_since=0 forgets_until=0
# forgotten NODE: addresses leased in that time by containers that do not run. A containerd that is killed after our
# ADD, and before it has made the container or noted the result, never asks for a DEL, and may keep the namespace; it
# may know the sandbox for some minutes, and stops it without us.
forgotten() {
  on "$1" sh -c 'running=$(ctr --namespace k8s.io tasks ls --quiet) || exit
    find /run/cni-ipam-state /var/lib/cni/networks -mindepth 2 -maxdepth 2 -type f -newermt "@$0" ! -newermt "@$1" -name "*[.:]*" |
      while read -r lease; do
        id=$(head -n 1 "$lease" | tr -d "\r")
        echo "$running" | grep -qxF "$id" || echo "${lease##*/}"
      done' "$forgets_since" "$forgets_until" 2>/dev/null | grep -E '^[0-9a-f]+[.:][0-9a-f.:]+$'
}

# cached NODE: results that the runtime keeps of pods, but those of containers that it forgot in that time: it asks for
# no DEL of theirs, also after a boot, which ends the leases.
cached() {
  on "$1" sh -c 'running=$(ctr --namespace k8s.io tasks ls --quiet) || exit
    cd /var/lib/cni/results || exit
    forgotten=$(find . -type f -name "*-eth0" -newermt "@$0" ! -newermt "@$1")
    find . -type f -name "*-eth0" | while read -r result; do
      id=${result%-eth0}
      case $forgotten in *"$result"*) echo "$running" | grep -qxF "${id##*-}" || continue ;; esac
      echo "$result"
    done' "$forgets_since" "$forgets_until"
}

# no_difference NODE: leases, host ends, namespaces with an interface, rules and cached results are those of the pods
# that live. A containerd that is killed at the wrong moment leaves empty namespaces: it makes them before it asks us.
no_difference() {
  local node=$1 living leased forgotten= pods least ends spaces cached
  living=$(living "$node") leased=$(leased "$node")
  [[ $living == "$leased" ]] || forgotten=$(forgotten "$node")
  [[ -z $forgotten ]] || living=$( (echo "$living"; echo "$forgotten") | grep . | sort -u)
  [[ $living == "$leased" ]] || { diff <(echo "living pods: $living") <(echo "leases: $leased"); return 1; }
  pods=$(of_family "${families%% *}" <<<"$living" | grep -c .)
  ends=$(on "$node" ip -brief link show type veth | grep -c '^veth')
  spaces=$(on "$node" sh -c 'for one in /run/netns/*; do ip -netns "${one##*/}" link show eth0; done' 2>/dev/null | grep -c ': eth0@')
  cached=$(cached "$node" | wc -l)
  least=$((pods - $(of_family "${families%% *}" <<<"$forgotten" | grep -c .)))
  ((ends >= least && ends <= pods && spaces == ends && cached == least)) ||
    { echo "$pods pods, $ends host ends, $spaces namespaces, $cached cached results"; return 1; }
  local strange
  strange=$(comm -13 <(echo "$living") <(in_rules "$node"))
  [[ -z $strange ]] || { echo "in rules: $strange"; return 1; }
}
nothing_left_over() {
  local node
  for node in $nodes; do check "$node has exactly what its pods have, $1" within 90 no_difference "$node"; done
}

routes_of() { on "$1" ip "-$(family_of "$2")" route show "$2"; }
no_route() { [[ -z $(routes_of "$1" "$2") ]]; }
node_comes_and_goes() {
  local before=$nodes
  local added=n$(($(wc -w <<<"$nodes") + 1))
  nodes="$nodes $added"
  step "$added is added" make_node "$added" "$plugins"
  if [[ $plugins ]]; then
    step 'and configured' configure "$added" kind
    connect_nodes
  else
    routes_from_outside
  fi
  check 'and gets ready' within 90 ready
  k run guest --image=registry.k8s.io/agnhost:1 --image-pull-policy=Never --overrides='{"spec": {"nodeName": "'$added'"}}' -- pause >/dev/null
  check 'its pods start' k wait --for=condition=Ready pod/guest --timeout=60s
  for family in $families; do
    check "and reach pods of other nodes (IPv$family)" contains '^web$' pod_fetch guest "$(url "$(address_of web "$family")" 8080 hostname)"
  done
  k delete pod guest --force --grace-period=0 >/dev/null 2>&1
  local range ranges
  ranges=$(ranges "$added")
  for range in $ranges; do
    check "a node has a way to its pods, $range" contains "^$range via " routes_of n1 "$range"
  done
  kill -9 "${init[$added]}"
  check 'a node is removed' k delete node "$added"
  nodes=$before
  # Where an engine made them by hand it would have to take them away, too.
  [[ $example ]] || for range in $ranges; do check "and the way to $range is gone" within 20 no_route n1 "$range"; done
  check 'the others go on' contains '^web$' pod_fetch client "$(url "$(address_of web "${families%% *}")" 8080 hostname)"
}
