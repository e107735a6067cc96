import { describe } from 'vitest'
import { suites } from '../harness/locations.js'
import { scenario } from './scenario.js'

const commands = ['podman', 'conmon', 'crun', 'busybox', 'curl', 'socat', 'jq', 'nft', 'iptables']

describe('podman 4', () => {
  scenario('podman-published', commands)
  scenario('podman-networks', commands)
  scenario('podman-dual-stack', commands)
  scenario('podman-build', [...commands, 'buildah'])
  scenario('podman-image', commands)
  scenario('podman-rootless', [...commands, 'slirp4netns', 'newuidmap', 'setpriv'])
  scenario('tool-podman', [...commands, 'script'])
  scenario('tool-podman', [...commands, 'script'], ['official'], { plugins: suites.official })
})
