# Sourced by the containerd scenarios: containerd with its own state, runc, plugins from /opt/cni/bin.
busybox_image=docker.io/library/busybox:1
pause_image=registry.k8s.io/pause:3.6
export CRI_SOCKET=${CRI_SOCKET:-/run/containerd/containerd.sock}
export CONTAINERD_ADDRESS=$CRI_SOCKET

. "$CLIENTS/lib/containerd-configuration.sh"
containerd_configuration "$CRI_SOCKET" "$pause_image" >$work/containerd.toml

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
cri() { "$NODE" --single-threaded "$CLIENT_PROGRAMS/cri.mjs" "$@"; }

network_ready() { contains '"type":"NetworkReady","status":true' cri Status; }

# containerd sees a file renamed within the folder, not one that is created there or moved in from elsewhere.
install_conflist() {
  cp "$1" /etc/cni/net.d/.new
  mv /etc/cni/net.d/.new /etc/cni/net.d/10-podwire.conflist
}
