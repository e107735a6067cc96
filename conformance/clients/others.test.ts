import { scenario } from './scenario.js'

// Chains with the plugins of other networks themselves, which `make test-others` builds; their daemons are stood in for.
// What cannot be built is among the samples of `replay`.

const commands = ['busybox', 'curl', 'socat', 'jq', 'nft', 'iptables', 'ip6tables']

scenario('aws', commands, [], { others: 'aws' })
scenario('cilium', commands, [], { others: 'cilium' })
