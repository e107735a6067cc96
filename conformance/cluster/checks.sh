# Sourced by `inside`: what pods reach, in both families, and what is left when they are gone.

# in_pod POD COMMAND...
in_pod() { k exec "$1" -- timeout 5 "${@:2}"; }
# pod_fetch POD URL
pod_fetch() { in_pod "$1" wget -q -O - "$2"; }
# The first or second address of a pod or a service.
address_of() { k get pod "$1" --output "jsonpath={.status.podIPs[$2].ip}"; }
service_address() { k get service "$1" --output "jsonpath={.spec.clusterIPs[$2]}"; }
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
  ipFamilyPolicy: RequireDualStack
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
        kubernetes cluster.local
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
  clusterIP: 10.96.0.10
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
    contains 'gitVersion' in_pod client wget -q -O - --no-check-certificate https://10.96.0.1/version
  local family
  for family in 0 1; do pods_reach_by "$family"; done
  check 'a name leads to the service' within 10 contains "Address.*$(service_address web 0)" in_pod client nslookup web.default.svc.cluster.local 10.96.0.10
  check 'in IPv6, too' within 10 contains "Address.*$(service_address web 1)" in_pod client nslookup web.default.svc.cluster.local 10.96.0.10
  check "a host port on the node's 127.0.0.1" contains '^web$' on $server curl -sS -m 5 http://127.0.0.1:9080/hostname
  check 'kubectl logs' contains 'Started HTTP server' k logs web
}

# pods_reach_by FAMILY: 0 is IPv4, 1 IPv6.
pods_reach_by() {
  local of=$1 what web client service port node outside seen
  what=$( ((of)) && echo IPv6 || echo IPv4)
  web=$(address_of web "$of") client=$(address_of client "$of") service=$(service_address web "$of")
  port=$(k get service web --output 'jsonpath={.spec.ports[0].nodePort}')
  node=$( ((of)) && echo fd30::11 || echo 172.30.0.11)
  outside=$( ((of)) && echo 2001:db8:ff::1 || echo 198.51.100.1)
  seen=$( ((of)) && echo "fd30::1${nodes##*n}" || echo "172.30.0.1${nodes##*n}")
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
  check "$what: nobody answers for a pod that is not there" in_pod client sh -c '! timeout 3 wget -q -O - "$0"' "$(url "${web%[.:]*}$( ((of)) && echo :fffe || echo .254)" 8080 hostname)"
}

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
# Addresses of pods, IPv4's, in rules of the plugins.
in_rules() { on "$1" nft list ruleset | awk '/^table/ { ours = $3 == "podwire" } ours' | grep -oE '10\.244\.[0-9]+\.([2-9]|[0-9]{2,})\b' | grep -v '\.0$' | sort -u; }

# no_difference NODE: leases, host ends, namespaces with an interface, rules and cached results are those of the pods
# that live. A containerd that is killed at the wrong moment leaves empty namespaces: it makes them before it asks us.
no_difference() {
  local node=$1 living leased pods ends spaces cached
  living=$(living "$node") leased=$(leased "$node")
  [[ $living == "$leased" ]] || { diff <(echo "living pods: $living") <(echo "leases: $leased"); return 1; }
  pods=$(grep -cF . <<<"$living")
  ends=$(on "$node" ip -brief link show type veth | grep -c '^veth')
  spaces=$(on "$node" sh -c 'for one in /run/netns/*; do ip -netns "${one##*/}" link show eth0; done' 2>/dev/null | grep -c ': eth0@')
  cached=$(on "$node" find /var/lib/cni/results -type f | grep -c -- -eth0)
  [[ $ends == "$pods" && $spaces == "$pods" && $cached == "$pods" ]] ||
    { echo "$pods pods, $ends host ends, $spaces namespaces, $cached cached results"; return 1; }
  local strange
  strange=$(comm -13 <(echo "$living") <(in_rules "$node"))
  [[ -z $strange ]] || { echo "in rules: $strange"; return 1; }
}
nothing_left_over() {
  local node
  for node in $nodes; do check "$node has exactly what its pods have, $1" within 60 no_difference "$node"; done
}

# kill -9 of kubelet and containerd while pods come, and while they go.
daemons_are_killed() {
  local pods=${PODWIRE_CLUSTER_PODS:-20} name
  for name in kubelet containerd; do
    apply_many "$pods" >/dev/null
    check "$name is killed while pods come" kill_later $name
    check "all pods come after $name was killed" within 180 all_ready "$pods"
    nothing_left_over "after $name was killed"
    k delete deployment many --wait=false >/dev/null
    check "$name is killed while pods go" kill_later $name
    check "all pods go after $name was killed" within 180 none_there
    nothing_left_over "after $name was killed while pods went"
  done
}

# Killed when the first pod that comes or goes is under way, and started again.
kill_later() {
  local before
  before=$(on n1 ls /run/netns | wc -l)
  within 30 changed "$before" || return 1
  kill_9 n1 "$1" || return 1
  start n1 "$1"
  [[ $1 != containerd ]] || within 30 on n1 ctr version >/dev/null
}
changed() { [[ $(on n1 ls /run/netns | wc -l) != "$1" ]]; }

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
  for family in 0 1; do
    check "and reach pods of other nodes (family $family)" contains '^web$' pod_fetch guest "$(url "$(address_of web $family)" 8080 hostname)"
  done
  k delete pod guest --force --grace-period=0 >/dev/null 2>&1
  kill -9 "${init[$added]}"
  check 'a node is removed' k delete node "$added"
  nodes=$before
  check 'the others go on' contains '^web$' pod_fetch client "$(url "$(address_of web 0)" 8080 hostname)"
}

# The agents end at once, and come again: no packet's way changes meanwhile.
agents_are_killed() {
  local node
  for node in $nodes; do
    check "the agent of $node is killed" on "$node" sh -c 'for one in /proc/[0-9]*; do
      tr "\\0" " " <"$one/cmdline" 2>/dev/null | grep -q "a[g]ent --root=/host --listen" && kill -9 "${one#/proc/}" && exit 0
    done; exit 1'
  done
  local family
  for family in 0 1; do
    check "pods of two nodes reach each other while it is away (family $family)" \
      contains '^web$' pod_fetch client "$(url "$(address_of web $family)" 8080 hostname)"
  done
  check 'it comes again' within 60 agents_ready
  pods_come_and_go "${PODWIRE_CLUSTER_PODS:-20}"
}
agents_ready() { [[ $(k --namespace kube-system get daemonset podwire --output 'jsonpath={.status.numberReady}') == "$(wc -w <<<"$nodes")" ]]; }
