# Sourced by `inside` for the settings of this folder: two nodes with programs of others.

# needs PROGRAM...: programs in the cache, each as MODULE/PROGRAM.
needs() {
  local program
  for program; do
    [[ -x $CACHE/$program ]] || { skip "$setting" "there is no $CACHE/$program: \`conformance/cluster/build ${program%%/*}\` makes it"; finish; }
  done
}

needs_image() {
  [[ -e $image ]] || { skip "$setting" 'there is no image: `make image` makes it'; finish; }
  images=("$image")
}

# make_nodes [FOLDER...]: both nodes, with copies of what is in the folders as their plugins.
make_nodes() {
  local node
  for node in $nodes; do
    required "$node registers and gets its ranges" make_node "$node"
    required "$node has plugins" cp -a "$@" "$FOLDER/$node/opt/cni/bin/"
  done
  routes_from_outside
}

# host_daemon NAMESPACE NAME PREPARATION COMMAND: a DaemonSet whose containers see their node as it is, as those of
# networks do, but take its programs: no image is needed. PREPARATION and COMMAND are words of a shell.
host_daemon() {
  k create namespace "$1" --dry-run=client --output json | k apply --filename - &&
    within 30 k --namespace "$1" get serviceaccount default || return 1
  jq -n --arg namespace "$1" --arg name "$2" --arg preparation "$3" --arg command "$4" '
    def container($name; $words): {
      name: $name, image: "registry.k8s.io/agnhost:1", imagePullPolicy: "Never",
      command: ["chroot", "/host", "/bin/bash", "-euc", $words],
      env: [{name: "NODE_NAME", valueFrom: {fieldRef: {fieldPath: "spec.nodeName"}}},
        {name: "PATH", value: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}],
      securityContext: {capabilities: {add: ["NET_ADMIN", "NET_RAW", "SYS_CHROOT"]}},
      volumeMounts: [{name: "host", mountPath: "/host", mountPropagation: "HostToContainer"}]
    };
    {
      apiVersion: "apps/v1", kind: "DaemonSet", metadata: {name: $name, namespace: $namespace},
      spec: {selector: {matchLabels: {app: $name}}, template: {metadata: {labels: {app: $name}}, spec: {
        hostNetwork: true, tolerations: [{operator: "Exists"}], terminationGracePeriodSeconds: 2,
        initContainers: [container("install"; $preparation)], containers: [container("daemon"; $command)],
        volumes: [{name: "host", hostPath: {path: "/"}}]
      }}}
    }' | k apply --filename -
}
rolled_out() { k --namespace "$1" rollout status "daemonset/$2" --timeout=60s; }

# put NODE FILE: from stdin, in one step.
put() { on "$1" sh -c 'mkdir -p "${0%/*}"; cat >"$0.new" && mv "$0.new" "$0"' "$2"; }

# flannel_daemon: flanneld as its manifest runs it, with the backend host-gw. Its init container puts flannel's own
# plugin beside the others where $1 is not empty.
flannel_daemon() {
  local node
  for node in $nodes; do
    put "$node" /etc/kube-flannel/net-conf.json <<<'{"Network": "10.244.0.0/16", "EnableIPv6": true, "IPv6Network": "fd44::/56", "Backend": {"Type": "host-gw"}}' &&
      put "$node" /etc/kube-flannel/cni-conf.json <"$REPOSITORY/examples/flannel.conflist" || return 1
  done
  local plugin="cp $CACHE/flannel-plugin/flannel /opt/cni/bin/.flannel && mv /opt/cni/bin/.flannel /opt/cni/bin/flannel"
  host_daemon kube-flannel kube-flannel-ds "${1:+$plugin; }cp /etc/kube-flannel/cni-conf.json /etc/cni/net.d/10-flannel.conflist" \
    "exec $CACHE/flannel/flanneld --ip-masq --kube-subnet-mgr --kubeconfig-file=/etc/kubernetes/admin.conf --iface=eth0"
}

# kept_by_flannel NODE: what the plugin flannel keeps of attachments.
kept_by_flannel() { on "$1" find /var/lib/cni/flannel -type f; }
nothing_kept() { [[ -z $(kept_by_flannel "$1" 2>/dev/null) ]] || { kept_by_flannel "$1"; return 1; }; }
