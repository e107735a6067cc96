# podman-lan DRIVER: podman's macvlan or ipvlan networks, whose containers are machines on the cell's own LAN.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/podman.sh"
start_outside_web
driver=$1

# ipvlan takes the device of the default route; podman has no option to name another one.
options=()
[ "$driver" = ipvlan ] || options=(-o parent=eth0)
on_lan=(--subnet 10.99.0.0/24 --gateway 10.99.0.2 --ip-range 10.99.0.64/26
  --subnet fd99::/64 --gateway fd99::2 --ip-range fd99::40/122)

# talk NETWORK: starts two containers, which talk to each other and to the neighbour by tcp, udp and ICMP in both families.
talk() {
  local network=$1 v4 v6
  check "$network: run" podman run -d --name web --network "$network" $image "${web[@]}"
  check "$network: run another" podman run -d --name client --network "$network" $image sleep 1000
  v4=$(address_of web eth0 -4)
  v6=$(address_of web eth0 -6)
  check "$network: it is what it is called" contains " $driver " within web ip -details link show eth0
  within web udp_server 81 &
  for place in outside 'within client'; do
    check "$network: tcp, $place" contains hello eventually $place fetch "http://$v4/"
    check "$network: tcp by IPv6, $place" contains hello eventually $place fetch "http://[$v6]/"
    check "$network: udp, $place" eventually contains source= $place udp_ask "$v4:81"
    check "$network: ICMP, $place" $place ping -n -c 1 -w 5 "$v4"
    check "$network: ICMPv6, $place" $place ping -n -c 1 -w 5 "$v6"
  done
  check "$network: the client is itself on the LAN" contains "^source=$(address_of client eth0 -4)$" \
    within client fetch http://10.99.0.2:8000/cgi-bin/who
  check "$network: stop" podman stop -t 0 web
  refuse "$network: what is stopped does not answer" outside fetch --max-time 1 "http://$v4/"
  check "$network: start" podman start web
  check "$network: it answers again" contains hello eventually outside fetch "http://$(address_of web eth0 -4)/"
}
drop_all() { podman rm -f -t 0 --all >/dev/null; }

check 'create' podman network create -d "$driver" "${options[@]}" "${on_lan[@]}" lan
talk lan

if [ "$driver" = ipvlan ]; then
  check 'create l3' podman network create -d ipvlan -o mode=l3 --subnet 10.98.0.0/24 --subnet fd98::/64 routed
  refuse 'another mode on the same device is refused' podman run --rm --network routed $image true
  check 'the others go on' contains hello outside fetch "http://$(address_of web eth0 -4)/"
  drop_all
  ip -netns outside route add 10.98.0.0/24 via 10.99.0.1
  ip -netns outside route add fd98::/64 via fd99::1
  talk routed
else
  check 'run with chosen addresses' podman run -d --name chosen --network lan --ip 10.99.0.77 --mac-address 02:00:00:00:99:4d $image "${web[@]}"
  check 'the neighbour finds it there' contains hello eventually outside fetch http://10.99.0.77/
  check 'at this hardware address' contains 02:00:00:00:99:4d outside ip neigh show 10.99.0.77
  refuse 'the same address twice is refused' podman run --rm --network lan --ip 10.99.0.77 $image true
fi
drop_all
check 'no lease' empty leases
check 'no cached result' empty cached_results
check 'no namespace' eventually empty namespaces
check 'no record' empty find /run/podwire -type f ! -name '*.lock'
finish
