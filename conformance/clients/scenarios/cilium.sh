# Cilium by its own plugin (conformance/cluster/modules/cilium has what stands in for its daemon): podwire's portmap,
# bandwidth and tuning behind cilium-cni, host-local as the IPAM plugin it delegates to, and cilium-cni behind ptp.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/cnitool.sh"
. "$CLIENTS/lib/others.sh"
start_outside_web
bin=$work/cilium-bin
mkdir $bin
cp "$OTHERS/cilium/cilium-cni" $bin/
use_plugins_of_others $bin
outside ip route add 10.0.1.0/24 via 10.99.0.1
outside ip route add fd00:1::/64 via fd99::1

# start_agent VARIABLE=VALUE...: and waits until it answers.
start_agent() {
  rm -rf /run/cilium
  env ROUTER=10.0.1.1,fd00:1::1 "$@" "$OTHERS/cilium/cilium-agent" 2>>$work/agent.log &
  agent=$!
  eventually ask_agent healthz >/dev/null
}
stop_agent() {
  kill $agent
  wait $agent 2>/dev/null
}
ask_agent() { curl --silent --show-error --fail --unix-socket /run/cilium/cilium.sock "http://agent/v1/$1"; }

# use_list CNIVERSION NAME PLUGINS: as Cilium writes lists.
use_list() {
  jq -n --arg version "$1" --arg name "$2" --argjson plugins "$3" '{cniVersion: $version, name: $name, plugins: $plugins}' >$work/05-cilium.conflist
  use_conflist $work/05-cilium.conflist
}
cilium() { jq -nc --argjson more "${1:-null}" --arg log $work/cilium.log '{type: "cilium-cni", "enable-debug": false, "log-file": $log} + ($more // {})'; }
portmap='{"type": "portmap", "capabilities": {"portMappings": true}}'
ports='"portMappings": [{"hostPort": 9080, "containerPort": 80, "protocol": "tcp"}]'
shaped='"bandwidth": {"ingressRate": 4000000, "ingressBurst": 800000, "egressRate": 4000000, "egressBurst": 800000}'

reached() {
  serve_in web
  check 'host port from outside, client address kept' contains '^source=10.99.0.2$' eventually outside fetch http://10.99.0.1:9080/cgi-bin/who
  check 'host port from outside by IPv6' contains '^source=fd99::2$' eventually outside fetch 'http://[fd99::1]:9080/cgi-bin/who'
  check 'host port on 127.0.0.1' contains hello fetch http://127.0.0.1:9080/
  check 'a pod reaches its own host port' contains hello inside web fetch http://10.99.0.1:9080/
  check 'a pod is reached by its addresses' contains hello outside fetch "http://$(address web)/"
  check 'of both families' contains hello outside fetch "http://[$(address web 6)]/"
}
# detached CAPABILITIES: the pod's end, asked for as often and with as little as a runtime may.
detached() {
  check 'DEL' container web del "$1"
  check 'DEL again' container web del "$1"
  end_namespace web
  check 'DEL without the namespace' container web del "$1"
  check 'no lease' empty leases
  check 'no cached result' empty cached_results
  check 'no host end' eventually empty host_ends_of_pods
  check 'no shaping link' eventually empty shaping_links
  check 'no rule' lacks '10\.0\.1\.[1-9]|fd00:1::[1-9]|CNI-[0-9a-f]{24}|CNI-(DN|SN)-' rules
}
host_ends_of_pods() { ip -oneline link show type veth | grep -v ' eth0@' || true; }

echo '# portmap behind it, as cni.chainingMode=portmap writes it'
start_agent IPAM=cluster-pool ADDRESSES=10.0.1.10,fd00:1::10
use_list 1.0.0 portmap "[$(cilium), $portmap]"
same_as_official pod "{$ports}"
check 'ADD' new_container web "{$ports}"
check 'CHECK' container web check "{$ports}"
reached
check 'GC keeps it' gc_of_plugin portmap web
check 'and its port' contains hello outside fetch http://10.99.0.1:9080/
check 'GC without it' gc_of_plugin portmap
refuse 'takes its port' outside fetch http://10.99.0.1:9080/
detached "{$ports}"
check 'ADD of a pod to be forgotten' new_container web "{$ports}"
reached
forget web
check 'DEL of portmap without its result' plugin_of_pod web portmap DEL
refuse 'closes its port' outside fetch http://10.99.0.1:9080/
detached "{$ports}"

echo '# and bandwidth and tuning'
use_list 1.0.0 portmap "[$(cilium), $portmap, {\"type\": \"bandwidth\", \"capabilities\": {\"bandwidth\": true}}, {\"type\": \"tuning\", \"sysctl\": {\"net.core.somaxconn\": \"500\"}}]"
same_as_official pod "{$ports, $shaped}"
check 'ADD' new_container web "{$ports, $shaped}"
check 'CHECK' container web check "{$ports, $shaped}"
check 'the sysctl is set' contains '^500$' inside web cat /proc/sys/net/core/somaxconn
dd if=/dev/zero of=$root/www/large bs=1000 count=600 status=none
seconds_to_fetch() { inside "$1" fetch --max-time 9 --output /dev/null --write-out '%{time_total}' http://10.99.0.2:8000/large; }
check 'a shaped download takes its time' awk -v seconds="$(seconds_to_fetch web)" 'BEGIN { exit !(seconds > 0.7 && seconds < 3) }'
reached
detached "{$ports, $shaped}"
stop_agent

echo '# host-local below it, as ipam.mode=delegated-plugin has it'
start_agent IPAM=delegated-plugin ADDRESSES=
ranges='[[{"subnet": "10.0.1.0/24", "rangeStart": "10.0.1.20"}], [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::20"}]]'
use_list 1.1.0 cilium "[$(cilium "{\"ipam\": {\"type\": \"host-local\", \"ranges\": $ranges}}"), $portmap]"
check 'STATUS of all' whole_network status
same_as_official pod "{$ports}"
check 'ADD' new_container web "{$ports}"
check 'CHECK' container web check "{$ports}"
check 'the addresses are leased' contains "/cilium/$(address web)$" leases
reached
detached "{$ports}"

echo '# behind ptp, as chaining-mode generic-veth'
use_list 1.1.0 generic-veth "[{\"type\": \"ptp\", \"mtu\": 1400, \"ipam\": {\"type\": \"host-local\", \"ranges\": $ranges, \"routes\": [{\"dst\": \"0.0.0.0/0\"}, {\"dst\": \"::/0\"}]}}, $portmap, $(cilium '{"chaining-mode": "generic-veth"}')]"
check 'STATUS of all' whole_network status
same_as_official pod "{$ports}"
check 'ADD' new_container web "{$ports}"
check 'CHECK' container web check "{$ports}"
reached
detached "{$ports}"
stop_agent
check 'STATUS without its daemon is an error' contains 'cilium' whole_network status
finish
