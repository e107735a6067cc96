# IPv4 and IPv6 together, and pods, under podman.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/podman.sh"
start_outside_web

check 'create dual stack' podman network create --ipv6 --subnet 10.77.0.0/24 --subnet fd77::/64 dual
check 'run with a port on every address' podman run -d --name web --network dual -p 8080:80 -p '[::]:8080:80' $image "${web[@]}"
check 'published on IPv4 from outside' contains '^source=10.99.0.2$' eventually outside fetch http://10.99.0.1:8080/cgi-bin/who
check 'published on IPv6 from outside, client address kept' \
  contains '^source=fd99::2$' eventually outside fetch 'http://[fd99::1]:8080/cgi-bin/who'
check 'published on 127.0.0.1' contains hello fetch http://127.0.0.1:8080/
check 'published on the host IPv6 address' contains hello fetch 'http://[fd99::1]:8080/'
check 'run with two chosen addresses' podman run -d --name fixed --network dual:ip=10.77.0.77,ip=fd77::77 $image sleep 1000
check 'chosen IPv4 address' contains '^10.77.0.77$' address_of fixed eth0 -4
check 'chosen IPv6 address' contains '^fd77::77$' address_of fixed eth0 -6
check 'containers talk by IPv6' contains hello eventually within fixed fetch "http://[$(address_of web eth0 -6)]/"
check 'containers talk by IPv4' contains hello within fixed fetch "http://$(address_of web eth0 -4)/"
check 'IPv6 egress carries the host address' contains '^source=fd99::1$' within fixed fetch 'http://[fd99::2]:8000/cgi-bin/who'
check 'IPv4 egress carries the host address' contains '^source=10.99.0.1$' within fixed fetch http://10.99.0.2:8000/cgi-bin/who
beyond 'the container takes no router advertisement' contains '^0$' within fixed cat /proc/sys/net/ipv6/conf/eth0/accept_ra
check 'remove both' podman rm -f -t 0 --all
check 'remove the network' podman network rm dual

# A pod's own group of Podman 4.3 denies its containers every device where cgroup version 2 is in force.
check 'create a pod with a published port' \
  podman pod create --name pod --share-parent=false -p 8090:80 --infra-image $image --infra-command 'sleep 1000'
check 'run in the pod' podman run -d --name member --pod pod $image "${web[@]}"
check 'the pod answers from outside' contains '^source=10.99.0.2$' eventually outside fetch http://10.99.0.1:8090/cgi-bin/who
check 'the pod answers on 127.0.0.1' contains hello fetch http://127.0.0.1:8090/
check 'stop the pod' podman pod stop -t 0 pod
refuse 'a stopped pod does not answer' outside fetch http://10.99.0.1:8090/
check 'start the pod' podman pod start pod
check 'the started pod answers' contains '^source=10.99.0.2$' eventually outside fetch http://10.99.0.1:8090/cgi-bin/who
check 'remove the pod' podman pod rm -f -t 0 pod
nothing_left 'dual stack and pods' '10\.77\.0\.[0-9]+[^/0-9]|fd77::[0-9a-f]+|10\.88\.0\.([2-9]|[0-9]{2,})'
finish
