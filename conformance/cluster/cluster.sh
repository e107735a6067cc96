# Sourced by `inside`: a control plane on the machine between the nodes, and nodes: 172.30.0.1 and fd30::1, 172.30.0.1N
# and fd30::1N. The pods' ranges are 10.244.0.0/16 and fd44::/56, the services' 10.96.0.0/16 and fd96::/112; all of them
# are of the setting's `families`.
kubernetes=$CACHE/kubernetes
pki=$FOLDER/pki
logs=$FOLDER/log
admin=$pki/admin.conf
# By nodes: the first process, the end of the addresses, and the folder of plugins.
declare -A init suffix plugins_of

# of_families FOUR SIX: what is of the cluster's families, with a comma between them.
of_families() {
  case $families in
    4) echo "$1" ;;
    6) echo "$2" ;;
    *) echo "$1,$2" ;;
  esac
}
first_of() { local both; both=$(of_families "$1" "$2"); echo "${both%%,*}"; }
node_address() { (($2 == 4)) && echo "172.30.0.${suffix[$1]}" || echo "fd30::${suffix[$1]}"; }
. "$REPOSITORY/conformance/clients/lib/containerd-configuration.sh"

k() { "$kubernetes/kubectl" --kubeconfig "$admin" "$@"; }

# within SECONDS COMMAND...: repeats the command until it succeeds; then its last failure stands.
within() {
  local end=$((SECONDS + $1)) output
  shift
  until output=$("$@" 2>&1); do
    ((SECONDS < end)) || { echo "$output"; return 1; }
    sleep 0.2
  done
  echo "$output"
}

# step NAME COMMAND...: a check of what this shell itself has to do: it starts processes, and remembers them.
step() {
  local name=$1
  shift
  if "$@" >"$logs/step.log" 2>&1; then pass "$name"; else fail "$name" "$*: exit $?: $(tail -n 5 "$logs/step.log")"; fi
}

# required WHAT COMMAND...: a step without which nothing further can be checked.
required() {
  step "$@"
  ((failed == 0)) || give_up
}

give_up() {
  echo "the end of the logs:" >&2
  tail -n 4 "$logs"/*.log "$FOLDER"/n*/var/log/*.log >&2 || true
  finish
}

# daemon NAME COMMAND...: a program of the control plane.
daemon() {
  local name=$1
  shift
  "$@" >>"$logs/$name.log" 2>&1 &
}

make_certificates() {
  mkdir -p "$pki" "$logs"
  (
    cd "$pki"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=authority -days 30
    openssl req -newkey rsa:2048 -nodes -keyout api.key -out api.csr -subj /CN=kube-apiserver
    local names=DNS:kubernetes.default.svc,DNS:kubernetes.default,DNS:kubernetes,IP:10.96.0.1,IP:172.30.0.1,IP:127.0.0.1,IP:fd96::1,IP:fd30::1
    openssl x509 -req -in api.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out api.crt -days 30 \
      -extfile <(echo "subjectAltName=$names")
    openssl genrsa -out accounts.key 2048
    openssl rsa -in accounts.key -pubout -out accounts.pub
    token=$(openssl rand -hex 16)
    echo "$token,admin,1,system:masters" >tokens
    jq -n --arg token "$token" --arg server "https://$(first_of 172.30.0.1 '[fd30::1]'):6443" --rawfile ca <(base64 -w 0 ca.crt) '{
      apiVersion: "v1", kind: "Config", "current-context": "it", users: [{name: "admin", user: {token: $token}}],
      clusters: [{name: "it", cluster: {server: $server, "certificate-authority-data": $ca}}],
      contexts: [{name: "it", context: {cluster: "it", user: "admin"}}]
    }' >admin.conf
  ) >>"$logs/openssl.log" 2>&1
}

start_control_plane() {
  services=$(of_families 10.96.0.0/16 fd96::/112)
  daemon etcd "$CACHE/etcd/server" --data-dir /run/etcd --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
  start_api_server
  within 90 k get --raw /readyz
  daemon controllers "$kubernetes/kube-controller-manager" --kubeconfig="$admin" --leader-elect=false --cert-dir=/run/controllers \
    --service-account-private-key-file="$pki/accounts.key" --root-ca-file="$pki/ca.crt" --service-cluster-ip-range="$services" \
    --allocate-node-cidrs=true --cluster-cidr="$(of_families 10.244.0.0/16 fd44::/56)"
  daemon scheduler "$kubernetes/kube-scheduler" --kubeconfig="$admin" --leader-elect=false --cert-dir=/run/scheduler
}

start_api_server() {
  daemon apiserver "$kubernetes/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --service-cluster-ip-range="$services" \
    --advertise-address="$(first_of 172.30.0.1 fd30::1)" --tls-cert-file="$pki/api.crt" --tls-private-key-file="$pki/api.key" \
    --client-ca-file="$pki/ca.crt" --cert-dir=/run/apiserver --token-auth-file="$pki/tokens" --authorization-mode=RBAC \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/accounts.pub" \
    --service-account-signing-key-file="$pki/accounts.key" --allow-privileged=true --kubelet-preferred-address-types=InternalIP
  api_server=$!
}

# on NODE COMMAND...: in all namespaces of the node, and its cgroups.
on() (
  node=$1
  shift
  for hierarchy in $HIERARCHIES; do echo 0 >"/sys/fs/cgroup/$hierarchy/$GROUP/$node/cgroup.procs"; done
  cd /
  exec nsenter --target="${init[$node]}" --mount --net --pid --uts --ipc --cgroup -- "$@"
)

# start NODE DAEMON: containerd, kubelet or kube-proxy.
start() {
  local node=$1 name=$2 words
  case $name in
    containerd) words=(containerd --config /etc/kubernetes/containerd.toml) ;;
    kubelet) words=("$kubernetes/kubelet" --config=/etc/kubernetes/kubelet.yaml --kubeconfig=/etc/kubernetes/admin.conf \
      --hostname-override="$node" --node-ip="$(of_families "$(node_address "$node" 4)" "$(node_address "$node" 6)")" --cert-dir=/var/lib/kubelet/pki) ;;
    kube-proxy) words=("$kubernetes/kube-proxy" --config=/etc/kubernetes/proxy.yaml --hostname-override="$node") ;;
  esac
  on "$node" sh -c 'echo $$ >/run/$0.pid; exec "$@" >>/var/log/$0.log 2>&1' "$name" "${words[@]}" >/dev/null 2>&1 &
}

# kill_9 NODE DAEMON: and waits until it has let go of its ports.
kill_9() {
  on "$1" sh -c 'process=$(cat "/run/$0.pid"); kill -9 "$process" && timeout 20 tail --sleep-interval=0.05 --pid="$process" --follow /dev/null' "$2"
}

# make_node NAME [PLUGINS]: boots it, with the folder of plugins, until kubelet has registered it.
make_node() {
  local node=$1 archive settings=$FOLDER/$1/upper/etc/kubernetes
  suffix[$node]=1${node#n}
  plugins_of[$node]=${2-}
  mkdir -p "$settings"
  cp "$admin" "$settings/"
  write_configurations "$settings"
  boot "$node" || return 1
  for archive in "$CACHE/images.tar" "${images[@]}"; do
    on "$node" ctr --namespace k8s.io images import - <"$archive" || return 1
  done
  start "$node" kubelet
  start "$node" kube-proxy
  within 60 has_range "$node"
}

# boot NODE: in new namespaces, with what its disk holds, until containerd answers.
boot() {
  local node=$1 hierarchy file unshared
  for hierarchy in $HIERARCHIES; do
    mkdir -p "/sys/fs/cgroup/$hierarchy/$GROUP/$node"
    [[ $hierarchy != cpuset ]] || for file in cpuset.cpus cpuset.mems; do
      cat "/sys/fs/cgroup/cpuset/$GROUP/$file" >"/sys/fs/cgroup/cpuset/$GROUP/$node/$file"
    done
  done
  rm -f "$FOLDER/$node/var/log/up"
  (
    for hierarchy in $HIERARCHIES; do echo 0 >"/sys/fs/cgroup/$hierarchy/$GROUP/$node/cgroup.procs"; done
    exec unshare --mount --net --pid --uts --ipc --cgroup --fork --kill-child --propagation private -- \
      "$CLUSTER/node" "$node" "$FOLDER/$node" "$ROOT" "${plugins_of[$node]}" "$CACHE" "$HIERARCHIES" >>"$logs/$node.log" 2>&1
  ) &
  unshared=$!
  within 30 test -e "$FOLDER/$node/var/log/up" || return 1
  read -r "init[$node]" <"/proc/$unshared/task/$unshared/children"
  # The same one at each boot: a neighbour that knows another asks only after seconds.
  ip link add "$node" type veth peer name eth0 address "02:00:00:00:00:1${node#n}" netns "${init[$node]}"
  ip link set "$node" master nodes up
  on "$node" ip link set eth0 up
  give_addresses "$node"
  [[ $families == 6 ]] || on "$node" ip route add default via 172.30.0.1
  [[ $families == 4 ]] || on "$node" ip route add default via fd30::1
  start "$node" containerd
  within 30 on "$node" ctr version
}
give_addresses() {
  [[ $families == 6 ]] || on "$1" ip address add "$(node_address "$1" 4)/24" dev eth0
  [[ $families == 4 ]] || on "$1" ip address add "$(node_address "$1" 6)/64" dev eth0 nodad
}

ranges() { k get node "$1" --output 'jsonpath={.spec.podCIDRs[*]}'; }
has_range() { [[ $(ranges "$1" | wc -w) == "$(wc -w <<<"$families")" ]]; }

# write_configurations FOLDER: of the daemons of a node.
write_configurations() {
  "write_containerd_$containerd" >"$1/containerd.toml"
  cat >"$1/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: 20000
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
volumePluginDir: /var/lib/kubelet/plugins
clusterDNS: ["$dns"]
clusterDomain: cluster.local
resolvConf: /etc/kubernetes/resolv.conf
imageGCHighThresholdPercent: 100
evictionHard: {nodefs.available: "0%", imagefs.available: "0%", memory.available: "50Mi"}
localStorageCapacityIsolation: false
kubeAPIQPS: 50
kubeAPIBurst: 100
YAML
  echo 'nameserver 172.30.0.1' >"$1/resolv.conf"
  cat >"$1/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: /etc/kubernetes/admin.conf}
mode: nftables
clusterCIDR: $(of_families 10.244.0.0/16 fd44::/56)
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
}

# The node's containerd, before version 2.
write_containerd_own() { containerd_configuration /run/containerd/containerd.sock registry.k8s.io/pause:3.10; }
# What `build` made.
write_containerd_new() {
  cat <<'TOML'
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "registry.k8s.io/pause:3.10"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/opt/cni/bin"]
    conf_dir = "/etc/cni/net.d"
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
TOML
}

# configure NODE EXAMPLE: the example with the node's ranges in it, and its masquerade where it is the only node.
configure() {
  local node=$1 four six
  read -r four six <<<"$(ranges "$node")"
  jq --arg four "$four" --arg six "$six" --argjson masquerade "$([[ $nodes == n1 ]] && echo true || echo false)" '
    .plugins[0] |= (.ipMasq = $masquerade | .ipam.ranges = [[{subnet: $four}], [{subnet: $six}]]
      | .ipam.routes = [{dst: "0.0.0.0/0"}, {dst: "::/0"}])' "$REPOSITORY/examples/$2.conflist" |
    on "$node" sh -c 'cat >/etc/cni/net.d/.new && mv /etc/cni/net.d/.new /etc/cni/net.d/10-podwire.conflist'
}

# apply_manifest [replace]: as a user does it, but for where the API server is: it is said, as no ClusterIP leads there
# before kube-proxy has its rules. And what the setting says otherwise.
apply_manifest() {
  k create --filename "$manifest" --dry-run=client --output json |
    jq --arg server "https://$(first_of 172.30.0.1 '[fd30::1]'):6443" --arg more "$settings" \
      'if .kind == "ConfigMap" then .data.apiServer = $server | .data."config.yaml" += $more else . end' |
    k "${1:-apply}" --filename - && routes_from_outside
}

# The machine between the nodes stands for a network that knows the pods' ranges.
routes_from_outside() {
  local node range
  for node in $nodes; do
    for range in $(ranges "$node"); do ip route replace "$range" via "$(node_address "$node" "$(family_of "$range")")"; done
  done
}
family_of() { [[ $1 == *:* ]] && echo 6 || echo 4; }

# connect_nodes: what an engine does between nodes: routes to the others' ranges, and masquerade of what leaves for
# neither pods nor nodes.
connect_nodes() {
  local node other range
  routes_from_outside
  for other in $nodes; do
    for range in $(ranges "$other"); do
      for node in $nodes; do
        [[ $node == "$other" ]] || on "$node" ip route replace "$range" via "$(node_address "$other" "$(family_of "$range")")"
      done
    done
  done
  for node in $nodes; do
    on "$node" nft -f - <<'NFT'
table ip engine {
  chain leaving {
    type nat hook postrouting priority srcnat + 10
    ip saddr 10.244.0.0/16 ip daddr != { 10.244.0.0/16, 172.30.0.0/24 } masquerade
  }
}
table ip6 engine {
  chain leaving {
    type nat hook postrouting priority srcnat + 10
    ip6 saddr fd44::/56 ip6 daddr != { fd44::/56, fd30::/64 } masquerade
  }
}
NFT
  done
}

ready() { [[ $(k get nodes --no-headers | grep -c ' Ready') == "$(wc -w <<<"$nodes")" ]]; }
