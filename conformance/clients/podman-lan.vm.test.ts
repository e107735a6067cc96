import { describe } from 'vitest'
import { scenario } from './scenario.js'

const commands = ['podman', 'conmon', 'crun', 'busybox', 'curl', 'socat', 'jq', 'ping']

describe('podman 4 on the LAN', () => {
  scenario('podman-lan', commands, ['macvlan'])
  scenario('podman-lan', commands, ['ipvlan'])
})
