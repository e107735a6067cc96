# Containers of `ctr run --cni`: no loopback plugin, and a DEL after the namespace is gone.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/containerd.sh"
start_outside_web
make_archive $busybox_image $work/busybox.tar '["/bin/sh"]'
start_containerd
install_conflist "$EXAMPLES/containerd.conflist"

ctr_run() { ctr run --rm --cni $busybox_image "$@"; }
answers_at() { fetch "http://$1/"; }
address_in() { in_network "/proc/$1/ns/net" ip -json -4 address show dev eth0 | jq -er '.[0].addr_info[0].local'; }
task_process() { ctr tasks list | awk -v name="$1" '$1 == name { print $2 }' | grep .; }

check 'containerd imports the image' ctr images import $work/busybox.tar
check 'run has an address of the network' contains 'inet 10\.4\.0\.[0-9]+/24' ctr_run first ip address show eth0
check 'run has the default route' contains 'default via 10.4.0.1' ctr_run second ip route
check 'run reaches the outside' contains '^source=10.99.0.1$' ctr_run third wget -q -O - http://10.99.0.2:8000/cgi-bin/who
check 'the short runs left no lease' empty leases

ctr_run web httpd -f -p 80 -h /www &
web_run=$!
web_process=$(eventually task_process web)
web_address=$(eventually address_in "$web_process")
check 'a running container answers the host' contains hello eventually answers_at "$web_address"
check 'a running container answers another' contains hello ctr_run fourth wget -q -O - "http://$web_address/"
check 'its task is killed' ctr tasks kill --signal KILL web
wait $web_run

check 'no lease' empty leases
check 'no cached result' empty cached_results
check 'no host end of a pair' eventually empty host_ends
beyond 'no rule' lacks '10\.4\.0\.([2-9]|[0-9]{2,})|CNI-[0-9a-f]{24}' rules
finish
