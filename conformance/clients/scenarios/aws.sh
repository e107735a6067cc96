# Amazon's VPC network by its own programs (conformance/cluster/modules/aws has what stands in for its daemon): podwire's
# portmap, bandwidth and tuning behind aws-cni and egress-cni, and host-local below egress-cni.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/cnitool.sh"
. "$CLIENTS/lib/others.sh"
start_outside_web
bin=$work/aws-bin state=/run/aws-node image=$work/aws-node
list=/etc/cni/net.d/10-aws.conflist
mkdir -p $bin $state $image/{app,dev,tmp,host/opt/cni/bin,host/etc/cni/net.d,var/run/aws-node}
cp "$OTHERS"/aws/* $image/app/
touch $image/dev/null
mount --bind /dev/null $image/dev/null
mount --bind $state $image/var/run/aws-node
mount --bind /etc/cni/net.d $image/host/etc/cni/net.d
mount --bind $bin $image/host/opt/cni/bin
use_plugins_of_others $bin

# aws_node VARIABLE=VALUE...: its container, as its DaemonSet starts it: plugins, the daemon, then the list.
aws_node() {
  rm -f $list $state/*
  local logs=(AWS_VPC_K8S_PLUGIN_LOG_FILE AWS_VPC_K8S_EGRESS_V4_PLUGIN_LOG_FILE AWS_VPC_K8S_EGRESS_V6_PLUGIN_LOG_FILE)
  env -i "${logs[@]/%/=$state/plugin.log}" AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1338 "$@" \
    unshare --root=$image --wd=/app ./aws-vpc-cni >>$state/node.log 2>&1 &
  aws_node=$!
  check 'its image writes the list' eventually test -e $list
  network=$(jq -r .name $list)
}
# Its image starts it as the only parent of the daemon.
stop_aws_node() {
  local children
  children=$(cat /proc/$aws_node/task/*/children)
  kill $aws_node $children
  wait $aws_node 2>/dev/null
  eventually closed 127.0.0.1:1338
}
closed() { ! fetch --output /dev/null "http://$1/" 2>/dev/null; }

plugins() { jq -r '[.plugins[].type] | join(" ")' $list; }
policy_rules() { ip rule; ip -6 rule; }
routes_of_all() { ip route show table all; ip -6 route show table all; }

# nothing_of PATTERN: addresses of pods are nowhere any more.
nothing_of() {
  check 'no lease' empty leases_of_egress
  check 'no cached result' empty cached_results
  check 'no host end' eventually empty host_ends_of_pods
  check 'no shaping link' eventually empty shaping_links
  check 'no policy rule' lacks "$1" policy_rules
  check 'no route' lacks "$1" routes_of_all
  check 'no rule' lacks "$1|CNI-[0-9a-f]{24}|CNI-(DN|SN|E4|E6)-" rules
}
leases_of_egress() { find /run/cni -path '*-ipam/*' -type f ! -name 'last_reserved_ip*' ! -name lock 2>/dev/null; }
host_ends_of_pods() { ip -oneline link show type veth | grep -v ' eth0@' || true; }

ports='"portMappings": [{"hostPort": 9080, "containerPort": 80, "protocol": "tcp"}, {"hostPort": 9081, "containerPort": 81, "protocol": "udp"}]'
shaped='"bandwidth": {"ingressRate": 4000000, "ingressBurst": 800000, "egressRate": 4000000, "egressBurst": 800000}'

echo '# an IPv4 cluster, with all that it chains'
outside ip route add 10.99.1.0/24 via 10.99.0.1
ip route add default via 10.99.0.2 dev eth0 table 2
aws_node ADDRESSES=10.99.1.10@1,10.99.1.20@2 ENABLE_BANDWIDTH_PLUGIN=true DISABLE_POD_V6=true
check 'with all its plugins' contains '^aws-cni egress-cni portmap bandwidth tuning$' plugins
same_as_official pod "{$ports, $shaped}"
check 'ADD of a pod on the first interface' new_container web "{$ports}"
check 'ADD of a pod on another interface' new_container slow "{$shaped}"
check 'aws-cni gives the table in the place of a hardware address' contains '^254 2$' jq -rn --slurpfile web $work/web.json --slurpfile slow $work/slow.json \
  '[$web[0], $slow[0]] | map([.interfaces[] | select(.name == "eth0").mac][0]) | join(" ")'
for member in portmap bandwidth tuning; do
  check "STATUS of $member" plugin_of_pod web $member STATUS
  check "CHECK of $member" plugin_of_pod web $member CHECK "{$ports}"
done
check 'CHECK of bandwidth that shapes' plugin_of_pod slow bandwidth CHECK "{$shaped}"
serve_in web
serve_in slow
inside web udp_server 81 &
check 'host port from outside, client address kept' contains '^source=10.99.0.2$' eventually outside fetch http://10.99.0.1:9080/cgi-bin/who
check 'udp host port from outside' eventually contains '^source=10.99.0.2$' outside udp_ask 10.99.0.1:9081
check 'host port on 127.0.0.1' contains hello fetch http://127.0.0.1:9080/
check 'a pod reaches its own host port' contains hello inside web fetch http://10.99.0.1:9080/
check 'a pod of another interface reaches it' contains hello inside slow fetch http://10.99.0.1:9080/
check 'a pod is reached by its address' contains hello outside fetch "http://$(address slow)/"
check 'IPv6 is off in pods' contains '^1$' inside web cat /proc/sys/net/ipv6/conf/all/disable_ipv6
dd if=/dev/zero of=$root/www/large bs=1000 count=600 status=none
seconds_to_fetch() { inside "$1" fetch --max-time 9 --output /dev/null --write-out '%{time_total}' http://10.99.0.2:8000/large; }
check 'a shaped download takes its time' awk -v seconds="$(seconds_to_fetch slow)" 'BEGIN { exit !(seconds > 0.7 && seconds < 3) }'
for member in portmap bandwidth tuning; do check "GC of $member, both pods valid" gc_of_plugin $member web slow; done
check 'GC keeps what is valid' contains hello outside fetch http://10.99.0.1:9080/
check 'GC of portmap, without the published pod' gc_of_plugin portmap slow
refuse 'takes its host port' outside fetch http://10.99.0.1:9080/
check 'DEL' container web del "{$ports}"
check 'DEL again' container web del "{$ports}"
end_namespace web
check 'DEL without the namespace' container web del "{$ports}"
forget slow
for member in tuning bandwidth portmap; do check "DEL of $member without its result" plugin_of_pod slow $member DEL; done
check 'no shaping link' empty shaping_links
check 'DEL of all' drop_container slow
nothing_of '10\.99\.1\.'
stop_aws_node

echo '# an IPv4 cluster with IPv6 for what leaves it'
aws_node ADDRESSES=10.99.1.10@1 ENABLE_V6_EGRESS=true NODE_IP=fd99::1
check 'with its plugins' contains '^aws-cni egress-cni portmap$' plugins
same_as_official pod "{$ports}"
check 'ADD' new_container web "{$ports}"
serve_in web
check 'host-local has a lease where egress-cni wants it' contains '/run/cni/v4pd/egress-v6-ipam/aws-cni/fd00::ac:' leases_of_egress
check 'host port from outside' contains '^source=10.99.0.2$' eventually outside fetch http://10.99.0.1:9080/cgi-bin/who
check 'IPv6 leaves by the node' contains '^source=fd99::1$' eventually inside web fetch 'http://[fd99::2]:8000/cgi-bin/who'
check 'DEL' container web del "{$ports}"
check 'DEL again' container web del "{$ports}"
end_namespace web
check 'DEL without the namespace' container web del "{$ports}"
nothing_of '10\.99\.1\.|fd00::ac'
stop_aws_node

echo '# an IPv6 cluster with IPv4 for what leaves it'
outside ip route add fd99:1::/64 via fd99::1
aws_node ADDRESSES=fd99:1::10@1 ENABLE_IPv6=true NODE_IP=10.99.0.1
same_as_official pod "{$ports}"
check 'ADD' new_container web "{$ports}"
serve_in web
check 'host-local has a lease where egress-cni wants it' contains '/run/cni/v6pd/egress-v4-ipam/aws-cni/169.254.172.' leases_of_egress
check 'host port from outside by IPv6' contains '^source=fd99::2$' eventually outside fetch 'http://[fd99::1]:9080/cgi-bin/who'
refuse 'and not by IPv4, whose address is for egress alone' outside fetch http://10.99.0.1:9080/
check 'IPv4 leaves by the node' contains '^source=10.99.0.1$' eventually inside web fetch http://10.99.0.2:8000/cgi-bin/who
forget web
check 'DEL of portmap without its result' plugin_of_pod web portmap DEL
refuse 'closes the host port' outside fetch 'http://[fd99::1]:9080/'
check 'DEL of all' drop_container web
nothing_of 'fd99:1::|169\.254\.172'
stop_aws_node
finish
