# Sourced where containerd is started: its configuration, for version 1.6 as for 2.

# containerd_configuration SOCKET PAUSE_IMAGE: without CAP_SYS_RESOURCE, which a test machine often lacks, nobody may lower oom_score_adj.
containerd_configuration() {
  cat <<CONFIGURATION
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "$1"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$2"
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
}
