# What podwire, the program, tells of containers that containerd made, by its CRI and by ctr, and what gc takes of them.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/containerd.sh"
. "$CLIENTS/lib/pods.sh"
. "$CLIENTS/lib/tool.sh"
OFFICIAL_PLUGINS=${1-}
make_archive $pause_image $work/pause.tar '["/bin/sleep", "1000000"]'
make_archive $busybox_image $work/busybox.tar '["/bin/sh"]'
start_containerd
install_conflist "$EXAMPLES/containerd.conflist"
check 'the network is ready' eventually network_ready
check 'containerd imports the pause image' ctr -n k8s.io images import $work/pause.tar
check 'containerd imports the image' ctr images import $work/busybox.tar

check 'a pod with host ports' run_pod web "$published"
check 'a pod that will die' run_pod dying '{"port_mappings": [{"container_port": 80, "host_port": 9090}]}'
check 'a container of ctr' ctr run -d --cni $busybox_image job sleep 1000
serve_in web
# Once: what rules count is told below.
check 'the host port answers' contains hello outside fetch http://10.99.0.1:9080/
job_process=$(ctr tasks list | awk '$1 == "job" { print $2 }')

web_is="^bridge eth0 10.4.0.2/24 9080->80/tcp,9081->81/udp alive: its namespace is $(pod_namespace web)$"
check 'ps tells of the pod' contains "$web_is" told default/web
check 'ps tells of its loopback' contains "^cni-loopback lo .* alive: its namespace is $(pod_namespace web)$" told default/web
check 'ps tells of the container of ctr' \
  contains "^bridge eth0 10.4.0.4/24  alive: its namespace is /proc/$job_process/ns/net$" told job
check 'leases tells of the pod' contains '^bridge default/web alive$' told_lease 10.4.0.2
check 'leases tells how full the range is' contains '^3 0$' told_range bridge
check 'ports tells of the pod' \
  contains "^10.4.0.2:80 default/web alive rule=true $(uncounted_or 1) \[\]$" told_port 9080
check 'ports tells of its second port' contains '^10.4.0.2:81 default/web alive rule=true' told_port 9081
names_asked $CRI_SOCKET default/web
shows default/web
plans /etc/cni/net.d/10-podwire.conflist 10.4.0.5/24

# containerd keeps the namespace of a killed pod until it is stopped; it goes when the node is cleaned up behind its back.
dying_namespace=$(pod_namespace dying)
kill -KILL "$(pod_process dying)"
check 'the death is noticed' eventually contains SANDBOX_NOTREADY pod_status dying
check 'a killed pod lives while its namespace does' contains 'eth0 .* alive: its namespace' told default/dying
ip netns delete "${dying_namespace##*/}"
check 'then it is dead' contains "^bridge eth0 10.4.0.3/24 9090->80/tcp dead: $dying_namespace is gone$" told default/dying
# Nobody is left to detach the container.
kill -KILL "$(pgrep -f 'containerd-shim.* -id job ')" "$job_process"
check 'the container of ctr is dead' \
  eventually contains "^bridge eth0 .* dead: /proc/$job_process/ns/net is gone$" told default-job
check 'leases tells of the dead' contains '^bridge default/dying dead$' told_lease 10.4.0.3
check 'leases counts the dead' contains '^3 2$' told_range bridge
check 'ports tells of the dead' contains '^10.4.0.3:80 default/dying dead rule=true' told_port 9090

collects default/dying
check 'no rule of the dead is left' lacks '10\.4\.0\.[34]([^0-9]|$)' rules
check 'their leases are gone' contains '^1 0$' told_range bridge
check 'their results are gone' lacks "$(cat $work/pods/dying)|default-job" cached_results
check 'the pod lives as before' contains "$web_is" told default/web
check 'its host port answers as before' contains hello outside fetch http://10.99.0.1:9080/
refuse 'uninstall says what lives' tool uninstall --dry-run
check 'and who that is' contains '"name": "default/web"' tool uninstall --dry-run --json

check 'containerd removes the dead pod' stop_and_remove dying
check 'and the living one' stop_and_remove web
refuse 'ps has nothing more of it' told default/web
nothing_left 'all removed' '10\.4\.0\.([2-9]|[0-9]{2,})'
finish
