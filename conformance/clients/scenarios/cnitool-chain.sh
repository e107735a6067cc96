# The official cnitool through the whole chain: bridge, portmap, firewall, tuning, bandwidth; ADD, CHECK, STATUS, GC, DEL and packets.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/cnitool.sh"
start_outside_web

cat >$work/chain.conflist <<'CONFLIST'
{
  "cniVersion": "1.1.0",
  "name": "chain",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni-chain0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {
        "type": "host-local",
        "ranges": [[{ "subnet": "10.60.0.0/24" }], [{ "subnet": "fd60::/64" }]],
        "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]
      }
    },
    { "type": "portmap", "capabilities": { "portMappings": true } },
    { "type": "firewall" },
    { "type": "tuning", "sysctl": { "net.core.somaxconn": "500" }, "mtu": 1400, "capabilities": { "mac": true } },
    { "type": "bandwidth", "capabilities": { "bandwidth": true } }
  ]
}
CONFLIST
use_conflist $work/chain.conflist
ports='{"portMappings": [{"hostPort": 9080, "containerPort": 80, "protocol": "tcp"}, {"hostPort": 9081, "containerPort": 81, "protocol": "udp"}]}'
slow='{"bandwidth": {"ingressRate": 4000000, "ingressBurst": 800000, "egressRate": 4000000, "egressBurst": 800000}, "mac": "02:00:00:00:60:03"}'
chain_addresses='10\.60\.0\.([2-9]|[0-9]{2,})|fd60::[0-9a-f]+'

check 'STATUS' whole_network status
check 'ADD with ports' new_container web "$ports"
check 'ADD with a bandwidth and a hardware address' new_container slow "$slow"
check 'CHECK with ports' container web check "$ports"
check 'CHECK with a bandwidth and a hardware address' container slow check "$slow"
serve_in web
inside web udp_server 81 &

check 'host port from outside, client address kept' contains '^source=10.99.0.2$' eventually outside fetch http://10.99.0.1:9080/cgi-bin/who
check 'host port from outside by IPv6' contains '^source=fd99::2$' outside fetch 'http://[fd99::1]:9080/cgi-bin/who'
check 'udp host port from outside' eventually contains '^source=10.99.0.2$' outside udp_ask 10.99.0.1:9081
check 'host port on 127.0.0.1' contains hello fetch http://127.0.0.1:9080/
check 'a container reaches its own host port' contains hello inside web fetch http://10.99.0.1:9080/
check 'containers talk by IPv6' contains hello inside slow fetch "http://[$(address web 6)]/"
check 'egress carries the host address' contains '^source=10.99.0.1$' inside web fetch http://10.99.0.2:8000/cgi-bin/who
check 'IPv6 egress carries the host address' contains '^source=fd99::1$' inside web fetch 'http://[fd99::2]:8000/cgi-bin/who'
check 'the sysctl is set' contains '^500$' inside web cat /proc/sys/net/core/somaxconn
check 'the mtu is set' contains 'mtu 1400' inside web ip link show eth0
check 'the hardware address is set' contains '02:00:00:00:60:03' inside slow ip link show eth0

# Shaped to 4 Mbit/s with a burst of 100 kB, 600 kB take (600 - 100) kB / 500 kB/s = 1 s; unshaped a few milliseconds.
dd if=/dev/zero of=$root/www/large bs=1000 count=600 status=none
seconds_to_fetch() { inside "$1" fetch --max-time 9 --output /dev/null --write-out '%{time_total}' http://10.99.0.2:8000/large; }
# takes_less NAME SECONDS: one of some downloads does: a limit slows down each, a busy machine now and then one.
takes_less() {
  local tries seconds
  for tries in 1 2 3 4 5 6 7 8; do
    seconds=$(seconds_to_fetch "$1")
    awk -v seconds="$seconds" -v most="$2" 'BEGIN { exit !(seconds > 0 && seconds < most) }' && return
  done
  echo "the last took $seconds s"
  return 1
}
check 'a shaped download takes its time' awk -v seconds="$(seconds_to_fetch slow)" 'BEGIN { exit !(seconds > 0.7) }'
check 'and not much more' takes_less slow 3
check 'an unshaped download does not' takes_less web 0.5

inside web ip address flush dev eth0 scope global
refuse 'CHECK sees that the address is gone' container web check "$ports"
check 'DEL of the damaged container' drop_container web "$ports"
refuse 'its host port is closed' outside fetch http://10.99.0.1:9080/
check 'the damage stays within: CHECK of the other' container slow check "$slow"

check 'ADD, to be forgotten' new_container forgotten "$ports"
serve_in forgotten
check 'the forgotten container answers' contains hello eventually outside fetch http://10.99.0.1:9080/
forgotten_address=$(address forgotten)
grep -l '"/run/netns/forgotten"' /var/lib/cni/results/* | xargs rm
end_namespace forgotten
check 'GC with the other as the only valid attachment' collect_garbage slow
check 'GC keeps the lease of the other' contains "/$(address slow)$" leases
check 'GC leaves the other working' container slow check "$slow"
beyond 'GC frees the lease of the forgotten container' lacks "/$forgotten_address$" leases
beyond 'GC removes the rules of the forgotten container' lacks "${forgotten_address//./\\.}[^0-9]" rules

check 'DEL' container slow del "$slow"
check 'DEL again' container slow del "$slow"
end_namespace slow
check 'DEL without the namespace' container slow del "$slow"

check 'ADD, for cnitool gc' new_container stale "${ports//908/909}"
serve_in stale
check 'it answers' contains hello eventually outside fetch http://10.99.0.1:9090/
stale_address=$(address stale)
check 'cnitool gc' whole_network gc
check 'cnitool gc frees the lease' lacks "/$stale_address$" leases
refuse 'cnitool gc closes the host port' outside fetch http://10.99.0.1:9090/
end_namespace stale

beyond 'no lease' empty leases
check 'no cached result' empty cached_results
check 'no host end of a pair' eventually empty host_ends
check 'no shaping link' eventually empty shaping_links
beyond 'no rule' lacks "$chain_addresses|CNI-[0-9a-f]{24}|CNI-(DN|SN)-" rules
finish
