# Pods on a node of several, with the configuration of an engine ($1: flannel or kube-router) and our plugins. The engine's daemon is not here: what
# it does on a node is done by hand below, marked as its share. The neighbour is the other node, with one pod.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/containerd.sh"
. "$CLIENTS/lib/pods.sh"
engine=$1
start_outside_web
pod_addresses='10\.244\.0\.([2-9]|[0-9]{2,})'
make_archive $pause_image $work/pause.tar '["/bin/sleep", "1000000"]'

# The other node: a bridge would do no more for one pod than this pair of links.
ip netns add outside-pod
ip -netns outside link add pods type veth peer name eth0 netns outside-pod
ip -netns outside address add 10.244.1.1/24 dev pods
ip -netns outside link set pods up
ip -netns outside-pod address add 10.244.1.2/24 dev eth0
ip -netns outside-pod link set eth0 up
ip -netns outside-pod link set lo up
ip -netns outside-pod route add default via 10.244.1.1
outside sysctl -qw net.ipv4.ip_forward=1
on_other_node() { in_network /run/netns/outside-pod "$@"; }
on_other_node busybox httpd -f -p 8000 -h $root/www &

# The share of both daemons: routes by way of the nodes (host-gw; kube-router learns them by BGP), and masquerade for what leaves the cluster.
ip route add 10.244.1.0/24 via 10.99.0.2
ip -netns outside route add 10.244.0.0/24 via 10.99.0.1
iptables -t nat -A POSTROUTING -s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE

start_containerd
case $engine in
  flannel)
    # flannel's own plugin beside ours, as its init container puts it there; the share of flanneld: this node's subnet.
    mount -t overlay overlay -o "lowerdir=/opt/cni/bin:$FLANNEL" /opt/cni/bin
    mkdir -p /run/flannel
    printf '%s\n' FLANNEL_NETWORK=10.244.0.0/16 FLANNEL_SUBNET=10.244.0.1/24 FLANNEL_MTU=1450 FLANNEL_IPMASQ=true >/run/flannel/subnet.env
    install_conflist "$EXAMPLES/flannel.conflist"
    ;;
  kube-router)
    # The share of kube-router: it writes the node's range into the file.
    jq '.plugins[0].ipam.ranges = [[{subnet: "10.244.0.0/24"}]]' "$EXAMPLES/kube-router.conflist" >$work/kube-router.conflist
    install_conflist $work/kube-router.conflist
    ;;
esac
check 'the network is ready' eventually network_ready

pods_publish
check 'a pod of the other node answers, and sees the pod itself' \
  contains "^source=$(pod_address other)$" eventually in_pod other fetch http://10.244.1.2:8000/cgi-bin/who
check 'a pod of the other node reaches a pod here, with its own address' \
  contains '^source=10.244.1.2$' on_other_node fetch "http://$(pod_address web)/cgi-bin/who"
check 'a pod of the other node reaches a host port here' contains hello on_other_node fetch http://10.99.0.1:9080/
check 'and what leaves for it is not masqueraded by the plugins' lacks 'masquerade_10' rules
[ "$engine" != flannel ] || check 'the MTU is the one that flanneld says' contains 'mtu 1450' in_pod web ip link show eth0

# A policy engine rejects in iptables' FORWARD, where bridged packets come by, too (br_netfilter).
iptables -N KUBE-ROUTER-FORWARD
iptables -I FORWARD -j KUBE-ROUTER-FORWARD
iptables -A KUBE-ROUTER-FORWARD -d "$(pod_address web)" -s "$(pod_address other)" -j REJECT
iptables -A KUBE-ROUTER-FORWARD -d "$(pod_address web)" -s 10.244.1.2 -j REJECT
refuse 'a policy holds between pods of one node' in_pod other fetch "http://$(pod_address web)/"
refuse 'and between nodes' on_other_node fetch "http://$(pod_address web)/"
check 'and for nobody else' contains hello outside fetch "http://$(pod_address web)/"
iptables -F KUBE-ROUTER-FORWARD

pods_stop
pods_at_once 4
check 'what the engine made is as it was' contains 'KUBE-ROUTER-FORWARD' iptables-save
finish
