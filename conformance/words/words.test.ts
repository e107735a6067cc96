import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { shapes } from 'podwire:shapes'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Shape } from '../../shared/values/shape.js'
import { errorOf } from '../harness/answer.js'
import { Host } from '../harness/host.js'
import { type Suite, suites as suiteDirectories } from '../harness/locations.js'
import { type Call, runPlugin } from '../harness/plugin.js'
import { netns, type Row, rows } from './rows.js'

const suites: readonly Suite[] = ['official', 'podwire']
let host: Host

beforeAll(async () => {
  host = await Host.create()
  const container = await host.container('x')
  await container.batch(['link add eth0 type veth peer name peer0', 'link set eth0 txqueuelen 1000'])
  await host.output(['ip', 'link', 'add', 'top0', 'type', 'veth', 'peer', 'name', 'top1'])
  await host.output(['ip', 'link', 'set', 'top0', 'up'])
  await host.output(['ip', 'link', 'add', 'lent0', 'type', 'veth', 'peer', 'name', 'lent1'])
  await host.output(['ip', 'link', 'add', 'br9', 'type', 'bridge'])
  await host.output(['ip', 'address', 'add', '10.1.2.99/24', 'dev', 'br9'])
})

afterAll(() => host.dispose())

const callOf = ({
  plugin,
  config,
  command = 'ADD',
  args,
  netns: at = netns,
  ifName = command === 'CHECK' || isChained(plugin) ? 'eth0' : 'eth9',
}: Omit<Row, 'official' | 'code' | 'what'>): Call => ({
  plugin,
  command,
  netns: at,
  ifName,
  containerID: 'c1',
  config: { cniVersion: '1.1.0', name: 'n', type: plugin, ...config },
  ...(args === undefined ? {} : { args }),
})

const isChained = (plugin: string) => ['portmap', 'firewall', 'tuning', 'bandwidth', 'sbr', 'vrf'].includes(plugin)

describe('the official text stands in what podwire says', () => {
  test.each(rows.map((row) => [row.plugin, row.what, row] as const))('%s: %s', async (plugin, _, row) => {
    const call = callOf(row)
    const official = await runPlugin(host, { ...call, suite: 'official' })
    // What an official ADD that failed left must not reach the next one; eth0 is the container's own.
    if (call.command === 'ADD' && !isChained(plugin) && call.ifName !== 'eth0')
      await runPlugin(host, { ...call, suite: 'official', command: 'DEL' })
    const podwire = await runPlugin(host, { ...call, suite: 'podwire' })
    expect(errorOf(official).msg).toContain(row.official)
    const error = errorOf(podwire)
    expect(error.msg).toContain(row.official)
    expect({ code: error.code, who: error.msg.slice(0, plugin.length + 1) }).toEqual({
      code: row.code,
      who: `${plugin}:`,
    })
  })
})

/** Keys that the official plugins have not: there is no text to compare. */
const ownKeys = /^(masterMAC|masterSubnet|acceptRA|keepIPv6|addressConflictDetection|hostAccess|cniVersions|disable.*)$/

interface Place {
  readonly path: readonly (string | number)[]
  readonly shape: Shape
}

/** Every place of a configuration that has a type, down to the items of arrays. */
function placesOf(shape: Shape, path: Place['path'] = []): readonly Place[] {
  const own = path.length === 0 ? [] : [{ path, shape }]
  if (shape.is === 'array') return [...own, ...placesOf(shape.of, [...path, 0])]
  if (shape.is !== 'object') return own
  return [...own, ...Object.entries(shape.keys).flatMap(([key, one]) => placesOf(one, [...path, key]))]
}

function holding([key, ...rest]: Place['path'], value: unknown): unknown {
  if (key === undefined) return value
  return typeof key === 'number' ? [holding(rest, value)] : { [key]: holding(rest, value) }
}

const wrong = (shape: Shape): readonly unknown[] =>
  shape.is === 'string' ? [5, {}] : shape.is === 'object' || shape.is === 'record' ? ['x', []] : ['x', { a: 1 }]

/** Those that the official suite has, too. */
const typed = Object.keys(shapes).filter((plugin) => existsSync(join(suiteDirectories.official, plugin)))

describe('so does what its decoder says of wrong types', () => {
  test.each(typed)('%s', { timeout: 300_000 }, async (plugin) => {
    const places = placesOf(shapes[plugin] as Shape).filter(
      ({ path, shape }) => shape.is !== 'any' && !ownKeys.test(String(path[0])) && path[0] !== 'name',
    )
    let compared = 0
    for (const { path, shape } of places) {
      for (const value of wrong(shape)) {
        const config = { ...(plugin === 'vrf' ? { vrfname: 'blue' } : {}), ...(holding(path, value) as object) }
        const call = callOf({ plugin, config, netns: '/run/netns/no' })
        const [official, podwire] = await Promise.all(suites.map((suite) => runPlugin(host, { ...call, suite })))
        const { msg } = official?.status === 1 ? errorOf(official) : { msg: '' }
        if (!msg.includes('json: cannot unmarshal')) continue
        compared++
        expect(podwire && errorOf(podwire).msg, `${path.join('.')}: ${JSON.stringify(value)}`).toContain(msg)
      }
    }
    expect(compared).toBeGreaterThan(10)
  })
})
