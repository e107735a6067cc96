import { describe, expect } from 'vitest'
import { errorOf, type Result, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import type { Suite } from '../harness/locations.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { readTrace } from '../harness/trace.js'

// A bridge that somebody made before: without an address that was set it has the lowest of its ports', and none without
// ports.

const gateway = { 4: '10.1.2.1', 6: 'fd00:1:2::1' }
const ranges = [[{ subnet: '10.1.2.0/24' }], [{ subnet: 'fd00:1:2::/64' }]]
const config = {
  ...{ cniVersion: '1.1.0', name: 'network', type: 'bridge', bridge: 'br0', isGateway: true },
  ipam: { type: 'host-local', ranges },
}
const none = '00:00:00:00:00:00'
const joinAndLeave = ['link add before type veth peer name behind', 'link set before master br0', 'link del before']

/** What somebody did with the bridge before, as commands of `ip`. */
const bridges: Record<string, readonly string[]> = {
  'never had a port': ['link add br0 type bridge'],
  'is up': ['link add br0 type bridge', 'link set br0 up'],
  'lost all its ports': ['link add br0 type bridge', ...joinAndLeave],
  'lost all its ports after its address was set': [
    ...['link add br0 type bridge', ...joinAndLeave, 'link set br0 address 02:00:00:00:00:77'],
  ],
  'has a port': [
    'link add br0 type bridge',
    'link add port0 address fe:00:00:00:00:01 type veth peer name port1',
    'link set port0 master br0',
  ],
  'has the gateway address': [
    ...['link add br0 type bridge', `addr add ${gateway[4]}/24 dev br0`, `addr add ${gateway[6]}/64 dev br0 nodad`],
  ],
  'has the gateway address and lost all its ports': [
    ...['link add br0 type bridge', ...joinAndLeave, `addr add ${gateway[4]}/24 dev br0`],
  ],
  'has an address that was set': ['link add br0 address 02:00:00:00:00:77 type bridge'],
}

const ways: Record<string, Partial<Call>> = { netlink: {}, tools: { env: { PODWIRE_NO_NETLINK: '1' } } }

const call = (command: Verb, container: Container, more: Partial<Call> = {}): Call => ({
  ...{ plugin: 'bridge', command, config, containerID: container.name, netns: container.netns, ...more },
})

async function prepare(host: Host, commands: readonly string[]): Promise<string> {
  await host.output(['ip', '-batch', '-'], { stdin: `${commands.join('\n')}\n` })
  return bridgeAddress(host)
}

async function bridgeAddress(host: Host): Promise<string> {
  return (await host.output(['cat', '/sys/class/net/br0/address'])).trim()
}

const isSet = async (host: Host) => (await host.output(['cat', '/sys/class/net/br0/addr_assign_type'])).trim() === '3'

async function attach(host: Host, count: number, more: Partial<Call> = {}): Promise<[Container, Result][]> {
  const attached: [Container, Result][] = []
  for (let index = 0; index < count; index++) {
    const container = await host.container()
    attached.push([container, resultOf(await runPlugin(host, call('ADD', container, more)))])
  }
  return attached
}

const macOf = ({ interfaces = [] }: Result, index: number) => interfaces[index]?.mac ?? ''

/** What of so many echo requests, one every 10 ms, was not answered while `body` ran in the midst of them. */
async function lost(from: Container, address: string, count: number, body: () => Promise<unknown>): Promise<number> {
  const pinging = from.start(['ping', '-n', '-i', '0.01', '-c', String(count), '-W', '1', address])
  await new Promise<void>((resolve) => pinging.child.stdout?.once('data', () => resolve()))
  await body()
  const { stdout } = await pinging.finished
  const [, received] = /(\d+) received/.exec(stdout) ?? []
  if (received === undefined) throw new Error(`ping printed no count: ${stdout}`)
  return count - Number(received)
}

/** Deletes the container whose end at the bridge has the lowest address, while another one talks to its gateway. */
async function deleteLowest(host: Host, family: 4 | 6, more: Partial<Call>, count = 150): Promise<number> {
  const attached = await attach(host, 4, more)
  const sorted = attached.toSorted(([, one], [, other]) => (macOf(one, 1) < macOf(other, 1) ? -1 : 1))
  const [[lowest], [other]] = sorted as [[Container, Result], [Container, Result]]
  const del = async () => succeedSilently(await runPlugin(host, call('DEL', lowest, more)))
  return lost(other, gateway[family], count, del)
}

describe.each(Object.entries(ways))('by %s: a bridge that', (_, way) => {
  test.for(Object.entries(bridges))('%s keeps an address of its own', async ([, commands], { host }) => {
    const before = await prepare(host, commands)
    for (const [, result] of await attach(host, 2, way)) {
      if (before !== none) expect(macOf(result, 0)).toBe(before)
      expect(macOf(result, 0)).toBe(await bridgeAddress(host))
      expect(await isSet(host)).toBe(true)
    }
    expect(await bridgeAddress(host)).toMatch(/^.[26ae]:|^fe:/)
  })

  test.for(Object.entries(bridges))('%s answers whoever goes', async ([, commands], { host }) => {
    await prepare(host, commands)
    expect(await deleteLowest(host, 4, way)).toBe(0)
  })

  test('has a port answers over IPv6 whoever goes', async ({ host }) => {
    await prepare(host, bridges['has a port'] ?? [])
    expect(await deleteLowest(host, 6, way)).toBe(0)
  })

  test('is used by many at once has one address from the first to the last', async ({ host }) => {
    const before = await prepare(host, bridges['never had a port'] ?? [])
    const containers = await Promise.all(Array.from({ length: 8 }, () => host.container()))
    const results = await Promise.all(containers.map((container) => runPlugin(host, call('ADD', container, way))))
    expect(results.map((one) => macOf(resultOf(one), 0))).toEqual(results.map(() => before))
    expect(await bridgeAddress(host)).toBe(before)
  })

  test('is without ports and used by many at once has one address from the first to the last', async ({ host }) => {
    expect(await prepare(host, bridges['lost all its ports'] ?? [])).toBe(none)
    const containers = await Promise.all(Array.from({ length: 8 }, () => host.container()))
    const results = await Promise.all(containers.map((container) => runPlugin(host, call('ADD', container, way))))
    const now = await bridgeAddress(host)
    expect(now).not.toBe(none)
    expect(results.map((one) => macOf(resultOf(one), 0))).toEqual(results.map(() => now))
  })

  test('is no gateway keeps its address, too', async ({ host }) => {
    const before = await prepare(host, bridges['has a port'] ?? [])
    const plain = { ...config, isGateway: false }
    const [[container]] = (await attach(host, 1, { ...way, config: plain })) as [[Container, Result]]
    expect([await bridgeAddress(host), await isSet(host)]).toEqual([before, true])
    succeedSilently(await runPlugin(host, call('DEL', container, { ...way, config: plain })))
    expect(await bridgeAddress(host)).toBe(before)
  })

  test('has an address of its own already costs neither a process nor a request', async ({ host }) => {
    await prepare(host, bridges['never had a port'] ?? [])
    const traced = (file: string) => attach(host, 1, { env: { ...way.env, PODWIRE_TRACE: `/run/${file}` } })
    const setting = (file: string) =>
      readTrace(host, `/run/${file}`).flatMap(({ argv, stdin }) =>
        `${argv.join(' ')}\n${stdin}`.split('\n').filter((line) => line.includes('br0 address')),
      )
    const processes = (file: string) => readTrace(host, `/run/${file}`).filter(({ netlink }) => !netlink).length
    await traced('first')
    await traced('second')
    expect(setting('first')).toHaveLength(1)
    expect(setting('second')).toEqual([])
    expect(processes('second')).toBeLessThanOrEqual(processes('first'))
  })
})

describe('the official plugin in v1.9.1', () => {
  const suite: Suite = 'official-1.9.1'

  test.for(['never had a port', 'is up', 'has a port', 'has an address that was set'])(
    'loses nothing either on a bridge that %s',
    async (what, { host }) => {
      const before = await prepare(host, bridges[what] ?? [])
      expect(await deleteLowest(host, 4, { suite })).toBe(0)
      expect([await bridgeAddress(host), await isSet(host)]).toEqual([before, true])
    },
  )

  test('lets a bridge that has the gateway address follow its ports', async ({ host }) => {
    await prepare(host, bridges['has the gateway address'] ?? [])
    // So many that a DEL on a busy machine comes before the last of them.
    expect(await deleteLowest(host, 4, { suite }, 800)).toBeGreaterThan(10)
  })

  test('fails where the bridge lost all its ports', async ({ host }) => {
    await prepare(host, bridges['lost all its ports'] ?? [])
    const finished = await runPlugin(host, call('ADD', await host.container(), { suite }))
    expect(errorOf(finished).msg).toContain("could not set bridge's mac")
  })
})
