# Every conflist of examples/, as a user would install it: two containers, packets, CHECK, DEL, nothing left.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/cnitool.sh"
start_outside_web
ports='{"portMappings": [{"hostPort": 9080, "containerPort": 80, "protocol": "tcp"}]}'

# two_containers FILE: adds one and two to the network of the file and lets two fetch from one.
two_containers() {
  use_conflist "$1"
  check "$network: ADD" new_container one "$ports"
  check "$network: ADD of a second" new_container two
  check "$network: CHECK" container one check "$ports"
  serve_in one
  check "$network: containers talk" contains hello eventually inside two fetch "http://$(address one)/"
}

drop_both() { # drop_both ADDRESSES
  check "$network: DEL" drop_container one "$ports"
  check "$network: DEL of the second" drop_container two
  nothing_left "$network" "$1"
}

# host_network FILE ADDRESSES: networks behind the host publish ports and hide containers behind the host's address.
host_network() {
  two_containers "$1"
  check "$network: host port from outside, client address kept" \
    contains '^source=10.99.0.2$' outside fetch http://10.99.0.1:9080/cgi-bin/who
  check "$network: host port on 127.0.0.1" contains hello fetch http://127.0.0.1:9080/
  check "$network: egress carries the host address" \
    contains '^source=10.99.0.1$' inside two fetch http://10.99.0.2:8000/cgi-bin/who
  drop_both "$2"
}

# lan_network FILE: containers that are neighbours on the LAN themselves; outside plays the router 192.168.1.1.
lan_network() {
  two_containers "$1"
  check "$network: the LAN reaches a container" contains hello outside fetch "http://$(address one)/"
  check "$network: a container reaches the LAN with its own address" \
    contains "^source=$(address two)$" inside two fetch http://192.168.1.1:8000/cgi-bin/who
  check "$network: the router is the default route" contains 'default via 192.168.1.1' inside two ip route
  drop_both '192\.168\.1\.2[0-9]+'
}

kernel_has() { ip link add probe0 link eth0 type "$1" 2>/dev/null && ip link delete probe0; }

host_network "$EXAMPLES/podman.conflist" '10\.88\.0\.([2-9]|[0-9]{2,})'
host_network "$EXAMPLES/containerd.conflist" '10\.4\.0\.([2-9]|[0-9]{2,})'
host_network "$EXAMPLES/kind.conflist" '10\.244\.0\.([2-9]|[0-9]{2,})'
host_network "$EXAMPLES/chain.conflist" '10\.90\.0\.([2-9]|[0-9]{2,})'

dual_address() { inside two fetch "http://[$(address one 6)]/"; }
two_containers "$EXAMPLES/dual-stack.conflist"
check 'dual: containers talk by IPv6' contains hello eventually dual_address
check 'dual: host port from outside by IPv6' contains '^source=fd99::2$' outside fetch 'http://[fd99::1]:9080/cgi-bin/who'
check 'dual: IPv6 egress carries the host address' contains '^source=fd99::1$' inside two fetch 'http://[fd99::2]:8000/cgi-bin/who'
drop_both '10\.71\.0\.([2-9]|[0-9]{2,})|fd71::[0-9a-f]+'

ip -netns outside address add 192.168.1.1/24 dev eth0
for driver in macvlan ipvlan; do
  if kernel_has $driver; then
    lan_network "$EXAMPLES/$driver-lan.conflist"
  else
    skip "$driver-lan" "this kernel has no $driver"
  fi
done

# flannel and kube-router: cri-nodes has them, with what their daemons do.
untried=$(comm -23 <(find "$EXAMPLES" -name '*.conflist' -printf '%f\n' | sort) <(printf '%s\n' podman.conflist containerd.conflist kind.conflist \
  dual-stack.conflist macvlan-lan.conflist ipvlan-lan.conflist chain.conflist flannel.conflist kube-router.conflist | sort))
check 'every example was tried' test -z "$untried"
finish
