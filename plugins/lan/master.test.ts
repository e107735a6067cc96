import { describe, expect, test } from 'vitest'
import type { Files } from '../../shared/exec/files.js'
import type { Machine } from '../../shared/plan/machine.js'
import { createObserver } from '../../shared/tools/observer.js'
import { findMaster, fits, type MasterChoice } from './master.js'

const lan0 = {
  ifindex: 2,
  ifname: 'lan0',
  mtu: 1500,
  address: '02:00:00:00:00:0a',
  addr_info: [{ family: 'inet', local: '192.0.2.5', prefixlen: 24, scope: 'global' }],
}
const lan1 = {
  ifindex: 3,
  ifname: 'lan1',
  mtu: 1500,
  address: '02:00:00:00:00:0b',
  addr_info: [{ family: 'inet6', local: '2001:db8::5', prefixlen: 64, scope: 'global' }],
}
const port = { ifindex: 4, ifname: 'port', mtu: 1500, address: '02:00:00:00:00:0b', master: 'lan1' }
const child = { ifindex: 5, ifname: 'lan1.5', mtu: 1500, address: '02:00:00:00:00:0b', linkinfo: { info_kind: 'vlan' } }

const links = [{ ifindex: 1, ifname: 'lo', mtu: 65536, addr_info: [] }, lan0, lan1, port, child]

/** Answers `ip -j` from these links and routes. */
function host(routes4: object[] = [], routes6: object[] = []): Pick<Machine, 'observer'> {
  const routing = (routes: object[]) => `[]\n${JSON.stringify(routes)}\n`
  const answer = (argv: readonly string[]): string => {
    const line = argv.join(' ')
    if (line.includes('-4 -batch')) return routing(routes4)
    if (line.includes('-6 -batch')) return routing(routes6)
    const name = line.includes(' dev ') ? argv.at(-1) : undefined
    return JSON.stringify(name === undefined ? links : links.filter(({ ifname }) => ifname === name))
  }
  const observer = createObserver({
    run: ({ argv }) => ({ status: 0, signal: null, stdout: answer(argv), stderr: '' }),
    files: new Proxy({} as Files, {
      get: (_, key) => (path: string) =>
        path === '/proc/net/if_inet6' ? '' : expect.unreachable(`asked files to ${String(key)} ${path}`),
    }),
  })
  return { observer }
}

describe('the master', () => {
  const v4 = (dev: string, metric: number) => ({ dst: 'default', gateway: '192.0.2.1', dev, metric })
  const rows: [what: string, choice: MasterChoice, name: string, routes4?: object[], routes6?: object[]][] = [
    ['by name', { master: 'lan1' }, 'lan1'],
    ['by pattern', { master: '*n0' }, 'lan0'],
    ['by MAC address, not a port or child that shares it', { masterMAC: '02-00-00-00-00-0B' }, 'lan1'],
    ['by IPv4 subnet', { masterSubnet: '192.0.2.0/24' }, 'lan0'],
    ['by IPv6 subnet', { masterSubnet: '2001:db8::/32' }, 'lan1'],
    ['by the default route', {}, 'lan0', [v4('lan0', 100)]],
    ['empty texts count as absent', { master: '', masterMAC: '', masterSubnet: '' }, 'lan0', [v4('lan0', 100)]],
    ['the lowest metric', {}, 'lan1', [v4('lan0', 100), v4('lan1', 50)]],
    [
      'IPv4 before IPv6',
      {},
      'lan0',
      [v4('lan0', 100)],
      [{ dst: 'default', gateway: 'fe80::1', dev: 'lan1', metric: 1 }],
    ],
    ['IPv6 where there is no IPv4', {}, 'lan1', [], [{ dst: 'default', gateway: 'fe80::1', dev: 'lan1' }]],
    [
      'no other table, no unreachable route',
      {},
      'lan1',
      [{ ...v4('lan0', 1), table: '100' }, v4('lo', 2), v4('lan1', 3)],
    ],
  ]
  test.each(rows)('%s', (_, choice, name, routes4, routes6) => {
    expect(findMaster(host(routes4, routes6), choice).ifname).toBe(name)
  })

  const refused: [what: string, choice: MasterChoice, text: string][] = [
    [
      'no such name',
      { master: 'wan' },
      'master: found "wan", expected a link that is there: lan0 (02:00:00:00:00:0a 192.0.2.5), lan1',
    ],
    [
      'a pattern of several',
      { master: 'lan?' },
      'expected what fits one link, not several: lan0 (02:00:00:00:00:0a 192.0.2.5), lan1',
    ],
    ['no such MAC address', { masterMAC: '02:00:00:00:00:0c' }, 'masterMAC: found "02:00:00:00:00:0c"'],
    ['no such subnet', { masterSubnet: '10.0.0.0/8' }, 'masterSubnet: found "10.0.0.0/8"'],
    ['no default route', {}, 'master: found nothing'],
  ]
  test.each(refused)('%s is refused', (_, choice, text) => {
    const found = () => findMaster(host(), choice)
    expect(found).toThrow(expect.objectContaining({ code: 7, details: expect.stringContaining(text) }))
  })
})

test.each<[string, string, boolean]>([
  ['eth0', 'eth0', true],
  ['eth0', 'eth01', false],
  ['en*', 'enp3s0', true],
  ['en*', 'eth0', false],
  ['*', '', true],
  ['e*0', 'eth0', true],
  ['e*1*', 'eth10', true],
  ['eth?', 'eth', false],
  ['eth?', 'eth1', true],
])('pattern %s and name %s: %s', (pattern, name, expected) => {
  expect(fits(pattern, name)).toBe(expected)
})
