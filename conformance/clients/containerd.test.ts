import { describe } from 'vitest'
import { suites } from '../harness/locations.js'
import { scenario } from './scenario.js'

const commands = ['containerd', 'ctr', 'runc', 'busybox', 'curl', 'socat', 'jq', 'nft']

describe('containerd', () => {
  scenario('ctr', commands)
  scenario('cri-bridge', commands)
  scenario('cri-kind', commands)
  scenario('cri-chain', commands)
  scenario('cri-nodes', [...commands, 'iptables'], ['flannel'])
  scenario('cri-nodes', [...commands, 'iptables'], ['kube-router'])
  scenario('tool-containerd', [...commands, 'script'])
  scenario('tool-containerd', [...commands, 'script'], ['official'], { plugins: suites.official })
})
