# Pods as the kubelet makes them, on a network that is one chain: examples/chain.conflist.
. "$CLIENTS/lib/checks.sh"
. "$CLIENTS/lib/images.sh"
. "$CLIENTS/lib/containerd.sh"
. "$CLIENTS/lib/pods.sh"
start_outside_web
pod_addresses='10\.90\.0\.([2-9]|[0-9]{2,})'
make_archive $pause_image $work/pause.tar '["/bin/sleep", "1000000"]'
start_containerd
install_conflist "$EXAMPLES/chain.conflist"
check 'the network is ready' eventually network_ready

pods_publish
check 'a pod reaches its own host port' contains hello in_pod web fetch http://10.99.0.1:9080/
pods_stop
pods_at_once 10

# A pod that containerd still made with the old conflist is removed and the next one tried.
refused_by() {
  if run_pod failing "$published" 2>$work/refusal; then
    stop_and_remove failing
    return 1
  fi
  grep "$1" $work/refusal
}
jq '.plugins[0].plugins += [{type: "tuning", sysctl: {"net.ipv4.conf.nosuch0.rp_filter": "0"}}]' "$EXAMPLES/chain.conflist" >$work/failing.conflist
install_conflist $work/failing.conflist
check 'RunPodSandbox fails with the last member, which is named' eventually refused_by 'plugins\[4\] tuning: .*nosuch0'
nothing_left 'a failed pod' "$pod_addresses"
finish
