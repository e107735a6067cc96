import { readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { run } from '../harness/process.js'
import { difference } from '../harness/snapshot.js'
import { ping } from '../harness/traffic.js'
import { call as callOf, fixed, hostLocal, leased, linkNames, linkOf, state } from './calls.js'

// The virtual machine's own PCI cards (conformance/vm/run): an e1000 and a virtio one, with a wire between them.

interface Card {
  id: string
  name: string
  mac: string
}

/** The cards of the virtual machine. Elsewhere they are somebody's: none. */
function cards(): Card[] {
  if (process.env['PODWIRE_VM'] !== '1') return []
  return readdirSync('/sys/class/net').flatMap((name) => {
    const [, id] = /\/([^/]+)\/(?:virtio\d+\/)?net\/[^/]+$/.exec(realpathSync(`/sys/class/net/${name}`)) ?? []
    const mac = readFileSync(`/sys/class/net/${name}/address`, 'utf8').trim()
    return id?.includes(':') ? [{ id, name, mac }] : []
  })
}

const command = async (...argv: string[]) => expect((await run(argv)).stderr).toBe('')
const call = (verb: Verb, container: Container, change: object, more: Partial<Call> = {}) =>
  callOf('host-device', verb, container, { ipam: hostLocal, ...change }, more)

/** A host with one card, and a neighbour that has the other. */
async function lent(host: Host, own: Card, other: Card) {
  const neighbour = await host.container('neighbour')
  await command('ip', 'link', 'set', own.name, 'netns', String(host.pid))
  await command('ip', 'link', 'set', other.name, 'netns', host.path(neighbour.netns))
  await neighbour.batch([
    `addr add 10.80.0.99/24 dev ${other.name}`,
    `addr add fd00:80::99/64 dev ${other.name} nodad`,
    `link set ${other.name} up`,
  ])
  return { neighbour, container: await host.container('c1') }
}

describe('a PCI card', () => {
  test.for([0, 1])(
    'number %i is found by its bus, works in the container, and comes back',
    async (which, { host, skip }) => {
      const found = cards()
      const [own, other] = which === 0 ? found : found.toReversed()
      if (!own || !other) return skip('only the virtual machine has cards to spare')
      const { neighbour, container } = await lent(host, own, other)
      const before = await state(host)
      for (const way of [{ pciBusID: own.id }, { runtimeConfig: { deviceID: own.id } }]) {
        const prevResult = resultOf(await runPlugin(host, call('ADD', container, way)))
        expect(prevResult.interfaces).toEqual([{ name: 'eth0', mac: own.mac, sandbox: container.netns }])
        expect(await linkOf(container, 'eth0')).toMatchObject({ address: own.mac, ifalias: own.name })
        const [address] = leased(host).filter((name) => name.startsWith('10.'))
        await expect.poll(() => ping(neighbour, address ?? ''), { timeout: 20_000 }).toBe(true)
        succeedSilently(await runPlugin(host, call('CHECK', container, { ...way, prevResult })))
        for (let times = 0; times < 2; times++) succeedSilently(await runPlugin(host, call('DEL', container, way)))
        expect(difference(before, await state(host))).toBe('')
      }
    },
  )

  test('is known by itself, whatever the container made of it and whatever passes for it', async ({ host, skip }) => {
    const [own, other] = cards()
    if (!own || !other) return skip('only the virtual machine has cards to spare')
    const { container } = await lent(host, own, other)
    const before = await linkNames(host)
    for (const env of [{}, { PODWIRE_NO_NETLINK: '1' }]) {
      const way = { pciBusID: own.id }
      resultOf(await runPlugin(host, call('ADD', container, way, { env })))
      await container.batch([
        'link set eth0 down',
        'link set eth0 name real',
        'link set real alias nobody',
        'link set real address 02:00:00:00:bb:bb',
        `link add eth0 address ${own.mac} type dummy`,
        `link set eth0 alias ${own.name}`,
        'link set eth0 up',
      ])
      succeedSilently(await runPlugin(host, call('DEL', container, way, { env })))
      expect(await linkNames(host)).toEqual(before)
      expect(await linkNames(container)).toEqual(['lo', 'eth0'])
      await container.output(['ip', 'link', 'del', 'eth0'])
    }
  })

  test('that a real user-space driver has stays where it is, as with the official plugin', async ({ host, skip }) => {
    const [card] = cards()
    if (!card) return skip('only the virtual machine has cards to spare')
    const device = `/sys/bus/pci/devices/${card.id}`
    const drive = (driver: string) => {
      writeFileSync(`${device}/driver_override`, `${driver}\n`)
      writeFileSync(`${device}/driver/unbind`, card.id)
      writeFileSync('/sys/bus/pci/drivers_probe', card.id)
    }
    drive('uio_pci_generic')
    try {
      const container = await host.container('c1')
      const [one, two] = [{ pciBusID: card.id, ipam: fixed('10.80.0.7/24') }, { runtimeConfig: { deviceID: card.id } }]
      const official = resultOf(await runPlugin(host, call('ADD', container, one, { suite: 'official' })))
      const own = resultOf(await runPlugin(host, call('ADD', container, one)))
      expect(own).toEqual(official)
      expect(await linkNames(container)).toEqual(['lo'])
      succeedSilently(await runPlugin(host, call('DEL', container, one)))
      resultOf(await runPlugin(host, call('ADD', container, two)))
      expect(leased(host)).toHaveLength(2)
      succeedSilently(await runPlugin(host, call('DEL', container, two)))
      expect(leased(host)).toEqual([])
    } finally {
      drive('')
    }
    expect(cards()).toHaveLength(2)
  })
})
