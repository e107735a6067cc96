import { describe, expect } from 'vitest'
import { Chain } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { until } from '../harness/process.js'
import { ask, ping, serve } from '../harness/traffic.js'
import { advertise, heard, learnt } from '../lan/routers.js'
import { addressOf, bridgeNetwork } from '../main/networks.js'

// Containers that lie to each other on one bridge. Promised with `macspoofchk`: no frame with another's MAC address
// passes. Promised always: what a container says as a router gives neither the host nor another container a route or
// an address.

async function joined(host: Host, network = bridgeNetwork()): Promise<{ container: Container; chain: Chain }> {
  const container = await host.container()
  const chain = new Chain(host, network, { containerID: container.name, netns: container.netns })
  await chain.add()
  return { container, chain }
}

const gateway = '10.1.2.1'
const stolen = '02:00:5e:10:00:99'
const macOf = async (container: Container): Promise<string> => {
  const [link] = JSON.parse(await container.output(['ip', '-j', 'link', 'show', 'eth0'])) as { address: string }[]
  return link?.address ?? ''
}
const bytes = (mac: string): Buffer => Buffer.from(mac.replaceAll(':', ''), 'hex')
const quad = (address: string): Buffer => Buffer.from(address.split('.').map(Number))

/** RFC 826: an answer that nobody asked for, "the gateway is at `claimed`", in a frame whose source is `source`. */
function lie(source: string, claimed: string, to: { mac: string; address: string }): Buffer {
  const head = Buffer.from([0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 2])
  const parts = [bytes(to.mac), bytes(source), head, bytes(claimed), quad(gateway), bytes(to.mac), quad(to.address)]
  return Buffer.concat(parts)
}

describe('ARP: a container says that the gateway is elsewhere,', () => {
  const rows = [
    { macspoofchk: true, as: 'another', isBelieved: false },
    { macspoofchk: false, as: 'another', isBelieved: true },
    // As of the official plugin: what an honest frame says is nobody's to judge.
    { macspoofchk: true, as: 'itself', isBelieved: true },
  ] as const
  test.for(rows)('macspoofchk $macspoofchk, in a frame as of $as: believed $isBelieved', async (row, { host }) => {
    const network = bridgeNetwork({ plugin: { macspoofchk: row.macspoofchk } })
    const [{ container: victim, chain }, { container: liar }] = [
      await joined(host, network),
      await joined(host, network),
    ]
    const mac = await macOf(liar)
    const to = { mac: await macOf(victim), address: addressOf(chain.result ?? {}, 4) }
    await victim.output(['sysctl', '-qw', 'net.ipv4.neigh.eth0.locktime=0'])
    expect(await ping(victim, gateway)).toBe(true)
    const known = () => victim.output(['ip', 'neigh', 'show', gateway])
    const honest = await known()
    expect(honest).toContain('lladdr')
    const claimed = row.as === 'itself' ? mac : stolen
    await liar.output(['socat', '-u', '-', 'INTERFACE:eth0'], { stdin: lie(claimed, claimed, to) })
    // Frames of one port stay in order: when the ping is over, the lie was delivered or dropped.
    expect(await ping(liar, to.address)).toBe(true)
    expect((await known()).includes(claimed)).toBe(row.isBelieved)
  })
})

test.for([true, false])(
  'RA: nobody learns from a container that says it is a router, macspoofchk %s',
  async (macspoofchk, { host }) => {
    const network = bridgeNetwork({ plugin: { macspoofchk } })
    const [victim, liar] = [(await joined(host, network)).container, (await joined(host, network)).container]
    const credulous = (await joined(host, network)).container
    await credulous.output(['sysctl', '-qw', 'net.ipv6.conf.eth0.accept_ra=2', 'net.ipv6.conf.eth0.autoconf=1'])
    const before = await host.output(['ip', '-6', 'route'])
    await advertise(liar, 'eth0')
    for (const one of [victim, credulous]) await until(`${one.name} has heard it`, async () => (await heard(one)) > 0)
    // Who was told to by its owner does: the lie is a good one.
    await until('the credulous has an address', async () => (await learnt(credulous)).addresses.length > 0)
    expect(await learnt(victim)).toEqual({ addresses: [], routes: [] })
    expect(await host.output(['ip', '-6', 'route'])).toBe(before)
    expect(await host.output(['ip', '-6', 'addr', 'show', 'dev', 'br0'])).not.toContain('2001:db8:aa:')
  },
)

test('two networks on one bridge: each has its gateway and masquerade, and neither DEL harms the other', async ({
  host,
}) => {
  const { container: outside } = await host.outside()
  await serve(outside, { protocol: 'tcp', port: 80, name: 'outside' })
  const ranges = [[{ subnet: '10.1.2.0/24', rangeStart: '10.1.2.128' }], [{ subnet: 'fd00:1:3::/64' }]]
  const other = bridgeNetwork({ name: 'other', ipam: { ranges } })
  const networks = [bridgeNetwork(), other]
  const members = [await joined(host), await joined(host, other)]
  const works = async ({ container, chain }: (typeof members)[0]) => {
    for (const [address, source] of [
      ['192.0.2.2', '192.0.2.1'],
      ['2001:db8:f::2', '2001:db8:f::1'],
    ] as const) {
      expect(await ask(container, { protocol: 'tcp', address, port: 80 })).toMatchObject({ server: 'outside', source })
    }
    await chain.check()
  }
  for (const member of members) await works(member)
  for (const at of [0, 1]) {
    const [leaving, staying] = [members[at], members[1 - at]] as [(typeof members)[0], (typeof members)[0]]
    await leaving.chain.del()
    const rules = await host.output(['nft', 'list', 'ruleset'])
    for (const { address } of leaving.chain.result?.ips ?? [])
      expect(rules).not.toContain(address.replace(/\/\d+$/, ' '))
    await works(staying)
    members[at] = await joined(host, networks[at])
  }
})

test('a second network that wants another IPv4 gateway on the bridge is refused, and the first goes on', async ({
  host,
}) => {
  const first = await joined(host)
  const before = await host.output(['ip', '-o', 'addr', 'show', 'dev', 'br0'])
  const other = bridgeNetwork({ name: 'other', ipam: { ranges: [[{ subnet: '10.1.3.0/24' }]] } })
  await expect(joined(host, other)).rejects.toThrow(/already has an IP address different from 10\.1\.3\.1\/24/)
  expect(await host.output(['ip', '-o', 'addr', 'show', 'dev', 'br0'])).toBe(before)
  expect(await ping(first.container, gateway)).toBe(true)
  await first.chain.check()
})
