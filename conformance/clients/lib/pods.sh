# Sourced by the scenarios that make pods through containerd's CRI, with one conflist each.
#
# A scenario sets the pattern pod_addresses (container addresses as they appear in rules) and calls pods_* in turn.
pod_request() { # pod_request NAME [JSON: more of the pod's configuration]
  jq -nc --arg name "$1" --argjson more "${2:-{\}}" \
    '{config: ({metadata: {name: $name, uid: ("uid-" + $name), namespace: "default"}} + $more)}'
}

# Pods go by name; run_pod keeps the id containerd gave.
mkdir -p $work/pods
run_pod() { # run_pod NAME [JSON]
  cri RunPodSandbox "$(pod_request "$@")" | jq -er .pod_sandbox_id >"$work/pods/$1"
}
pod_call() { # pod_call METHOD NAME [JSON: more fields]
  cri "$1" "$(jq -nc --arg id "$(cat "$work/pods/$2")" --argjson more "${3:-{\}}" '{pod_sandbox_id: $id} + $more')"
}
stop_pod() { pod_call StopPodSandbox "$1"; }
remove_pod() { pod_call RemovePodSandbox "$1"; }
stop_and_remove() { stop_pod "$1" && remove_pod "$1"; }
pod_status() { pod_call PodSandboxStatus "$1" | jq -c .status; }
pod_address() { pod_status "$1" | jq -er .network.ip; }
second_address() { pod_status "$1" | jq -er '.network.additional_ips[0].ip'; }
pod_details() { pod_call PodSandboxStatus "$1" '{"verbose": true}' | jq -r .info.info; }
pod_process() { pod_details "$1" | jq -er .pid; }
pod_namespace() { pod_details "$1" | jq -er '.runtimeSpec.linux.namespaces[] | select(.type == "network").path'; }
in_pod() { in_network "$(pod_namespace "$1")" "${@:2}"; }

serve_in() { in_pod "$1" busybox httpd -p 80 -h $root/www; }
published='{"port_mappings": [{"protocol": "TCP", "container_port": 80, "host_port": 9080}, {"protocol": "UDP", "container_port": 81, "host_port": 9081}]}'

# pods_publish: two pods, web with host ports and other without.
pods_publish() {
  check 'containerd imports the pause image' ctr -n k8s.io images import $work/pause.tar
  check 'RunPodSandbox with host ports' run_pod web "$published"
  check 'RunPodSandbox without host ports' run_pod other
  serve_in web
  in_pod web udp_server 81 &
  check 'the status has an address' contains '^[0-9.]+$' pod_address web
  check 'the loopback interface is up' contains 'LOOPBACK,UP' in_pod web ip link show lo
  check 'host port from outside, client address kept' \
    contains '^source=10.99.0.2$' eventually outside fetch http://10.99.0.1:9080/cgi-bin/who
  check 'udp host port from outside, client address kept' \
    eventually contains '^source=10.99.0.2$' outside udp_ask 10.99.0.1:9081
  check 'host port on the host address' contains hello fetch http://10.99.0.1:9080/
  check 'host port on 127.0.0.1' contains hello fetch http://127.0.0.1:9080/
  check 'host port from another pod' contains hello in_pod other fetch http://10.99.0.1:9080/
  check 'pods talk' contains hello in_pod other fetch "http://$(pod_address web)/"
  check 'egress carries the host address' \
    contains '^source=10.99.0.1$' in_pod other fetch http://10.99.0.2:8000/cgi-bin/who
}

pods_stop() {
  check 'StopPodSandbox' stop_pod web
  refuse 'the host port of a stopped pod is closed' outside fetch http://10.99.0.1:9080/
  check 'StopPodSandbox again' stop_pod web
  check 'RemovePodSandbox' remove_pod web
  check 'RemovePodSandbox without stop' remove_pod other
  nothing_left 'stopped and removed' "$pod_addresses"
}

# pods_die: a pod whose process was killed, and a pod that outlives its containerd, are cleaned up as well.
pods_die() {
  check 'RunPodSandbox, to be killed' run_pod dying "$published"
  kill -KILL "$(pod_process dying)"
  check 'its death is noticed' eventually contains SANDBOX_NOTREADY pod_status dying
  check 'a dead pod is stopped and removed' stop_and_remove dying
  check 'RunPodSandbox on the same host port' run_pod lasting "$published"
  serve_in lasting
  stop_containerd
  start_containerd
  check 'a pod outlives containerd' contains hello outside fetch http://10.99.0.1:9080/
  check 'containerd still knows it' contains SANDBOX_READY eventually pod_status lasting
  check 'it is stopped and removed' stop_and_remove lasting
  nothing_left 'killed and outlived' "$pod_addresses"
}

# Waits for each background process given and checks its exit status.
join_all() { # join_all NAME PROCESS...
  local process
  for process in "${@:2}"; do
    wait "$process"
    check "$1" test $? = 0
  done
}

# pods_at_once COUNT: as many pods started together, each with a host port, and stopped together.
pods_at_once() {
  local count=$1 number processes=()
  for number in $(seq "$count"); do
    run_pod "crowd$number" "{\"port_mappings\": [{\"container_port\": 80, \"host_port\": $((9100 + number))}]}" &
    processes+=($!)
  done
  join_all "one of $count pods started together" "${processes[@]}"
  check "$count pods have $count addresses" crowd_differs "$count"
  serve_in crowd1
  check 'the host port of one of them answers' contains hello eventually outside fetch http://10.99.0.1:9101/
  processes=()
  for number in $(seq "$count"); do
    stop_and_remove "crowd$number" >/dev/null &
    processes+=($!)
  done
  join_all "one of $count pods stopped together" "${processes[@]}"
  nothing_left "$count pods at once" "$pod_addresses"
}
crowd_differs() {
  local number
  test "$(for number in $(seq "$1"); do pod_address "crowd$number"; done | sort -u | wc -l)" = "$1"
}
