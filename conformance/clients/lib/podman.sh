# Sourced by the podman scenarios: podman 4.3 with its CNI backend, plugins from /opt/cni/bin only.
image=localhost/busybox:1
web=(httpd -f -p 80 -h /www)

cat >$work/containers.conf <<CONFIGURATION
[containers]
log_driver = "k8s-file"
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
CONFIGURATION
cat >$work/storage.conf <<CONFIGURATION
[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
CONFIGURATION
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf

check 'podman imports the image' podman import -q $work/root.tar $image

# within CONTAINER COMMAND...: runs a host program or exported function in the container's network namespace.
within() {
  local process
  process=$(podman inspect "$1" --format '{{.State.Pid}}') || return 1
  in_network /proc/"$process"/ns/net "${@:2}"
}

# address_of CONTAINER INTERFACE FAMILY(-4 or -6): the global address without its prefix length.
address_of() {
  within "$1" ip -json "$3" address show dev "$2" scope global | jq -r '.[0].addr_info[0].local'
}
