import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { suites } from '../harness/locations.js'
import { runPlugin } from '../harness/plugin.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'
import { ping } from '../harness/traffic.js'
import { foreignCall, found, installRecorder, serveDhcp, startDhcpDaemon } from './foreign.js'

// Another IPAM plugin may need the link for the address: it is asked when the link is up and carries packets.

const isUp = { flags: expect.arrayContaining(['UP', 'LOWER_UP']), operstate: 'UP' }

/**
 * Every plugin that makes a link on a kernel such as this one, and the state in which IPAM finds that; the others are
 * tried in the VM.
 */
const networks: Record<string, [config: object, state: object]> = {
  bridge: [{ type: 'bridge', bridge: 'br0', isGateway: true }, isUp],
  'bridge without gateway': [{ type: 'bridge', bridge: 'br0' }, isUp],
  ptp: [{ type: 'ptp', ipMasq: true }, isUp],
  macvlan: [{ type: 'macvlan', master: 'lan0' }, isUp],
  'macvlan that probes': [{ type: 'macvlan', master: 'lan0', addressConflictDetection: true }, isUp],
  'host-device': [{ type: 'host-device', device: 'lan0' }, isUp],
  // Its carrier comes with the program that attaches to it.
  tap: [{ type: 'tap' }, { flags: expect.arrayContaining(['UP', 'NO-CARRIER']) }],
}
const cases = Object.entries(networks)
const ways = { netlink: {}, tools: { env: { PODWIRE_NO_NETLINK: '1' } } }

/** A host with the link lan0, at whose other end a machine is. */
async function withNeighbour(host: Host): Promise<{ neighbour: Container; container: Container }> {
  const neighbour = await host.container('neighbour')
  const commands = ['link add lan0 type veth peer name eth0 netns neighbour', 'link set lan0 up']
  await host.output(['ip', '-batch', '-'], { stdin: `${commands.join('\n')}\n` })
  await neighbour.batch(['addr add 10.80.0.1/24 dev eth0', 'link set eth0 up'])
  return { neighbour, container: await host.container('c1') }
}

const state = async (host: Host) => {
  const lines = await takeSnapshot(host, { directories: ['/run/podwire'] })
  return lines.filter((line) => !/^file \S*(lock|\/\.\S+) |br0/.test(line))
}

describe.each(Object.entries(ways))('by %s: an IPAM plugin of another suite', (_, way) => {
  test.for(cases)('finds the link of %s up and carrying', async ([, [config, wanted]], { host }) => {
    const { container } = await withNeighbour(host)
    installRecorder(host, '10.80.0.7')
    const { ips } = resultOf(await runPlugin(host, foreignCall('ADD', container, config, way)))
    expect(found(host)).toMatchObject([{ ifname: 'eth0', ...wanted }])
    expect(ips?.[0]?.address).toBe('10.80.0.7/24')
    const [link] = JSON.parse(await container.output(['ip', '-j', 'addr', 'show', 'dev', 'eth0']))
    expect(link.flags).toContain('UP')
    expect(link.addr_info).toContainEqual(expect.objectContaining({ local: '10.80.0.7', prefixlen: 24 }))
    succeedSilently(await runPlugin(host, foreignCall('DEL', container, config, way)))
  })

  test.for(cases)('that fails takes all of %s back', async ([, [config]], { host }) => {
    const { container } = await withNeighbour(host)
    const before = await state(host)
    installRecorder(host, undefined)
    expect(errorOf(await runPlugin(host, foreignCall('ADD', container, config, way)))).toMatchObject({ code: 42 })
    expect(found(host)).toHaveLength(1)
    expect(difference(before, await state(host))).toBe('')
  })
})

describe('an IPAM plugin of another suite', () => {
  test.for(['host-local', 'static'])('is one also under the name %s', async (name, { host }) => {
    const { container } = await withNeighbour(host)
    installRecorder(host, '10.80.0.7', name)
    const config = { type: 'bridge', bridge: 'br0', ipam: { type: name } }
    resultOf(await runPlugin(host, foreignCall('ADD', container, config)))
    expect(found(host)).toMatchObject([{ ifname: 'eth0', ...isUp }])
  })

  test.for(['macvlan', 'host-device'])('is asked at once by %s where no carrier can come', async (type, { host }) => {
    const { container, neighbour } = await withNeighbour(host)
    await neighbour.output(['ip', 'link', 'set', 'eth0', 'down'])
    installRecorder(host, '10.80.0.7')
    const finished = await runPlugin(host, foreignCall('ADD', container, { ...networks[type]?.[0] }))
    expect(resultOf(finished).ips).toHaveLength(1)
    expect(finished.stderr).toBe('')
    expect(found(host)[0]?.flags).toEqual(expect.arrayContaining(['UP', 'NO-CARRIER']))
  })

  test('is asked with a warning where a carrier that could come does not', async ({ host }) => {
    const { container, neighbour } = await withNeighbour(host)
    await host.output(['ip', 'link', 'set', 'lan0', 'down'])
    await neighbour.output(['ip', 'link', 'set', 'eth0', 'down'])
    installRecorder(host, '10.80.0.7')
    const finished = await runPlugin(host, foreignCall('ADD', container, { type: 'host-device', device: 'lan0' }))
    expect(resultOf(finished).ips).toHaveLength(1)
    expect(finished.stderr).toContain('eth0 has no carrier')
  })

  test.for(['ptp', 'macvlan', 'bridge'])(
    'is not run in a dry run of %s, which shows its place',
    async (type, { host }) => {
      const { container } = await withNeighbour(host)
      installRecorder(host, '10.80.0.7')
      const call = foreignCall('ADD', container, { ...networks[type]?.[0] }, { env: { PODWIRE_DRY_RUN: '1' } })
      const { stderr } = await runPlugin(host, call)
      const lines = stderr.split('\n')
      const [up, asked, addressed] = ['eth0 up', 'CNI_COMMAND=ADD', 'addr add 192.0.2.2/24'].map((text) =>
        lines.findIndex((line) => line.includes(text)),
      )
      expect([up, asked, addressed].every((at) => at !== undefined && at >= 0)).toBe(true)
      expect([up, asked, addressed]).toEqual(
        [up, asked, addressed].toSorted((one, other) => Number(one) - Number(other)),
      )
    },
  )
})

describe('the dhcp plugin of the official suite', () => {
  const path = `${suites.podwire}:${suites.official}`
  const dhcp = { ipam: { type: 'dhcp' } }

  test.for(['bridge', 'macvlan', 'host-device'])(
    'gets an address behind %s over a link that is up',
    async (type, { host }) => {
      const { neighbour, container } = await withNeighbour(host)
      if (type === 'bridge') {
        const commands = ['link add br0 type bridge', 'link set br0 up', 'link set lan0 master br0']
        await host.output(['ip', '-batch', '-'], { stdin: `${commands.join('\n')}\n` })
      }
      const [heard, said] = [await serveDhcp(neighbour, 'eth0'), await startDhcpDaemon(host)]
      const config = { type, ...(type === 'bridge' ? { bridge: 'br0' } : networks[type]?.[0]), ...dhcp }
      const { ips } = resultOf(await runPlugin(host, foreignCall('ADD', container, config, { path })))
      expect(said()).not.toContain('down')
      expect(heard().match(/sending (OFFER|ACK)/g)).toEqual(['sending OFFER', 'sending ACK'])
      expect(ips?.[0]).toMatchObject({ address: expect.stringMatching(/^10\.80\.0\.1\d\d\/24$/), gateway: '10.80.0.1' })
      expect(await ping(container, '10.80.0.1')).toBe(true)
      succeedSilently(await runPlugin(host, foreignCall('DEL', container, config, { path })))
    },
  )
})
