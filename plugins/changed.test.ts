import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Row } from '../shared/testing/golden.js'
import { openStage, type Stage } from '../shared/testing/live.js'
import { createMemory, type Link, type Memory } from '../shared/testing/memory.js'

// What CHECK, a next ADD and DEL find where others changed something meanwhile, on a machine that remembers.

const folder = mkdtempSync(join(tmpdir(), 'changed-'))
for (const name of ['static', 'host-local']) symlinkSync(process.execPath, join(folder, name))
afterAll(() => rmSync(folder, { recursive: true }))

const forwards = { '/proc/sys/net/ipv4/ip_forward': '0', '/proc/uptime': '1000.00 1000.00\n' }
const ipam = {
  type: 'static',
  addresses: [{ address: '10.1.2.3/24', gateway: '10.1.2.1' }],
  routes: [{ dst: '0.0.0.0/0' }],
}
const lan = { ifname: 'lan0', address: '02:00:00:00:00:0a', flags: ['UP'] }
const quiet = { 'container# arping *': '' }

interface Setting {
  readonly plugin: string
  readonly config: object
  readonly host?: readonly Partial<Link>[]
  readonly answers?: Row['answers']
}

let [memory, stage]: [Memory, Stage] = [createMemory(), undefined as unknown as Stage]
const open = (host: readonly Partial<Link>[] = []) => {
  memory = createMemory({ host })
  stage = openStage(memory)
}
beforeEach(() => open())
afterEach(() => stage.close())

const row = (verb: Row['verb'], { plugin, config, answers }: Setting, more: object = {}): Row => ({
  ...{ plugin, verb, config: { ...config, ...more }, env: { CNI_PATH: folder }, files: forwards },
  ...(answers ? { answers } : {}),
})

const succeed = (asked: Row) => stage.succeed(asked)

const onHost = (...lines: string[]) => memory.run({ argv: ['ip', '-batch', '-'], stdin: lines.join('\n') })
const inside = (...lines: string[]) =>
  memory.run({ argv: ['nsenter', '--net=/proc/self/ns/net', 'ip', '-batch', '-'], stdin: lines.join('\n') })

const bridge: Setting = { plugin: 'bridge', config: { ipam, isGateway: true } }
const macvlan: Setting = { plugin: 'macvlan', config: { master: 'lan0', ipam }, host: [lan], answers: quiet }
const vlan: Setting = { plugin: 'vlan', config: { master: 'lan0', vlanId: 5, ipam }, host: [lan] }
const ptp: Setting = { plugin: 'ptp', config: { ipam } }
const port = 'vethdd6ccc806f7'

describe('CHECK', () => {
  const rows: [what: string, of: Setting, change: () => void, says: string][] = [
    ['the bridge is gone', bridge, () => onHost('link del dev cni0'), 'bridge: found "none", expected the bridge cni0'],
    [
      'the bridge is another kind of link',
      bridge,
      () => onHost('link del dev cni0', 'link add name cni0 type dummy'),
      'bridge: found "dummy", expected the bridge cni0',
    ],
    [
      'the port is on no bridge',
      bridge,
      () => onHost(`link set dev ${port} nomaster`),
      `master of ${port}: found "none", expected cni0`,
    ],
    [
      'the port is on another bridge',
      bridge,
      () => onHost('link add name br9 type bridge', `link set dev ${port} master br9`),
      `master of ${port}: found "br9", expected cni0`,
    ],
    [
      'the port is gone',
      bridge,
      () => onHost(`link del dev ${port}`, 'link add name other type dummy') && inside('link add name eth0 type veth'),
      'expected the host end of a veth pair that is there',
    ],
    [
      'the interface has another address',
      bridge,
      () => inside('addr del 10.1.2.3/24 dev eth0', 'addr add 10.1.2.4/24 dev eth0'),
      'expected 10.1.2.3/24',
    ],
    [
      'the interface is another kind',
      bridge,
      () => inside('link del dev eth0', 'link add name eth0 type dummy'),
      'kind',
    ],
    ['a route is gone', bridge, () => inside('route del 0.0.0.0/0 dev eth0'), 'routes: found "no such route"'],
    [
      'the master is another',
      macvlan,
      () => onHost('link set dev lan0 name lan1', 'link add name lan0 type dummy'),
      'master of eth0: found "lan0", expected lan0, number',
    ],
    [
      'the interface has another MTU',
      { ...macvlan, config: { ...macvlan.config, mtu: 1400 } },
      () => inside('link set dev eth0 mtu 1300'),
      'interface eth0 mtu: found 1300, expected 1400',
    ],
    [
      'the VLAN is another',
      vlan,
      () =>
        inside('link del dev eth0') && onHost('link add name eth0 link lan0 netns /proc/self/ns/net type vlan id 6'),
      'interface eth0 id: found 6, expected 5',
    ],
    [
      'the host has no route to the container',
      ptp,
      () => onHost(`route del 10.1.2.3/32 dev ${port}`),
      `routes on ${port}: found`,
    ],
    ['the host end is gone', ptp, () => onHost(`link del dev ${port}`), 'eth0'],
  ]
  test.each(rows)('%s', async (_, of, change, says) => {
    stage.close()
    open(of.host)
    const { json } = await succeed(row('ADD', of))
    await succeed(row('CHECK', of, { prevResult: json }))
    change()
    const { status, json: told } = await stage.perform(row('CHECK', of, { prevResult: json }))
    expect([status, told?.code], JSON.stringify(told)).toEqual([1, 105])
    expect(told.details).toContain(says)
  })
})

describe('ADD on a bridge with addresses', () => {
  const there = (...addresses: string[]) =>
    onHost('link add name cni0 type bridge', ...addresses.map((one) => `addr add ${one} dev cni0`))
  const onBridge = () => memory.things().flatMap((thing) => /^host address (\S+) cni0$/.exec(thing)?.[1] ?? [])
  const six = { ...ipam, addresses: [{ address: 'fd00:1::3/64', gateway: 'fd00:1::1' }], routes: [] }

  const rows: [what: string, ipam: object, there: string[], force: boolean, left: string[] | undefined][] = [
    ['its own', ipam, ['10.1.2.1/24'], false, ['10.1.2.1/24']],
    ['none', ipam, [], false, ['10.1.2.1/24']],
    ['another of IPv4', ipam, ['192.0.2.1/24'], false, undefined],
    ['another of IPv4, which may go', ipam, ['192.0.2.1/24'], true, ['10.1.2.1/24']],
    ['its own and another', ipam, ['10.1.2.1/24', '192.0.2.1/24'], false, ['10.1.2.1/24', '192.0.2.1/24']],
    ['one of IPv6', ipam, ['fd00:9::1/64'], false, ['10.1.2.1/24', 'fd00:9::1/64']],
    ['another subnet of IPv6', six, ['fd00:9::1/64'], false, ['fd00:1::1/64', 'fd00:9::1/64']],
    ['the same subnet of IPv6', six, ['fd00:1::9/64'], false, undefined],
    ['a wider subnet of IPv6', six, ['fd00::9/16'], false, undefined],
    ['a narrower subnet of IPv6', six, ['fd00:1::9/80'], false, undefined],
    ['the same subnet of IPv6, which may go', six, ['fd00:1::9/64'], true, ['fd00:1::1/64']],
    ['one of IPv4 beside IPv6', six, ['192.0.2.1/24'], false, ['192.0.2.1/24', 'fd00:1::1/64']],
  ]
  test.each(rows)('%s', async (_, given, present, forceAddress, left) => {
    there(...present)
    const files = { ...forwards, '/proc/sys/net/ipv6/conf/all/forwarding': '0' }
    const asked = { ...row('ADD', { plugin: 'bridge', config: { ipam: given, isGateway: true, forceAddress } }), files }
    const { status, json } = await stage.perform(asked)
    expect([status, json.code], JSON.stringify(json)).toEqual(left === undefined ? [1, 110] : [0, undefined])
    expect(onBridge().sort()).toEqual([...(left ?? present)].sort())
    if (left === undefined) expect(json.msg).toContain('"cni0" already has an IP address different from')
  })
})

describe('routes of a bridge that is the default gateway', () => {
  const rows: [what: string, ipam: object, config: object, routes: object[]][] = [
    ['through the gateway', { routes: [] }, { isDefaultGateway: true }, [{ dst: '0.0.0.0/0', gw: '10.1.2.1' }]],
    [
      'not where IPAM gives one',
      { routes: [{ dst: '0.0.0.0/0', gw: '10.1.2.9' }] },
      { isDefaultGateway: true },
      [{ dst: '0.0.0.0/0', gw: '10.1.2.9' }],
    ],
    ['none where it is a gateway only', { routes: [] }, { isGateway: true }, []],
    [
      'without a next hop where the gateway is of the other family',
      { addresses: [{ address: '10.1.2.3/24', gateway: 'fd00::1' }], routes: [] },
      { isDefaultGateway: true },
      [{ dst: '0.0.0.0/0' }],
    ],
    [
      'with the one that is none',
      { addresses: [{ address: '10.1.2.3/24', gateway: '0.0.0.0' }], routes: [] },
      { isDefaultGateway: true },
      [{ dst: '0.0.0.0/0', gw: '0.0.0.0' }],
    ],
  ]
  test.each(rows)('%s', async (_, given, config, routes) => {
    const { json } = await succeed(row('ADD', { plugin: 'bridge', config: { ipam: { ...ipam, ...given }, ...config } }))
    expect(json.routes ?? []).toEqual(routes)
  })
})

describe('an address that another machine answers for', () => {
  const taken = (...addresses: string[]) => ({
    ...Object.fromEntries(
      addresses.map((one) => [
        `container# arping -D -c 2 -w 2 -I eth0 ${one}`,
        { status: 1, stdout: `Unicast reply from ${one}` },
      ]),
    ),
    'container# arping *': '',
  })
  let data = ''
  beforeEach(() => {
    data = mkdtempSync(join(folder, 'data-'))
    stage.close()
    open([{ ...lan, addr_info: [{ family: 'inet', local: '10.1.2.4', prefixlen: 24, scope: 'global' }] }])
  })
  const of = (answers: Row['answers'], range: object = {}): Setting => ({
    plugin: 'macvlan',
    config: {
      ...{ master: 'lan0', addressConflictDetection: true },
      ipam: {
        type: 'host-local',
        dataDir: data,
        ranges: [[{ subnet: '10.1.2.0/24', rangeStart: '10.1.2.2', ...range }]],
      },
    },
    ...(answers ? { answers } : {}),
  })

  test('is left to it, as is what the master has, and the next one is taken', async () => {
    const { json, said } = await succeed(row('ADD', of(taken('10.1.2.2', '10.1.2.3'))))
    expect(json.ips[0].address).toBe('10.1.2.5/24')
    expect(said.match(/another machine on the link has (\S+): another address is taken/g)).toHaveLength(3)
    const next = { ...row('ADD', of(quiet)), env: { CNI_PATH: folder, CNI_CONTAINERID: 'c9', CNI_IFNAME: 'net1' } }
    expect((await succeed(next)).json.ips[0].address).toBe('10.1.2.6/24')
  })

  test('ends the ADD where there is no other', async () => {
    const range = { rangeEnd: '10.1.2.3' }
    const { status, json } = await stage.perform(row('ADD', of(taken('10.1.2.2', '10.1.2.3'), range)))
    expect([status, memory.things().filter((thing) => thing.startsWith('container'))]).toEqual([1, []])
    expect(json.details ?? json.msg).toContain('10.1.2')
  })

  test('eight are tried and no more', async () => {
    const all = Array.from({ length: 20 }, (_, index) => `10.1.2.${index + 2}`)
    const { status, json } = await stage.perform(row('ADD', of(taken(...all))))
    expect([status, json.code]).toEqual([1, 110])
    expect(json.msg).toContain('other machines on the link have the addresses 10.1.2.2/24, 10.1.2.3/24')
    expect(json.msg.match(/10\.1\.2\.\d+\/24/g)).toHaveLength(8)
  })

  test('of an IPAM that knows no other ends the ADD', async () => {
    const asked = { ...of(taken('10.1.2.3')), config: { master: 'lan0', addressConflictDetection: true, ipam } }
    const { status, json } = await stage.perform(row('ADD', asked))
    expect([status, json.code]).toEqual([1, 110])
    expect(json.msg).toContain('other machines on the link have the addresses 10.1.2.3/24')
  })
})
