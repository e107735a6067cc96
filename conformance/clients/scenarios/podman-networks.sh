# User-defined networks of podman: chosen and refused addresses, several networks, connect, disconnect, internal.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/podman.sh"
start_outside_web

sleeper=($image sleep 1000)
mac_of() { within "$1" ip -json link show eth0 | jq -r '.[0].address'; }
interfaces_of() { within "$1" ip -json link | jq -c 'map(.ifname) | sort'; }
lease_count() { leases | wc -l; }

check 'create with subnet, gateway and range' \
  podman network create --subnet 10.70.0.0/24 --gateway 10.70.0.254 --ip-range 10.70.0.128/25 chosen
check 'run with a chosen address' podman run -d --name fixed --network chosen --ip 10.70.0.200 \
  --mac-address 02:00:00:00:70:c8 -p 8080:80 $image "${web[@]}"
check 'the chosen address is there' contains '^10.70.0.200$' address_of fixed eth0 -4
check 'the chosen hardware address is there' contains '^02:00:00:00:70:c8$' mac_of fixed
check 'its published port answers from outside' contains hello eventually outside fetch http://10.99.0.1:8080/
check 'its published port answers on 127.0.0.1' contains hello fetch http://127.0.0.1:8080/
check 'default route through the chosen gateway' contains 'via 10.70.0.254' within fixed ip route show default
check 'run takes an address of the range' podman run -d --name ranged --network chosen "${sleeper[@]}"
check 'the address is of the range' contains '^10\.70\.0\.(129|1[3-9][0-9]|2[0-9]{2})$' address_of ranged eth0 -4
check 'chosen network reaches the outside' contains '^source=10.99.0.1$' within ranged fetch http://10.99.0.2:8000/cgi-bin/who

leases_before=$(lease_count)
links_before=$(host_ends | wc -l)
refuse 'an address in use is refused' podman run --rm --network chosen --ip 10.70.0.200 $image true
refuse 'the gateway address is refused' podman run --rm --network chosen --ip 10.70.0.254 $image true
refuse 'an address outside the range is refused' podman run --rm --network chosen --ip 10.70.0.20 $image true
refuse 'an address outside the subnet is refused' podman run --rm --network chosen --ip 10.71.0.20 $image true
check 'refused addresses leave no lease' test "$(lease_count)" = "$leases_before"
check 'refused addresses leave no link' test "$(host_ends | wc -l)" = "$links_before"
check 'refused addresses leave no rule' lacks '10\.70\.0\.20[^0-9]|10\.71' rules
check 'remove, then the address is free again' podman rm -f -t 0 fixed
check 'the freed address is given again' podman run --rm --network chosen --ip 10.70.0.200 $image true
podman rm -f -t 0 --all >/dev/null
check 'the bridge goes with its network' podman network rm chosen
refuse 'no bridge is left' ip link show cni-podman1

check 'create first' podman network create --subnet 10.72.0.0/24 first
check 'create second' podman network create --subnet 10.73.0.0/24 second
check 'run in two networks' podman run -d --name both --network first --network second $image "${web[@]}"
check 'two interfaces' contains '"eth0","eth1"' interfaces_of both
check 'run in one network' podman run -d --name one --network second "${sleeper[@]}"
both_in_second=$(podman inspect both --format '{{.NetworkSettings.Networks.second.IPAddress}}')
check 'containers of the same network talk' contains hello eventually within one fetch http://"$both_in_second"/
check 'connect' podman network connect --ip 10.72.0.99 first one
check 'connected address' contains '^10.72.0.99$' address_of one eth1 -4
both_in_first=$(podman inspect both --format '{{.NetworkSettings.Networks.first.IPAddress}}')
check 'the connected network carries packets' contains hello within one fetch http://"$both_in_first"/
check 'disconnect' podman network disconnect first one
refuse 'no interface after disconnect' within one ip link show eth1
check 'no lease after disconnect' lacks '10\.72\.0\.99$' leases
check 'the other network still works' contains hello within one fetch http://"$both_in_second"/
check 'disconnect the last network' podman network disconnect second one
refuse 'no interface at all' within one ip link show eth0
check 'connect again' podman network connect second one
check 'packets flow again' contains hello within one fetch http://"$both_in_second"/
podman rm -f -t 0 --all >/dev/null
check 'remove both networks' podman network rm first second

check 'create internal' podman network create --internal --subnet 10.74.0.0/24 inside
check 'run inside' podman run -d --name hidden --network inside $image "${web[@]}"
check 'run a second inside' podman run -d --name peer --network inside "${sleeper[@]}"
check 'an internal container has no default route' lacks default within hidden ip route
refuse 'an internal container does not get out' within hidden fetch --max-time 1 http://10.99.0.2:8000/
check 'internal containers talk' contains hello eventually within peer fetch http://"$(address_of hidden eth0 -4)"/
podman rm -f -t 0 --all >/dev/null
check 'remove internal' podman network rm inside

check 'create with mtu' podman network create -o mtu=1400 --subnet 10.75.0.0/24 small
check 'the mtu is there' contains 'mtu 1400' podman run --rm --network small $image ip link show eth0
check 'create isolated' podman network create -o isolate=true --subnet 10.76.0.0/24 alone
check 'create isolated too' podman network create -o isolate=true --subnet 10.78.0.0/24 apart
check 'run isolated' podman run -d --name isolated --network alone $image "${web[@]}"
check 'run beside it' podman run -d --name beside --network apart "${sleeper[@]}"
check 'run with it' podman run -d --name together --network alone "${sleeper[@]}"
check 'the same network reaches it' contains hello eventually within together fetch http://"$(address_of isolated eth0 -4)"/
refuse 'another network does not reach an isolated container' within beside fetch --max-time 1 http://"$(address_of isolated eth0 -4)"/
check 'the isolated container reaches the outside' contains hello within isolated fetch http://10.99.0.2:8000/
podman rm -f -t 0 --all >/dev/null

for number in 1 2 3 4 5 6; do
  podman run -d --name "crowd$number" --network small "${sleeper[@]}" &
  crowd[number]=$!
done
for number in 1 2 3 4 5 6; do
  wait "${crowd[number]}"
  check "six at once: container $number runs" test $? = 0
done
check 'six at once: six leases' contains '^6$' lease_count
podman rm -f -t 0 --all >/dev/null
check 'remove the last networks' podman network rm small alone apart
nothing_left 'user networks' '10\.7[0-8]\.0\.[0-9]+([^0-9/]|/32|$)'
finish
