# Pods as the kubelet makes them, on a dual stack bridge network.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/containerd.sh"
. "$CLIENTS/lib/pods.sh"
start_outside_web
pod_addresses='10\.71\.0\.([2-9]|[0-9]{2,})|fd71::[0-9a-f]+'
make_archive $pause_image $work/pause.tar '["/bin/sleep", "1000000"]'
start_containerd

check 'without a conflist the network is not ready' contains '"type":"NetworkReady","status":false' cri Status
install_conflist "$EXAMPLES/dual-stack.conflist"
check 'with a conflist the network is ready' eventually network_ready

pods_publish
check 'the status has a second address, IPv6' contains '^fd71::' second_address web
check 'host port from outside by IPv6' contains '^source=fd99::2$' outside fetch 'http://[fd99::1]:9080/cgi-bin/who'
check 'pods talk by IPv6' contains hello in_pod other fetch "http://[$(second_address web)]/"
check 'IPv6 egress carries the host address' \
  contains '^source=fd99::1$' in_pod other fetch 'http://[fd99::2]:8000/cgi-bin/who'
check 'a pod reaches its own host port' contains hello in_pod web fetch http://10.99.0.1:9080/
pods_stop

annotations='{"annotations": {"kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "20M"}}'
check 'RunPodSandbox with a bandwidth' run_pod shaped "$annotations"
check 'ingress is shaped on the host end' contains 'tbf .*rate 10Mbit' tc qdisc show
check 'egress is shaped' contains 'tbf .*rate 20Mbit' tc qdisc show
check 'the shaped pod goes' stop_and_remove shaped

host_network='{"linux": {"security_context": {"namespace_options": {"network": "NODE"}}}}'
check 'RunPodSandbox in the host network' run_pod host "$host_network"
check 'the host network pod has no lease' empty leases
check 'the host network pod goes' stop_and_remove host
pods_die
pods_at_once 10

# A pod that containerd still made with the old conflist is removed and the next one tried.
refused_by() {
  if run_pod failing 2>$work/refusal; then
    stop_and_remove failing
    return 1
  fi
  grep "$1" $work/refusal
}
jq '.plugins += [{type: "tuning", sysctl: {"net.ipv4.conf.nosuch0.rp_filter": "0"}}]' "$EXAMPLES/dual-stack.conflist" >$work/failing.conflist
install_conflist $work/failing.conflist
check 'RunPodSandbox fails with the last plugin of the chain' eventually refused_by nosuch0
check 'a failed pod leaves no lease' empty leases
check 'a failed pod leaves no link' empty host_ends
beyond 'a failed pod leaves no rule' lacks "$pod_addresses" rules
finish
