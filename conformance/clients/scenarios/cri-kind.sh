# Pods as the kubelet makes them on a kind node: ptp links, one network a node. A configuration that is there already is not replaced.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/containerd.sh"
. "$CLIENTS/lib/pods.sh"
start_outside_web
pod_addresses='10\.244\.0\.([2-9]|[0-9]{2,})'
make_archive $pause_image $work/pause.tar '["/bin/sleep", "1000000"]'
start_containerd
[ -n "$(ls /etc/cni/net.d)" ] || install_conflist "$EXAMPLES/kind.conflist"
check 'the network is ready' eventually network_ready

pods_publish
check 'the pod routes everything through its link' contains 'default via 10.244.0.1 dev eth0' in_pod web ip route
pods_stop
pods_die
pods_at_once 10
finish
