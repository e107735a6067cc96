# The default network of podman: published ports from everywhere, egress, and the life of a container.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/podman.sh"
start_outside_web

answers() {
  check "$1: published tcp port from outside, client address kept" \
    contains '^source=10.99.0.2$' eventually outside fetch http://10.99.0.1:8080/cgi-bin/who
}
rules_lost() { nft flush ruleset; ! outside fetch --max-time 3 http://10.99.0.1:8080/; }

check 'run with published ports' podman run -d --name web -p 8080:80 -p 8081:81/udp $image "${web[@]}"
within web udp_server 81 &
answers 'after run'
check 'published tcp port from the host address' contains hello fetch http://10.99.0.1:8080/
check 'published tcp port on 127.0.0.1' contains hello fetch http://127.0.0.1:8080/
check 'published tcp port on the bridge address' contains hello fetch http://10.88.0.1:8080/
check 'published udp port from outside, client address kept' eventually contains '^source=10.99.0.2$' outside udp_ask 10.99.0.1:8081
check 'published udp port on 127.0.0.1' eventually contains '^source=' udp_ask 127.0.0.1:8081
check 'the container reaches its own published port' contains hello within web fetch http://10.99.0.1:8080/
refuse 'a port that is not published stays closed' outside fetch http://10.99.0.1:8082/

check 'second container' podman run -d --name client $image sleep 1000
check 'containers talk' contains hello within client fetch http://"$(address_of web eth0 -4)"/
check 'published port from another container' contains hello within client fetch http://10.99.0.1:8080/
check 'egress carries the host address' contains '^source=10.99.0.1$' within client fetch http://10.99.0.2:8000/cgi-bin/who

iptables -P FORWARD DROP
check 'run where the FORWARD policy is DROP' podman run -d --name behind $image sleep 1000
check 'its egress passes' contains hello within behind fetch http://10.99.0.2:8000/
check 'it talks to another container' contains hello within behind fetch http://"$(address_of web eth0 -4)"/
check 'egress of a container from before passes' contains hello within client fetch http://10.99.0.2:8000/
iptables -P FORWARD ACCEPT

check 'stop' podman stop -t 0 web
refuse 'a stopped container does not answer' outside fetch http://10.99.0.1:8080/
check 'a stopped container holds no lease' lacks "$(podman inspect web --format '{{.Id}}')" grep -rs . /var/lib/cni/networks
check 'start' podman start web
answers 'after start'
check 'restart' podman restart -t 0 web
answers 'after restart'

before=$(address_of web eth0 -4)
check 'flushing the rules cuts the port off' rules_lost
check 'reload of one container' podman network reload web
answers 'after reload'
check 'reload keeps the address' test "$(address_of web eth0 -4)" = "$before"
check 'flushing the rules cuts the port off again' rules_lost
check 'reload of all containers' podman network reload --all
answers 'after reload of all'
check 'egress after reload of all' contains '^source=10.99.0.1$' within client fetch http://10.99.0.2:8000/cgi-bin/who

check 'remove a running container' podman rm -f -t 0 web
refuse 'a removed container does not answer' outside fetch http://10.99.0.1:8080/
check 'its port can be published again' podman run -d --name again --ip 10.88.0.50 -p 8080:80 $image "${web[@]}"
answers 'after publishing again'
check 'another container reaches it' contains hello within client fetch http://10.88.0.50/
check 'port of one host address' podman run -d --name bound --ip 10.88.0.51 -p 127.0.0.1:8090:80 $image "${web[@]}"
check 'port bound to 127.0.0.1 answers there' contains hello eventually fetch http://127.0.0.1:8090/
refuse 'port bound to 127.0.0.1 is not seen from outside' outside fetch http://10.99.0.1:8090/

# The host and the other containers still know the hardware address that the last owner of this address had.
podman rm -f -t 0 again >/dev/null
check 'an address is used again at once' podman run -d --name heir --ip 10.88.0.50 $image "${web[@]}"
beyond 'the host reaches the new owner' contains hello eventually fetch http://10.88.0.50/
beyond 'another container reaches the new owner' contains hello within client fetch http://10.88.0.50/
check 'remove all' podman rm -f -t 0 --all
nothing_left 'default network' '10\.88\.0\.([2-9]|[0-9]{2,})'
finish
