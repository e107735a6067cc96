import { mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { link, type Row } from '../../shared/testing/golden.js'
import { openStage, type Performed, type Stage } from '../../shared/testing/live.js'
import { createMemory, type Memory } from '../../shared/testing/memory.js'

// What macvlan, ipvlan and vlan share, on a machine that remembers: who asks the neighbours where, and who is told.

const lan = { ifname: 'lan0', address: '02:00:00:00:00:0a', flags: ['UP'] }
const reply = { status: 1, stdout: 'Unicast reply from 10.1.2.2 [02:00:00:00:00:99]\n' }
const silent = { 'container# arping *': '', 'arping *': '' }

let [CNI_PATH, dataDir] = ['', '']
let [memory, stage]: [Memory, Stage] = [createMemory(), undefined as unknown as Stage]
const open = (master: object = lan) => {
  memory = createMemory({ host: [master] })
  stage = openStage(memory)
}
beforeEach(() => {
  CNI_PATH = mkdtempSync(join(tmpdir(), 'child-'))
  dataDir = mkdtempSync(join(tmpdir(), 'child-leases-'))
  for (const name of ['static', 'host-local']) symlinkSync(process.execPath, join(CNI_PATH, name))
  open()
})
afterEach(() => {
  stage.close()
  for (const folder of [CNI_PATH, dataDir]) rmSync(folder, { recursive: true })
})

const row = (verb: Row['verb'], config: object, more: Partial<Row> = {}): Row => ({
  ...{ plugin: 'macvlan', verb, env: { CNI_PATH }, answers: silent },
  ...more,
  config: { master: 'lan0', addressConflictDetection: true, ...config },
})
const local = (subnet: string) => ({ ipam: { type: 'host-local', dataDir, ranges: [[{ subnet }]] } })
const addressesOf = ({ json }: Performed) => json.ips.map(({ address }: { address: string }) => address)
const leases = () =>
  readdirSync(join(dataDir, 'net'))
    .filter((name) => name.startsWith('10.') || name.startsWith('fd00'))
    .sort()

const succeed = (asked: Row) => stage.succeed(asked)

describe('an address that a neighbour answers for', () => {
  const asking = (where: string, at: string, address: string) => `${where}arping -D -c 2 -w 2 -I ${at} ${address}`

  test.each<[string, object, string, string]>([
    ['macvlan', {}, 'container# ', 'eth0'],
    ['ipvlan', {}, '', 'lan0'],
    ['vlan', { vlanId: 7 }, 'container# ', 'eth0'],
  ])('%s asks where the answers arrive, and takes the next one', async (plugin, config, where, at) => {
    const answers = {
      [asking(where, at, '10.1.2.2')]: reply,
      [asking(where, at, '10.1.2.3')]: '',
      'arping *': { status: 2, stderr: 'not to be asked' },
      'container# arping *': { status: 2, stderr: 'not to be asked' },
    }
    const performed = await succeed(row('ADD', { ...config, ...local('10.1.2.0/24') }, { plugin, answers }))
    expect(addressesOf(performed)).toEqual(['10.1.2.3/24'])
    expect(performed.said).toContain('another machine on the link has 10.1.2.2/24: another address is taken')
    expect(leases()).toEqual(['10.1.2.2', '10.1.2.3'])
  })

  test('of the master is not asked for: it is taken', async () => {
    stage.close()
    open({ ...lan, addr_info: [{ family: 'inet', local: '10.1.2.2', prefixlen: 24, scope: 'global' }] })
    const performed = await succeed(row('ADD', local('10.1.2.0/24')))
    expect(addressesOf(performed)).toEqual(['10.1.2.3/24'])
  })

  test('is kept from others until GC, under a name that says why, and goes with it', async () => {
    const answers = { [asking('container# ', 'eth0', '10.1.2.2')]: reply, ...silent }
    await succeed(row('ADD', local('10.1.2.0/24'), { answers }))
    await succeed(row('DEL', local('10.1.2.0/24')))
    expect(leases()).toEqual(['10.1.2.2'])
    await succeed(row('GC', { ...local('10.1.2.0/24'), 'cni.dev/valid-attachments': [] }))
    expect(leases()).toEqual([])
  })

  test.each<[string, () => object, number]>([
    ['of IPAM that has no other', () => ({ ipam: { type: 'static', addresses: [{ address: '10.1.2.2/24' }] } }), 1],
    ['of IPAM that is asked eight times', () => local('10.1.2.0/24'), 8],
  ])('is refused: %s', async (_, config, times) => {
    const answers = { 'container# arping *': reply }
    const { status, json, said } = await stage.perform(row('ADD', config(), { answers }))
    expect([status, json.code, json.msg]).toEqual([
      1,
      110,
      expect.stringContaining('other machines on the link have the addresses 10.1.2.2/24'),
    ])
    expect(said.split('another address is taken').length - 1).toBe(times)
    expect(memory.things().filter((thing) => thing.startsWith('container link eth0'))).toEqual([])
  })

  test('of IPv6 is told of by the kernel, which is lent the address for it', async () => {
    const failed = { family: 'inet6', local: 'fd00::2', prefixlen: 64, dadfailed: true, tentative: true }
    const answers = {
      'container# ip -j -d addr show dev eth0': link('eth0', { flags: ['UP', 'LOWER_UP'], addr_info: [failed] }),
    }
    const { json, said, changes } = await stage.perform(row('ADD', local('fd00::/64'), { answers }))
    expect(said).toContain('another machine on the link has fd00::2/64: another address is taken')
    expect(json).toMatchObject({ code: 110, msg: expect.stringContaining('has the address fd00::2') })
    const lent = changes.filter((line) => / addr (add|del) |disable_ipv6=0/.test(line) && line.includes('eth0'))
    expect(lent.slice(0, 3)).toEqual([
      'container# sysctl -w net/ipv6/conf/eth0/disable_ipv6=0',
      expect.stringContaining('container# ip addr add fd00::2/64 dev eth0'),
      expect.stringContaining('container# ip addr del fd00::2/64 dev eth0'),
    ])
  })
})

describe('the neighbours are told', () => {
  const told = async (config: object, more: Partial<Row> = {}) => {
    const { changes } = await succeed(row('ADD', { addressConflictDetection: false, ...config }, more))
    return changes
      .filter((line) => /arp_notify|ndisc_notify|retrans_time_ms/.test(line))
      .map((line) => line.split('net/').slice(1).join('net/'))
  }

  test.each<[string, () => object, string[]]>([
    ['nothing without an address', () => ({}), []],
    [
      'of IPv4',
      () => local('10.1.2.0/24'),
      ['ipv4/conf/eth0/arp_notify=1', 'ipv6/conf/eth0/ndisc_notify=1', 'ipv6/neigh/eth0/retrans_time_ms=300'],
    ],
    [
      'of IPv6, after which the timing is the usual one',
      () => local('fd00::/64'),
      [
        'ipv4/conf/eth0/arp_notify=1',
        'ipv6/conf/eth0/ndisc_notify=1',
        'ipv6/neigh/eth0/retrans_time_ms=300',
        'ipv6/neigh/eth0/retrans_time_ms=1000',
      ],
    ],
  ])('%s', async (_, config, lines) => {
    expect(await told(config())).toEqual(lines)
  })
})

describe('CHECK', () => {
  const made = async (config: object) => {
    const asked = { addressConflictDetection: false, ...local('10.1.2.0/24'), ...config }
    const { json } = await succeed(row('ADD', asked))
    return { ...asked, prevResult: json }
  }

  test('the master counts where the configuration names it, in the namespace it is in', async () => {
    const config = await made({})
    await succeed(row('CHECK', config))
    memory.run({ argv: ['ip', '-batch', '-'], stdin: 'link add name lan1 address 02:00:00:00:00:0b type dummy' })
    const { json } = await stage.perform(row('CHECK', { ...config, master: 'lan1' }))
    expect(json).toMatchObject({ code: 105, details: expect.stringContaining('master of eth0: found ') })
  })

  test('a lease that is gone is told first', async () => {
    const config = await made({})
    for (const name of leases()) rmSync(join(dataDir, 'net', name))
    const { json } = await stage.perform(row('CHECK', config))
    expect(json.msg).toContain('Failed to find address added by container')
  })
})
