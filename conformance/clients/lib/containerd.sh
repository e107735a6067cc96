# Sourced by the containerd scenarios: containerd 1.6 with its own state, runc, plugins from /opt/cni/bin.
busybox_image=docker.io/library/busybox:1
pause_image=registry.k8s.io/pause:3.6
export CRI_SOCKET=/run/containerd/containerd.sock

# Without CAP_SYS_RESOURCE, which a test machine often lacks, runc may not lower oom_score_adj: hence restrict_oom_score_adj.
cat >$work/containerd.toml <<CONFIGURATION
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "$CRI_SOCKET"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$pause_image"
  disable_tcp_service = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
CONFIGURATION

start_containerd() {
  containerd --config $work/containerd.toml >>$work/containerd.log 2>&1 &
  containerd_process=$!
  eventually ctr version >/dev/null
}

stop_containerd() {
  kill $containerd_process
  wait $containerd_process 2>/dev/null || true
}

# cri METHOD [JSON]: one call of the container runtime interface, as the kubelet makes it.
cri() { "$NODE" "$CLIENT_PROGRAMS/cri.mjs" "$@"; }

network_ready() { contains '"type":"NetworkReady","status":true' cri Status; }

# containerd sees a file renamed within the folder, not one that is created there or moved in from elsewhere.
install_conflist() {
  cp "$1" /etc/cni/net.d/.new
  mv /etc/cni/net.d/.new /etc/cni/net.d/10-podwire.conflist
}
