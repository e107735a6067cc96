import { existsSync, readFileSync, renameSync, symlinkSync } from 'node:fs'
import { expect } from 'vitest'
import { type CniError, errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { systemCommand } from '../harness/locations.js'
import { type Call, runPlugin, startTraced, type Verb } from '../harness/plugin.js'
import { type Finished, until } from '../harness/process.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'

/** The path that is turned to another namespace while a call runs. */
export const path = '/run/netns-of-c1'

/** A plugin whose namespace is swapped: its configuration, and what the ADD needs to be there. */
export interface Swapped {
  readonly config: object
  /** What stands before it in the chain, which has run when the swapping begins. */
  readonly chained?: { readonly type: string; readonly [key: string]: unknown }
  readonly prepare?: (host: Host, container: Container) => Promise<unknown>
}

/** Both ways in which a plugin works in a namespace: by netlink, and by tools. */
export const ways: Record<string, Record<string, string>> = { netlink: {}, tools: { PODWIRE_NO_NETLINK: '1' } }

const subnets = [[{ subnet: '10.80.0.0/24' }], [{ subnet: 'fd00:80::/64' }]]
export const ipam = { type: 'host-local', ranges: subnets }

/** All that a call can leave behind. */
export async function state(host: Host): Promise<string[]> {
  const lines = await takeSnapshot(host, { directories: ['/var/lib/cni/networks/network', '/run/podwire'] })
  return lines.filter((line) => !/^file \S*\/(\S*lock|last_reserved_ip\.\d+|\.\S+) /.test(line))
}

/** A host with an uplink and a container, and the calls of a plugin for that by the path. */
export async function prepare(host: Host, type: string, { config, chained, prepare: more }: Swapped) {
  await host.outside()
  const container = await host.container('c1')
  lead(host, 'c1')
  const call = (plugin: string, command: Verb, plugged: object, env = {}): Call => {
    const network = { cniVersion: '1.1.0', name: 'network', type: plugin, ...plugged }
    return { plugin, command, config: network, containerID: 'c1', netns: path, env }
  }
  await more?.(host, container)
  const prevResult = chained ? resultOf(await runPlugin(host, call(chained.type, 'ADD', chained))) : undefined
  const own = { ...config, ...(prevResult ? { prevResult } : {}) }
  return { container, call: (command: Verb, env = {}) => call(type, command, own, env) }
}

/** Turns the path, in one step, to a container's namespace or to the host's own. */
export function lead(host: Host, to: 'c1' | 'host'): void {
  const target = to === 'host' ? `/proc/${host.pid}/ns/net` : `/run/netns/${to}`
  symlinkSync(target, host.path(`${path}.new`))
  renameSync(host.path(`${path}.new`), host.path(path))
}

interface Swap {
  readonly finished: Finished
  /** The system calls that were given the path, by their names. */
  readonly looks: readonly string[]
  readonly isSwapped: boolean
}

/**
 * Runs a call that stops, it or what it starts, behind each system call that is given the path or the file opened
 * there. At the `place`th the path is turned to the host's namespace; in the end it leads to the container again.
 */
async function swappedAt(host: Host, call: Call, place: number): Promise<Swap> {
  const log = '/run/swapping'
  const options = ['-f', '-P', path, '-e', 'trace=%file', '-e', 'inject=%file:signal=STOP']
  const traced = startTraced(host, call, options, log)
  let isOver = false
  const finished = traced.finished.finally(() => {
    isOver = true
  })
  const lines = () => (existsSync(host.path(log)) ? readFileSync(host.path(log), 'utf8').split('\n') : [])
  const stops = () => {
    const all = lines()
    // All threads of the process stop; the one that was made to is the one that is told of first.
    return all.flatMap((line, at) => {
      const pid = /^(\d+) +--- SIGSTOP/.exec(line)?.[1]
      return pid !== undefined && all.slice(at).some((one) => one.startsWith(`${pid} `) && one.includes('stopped by'))
        ? [Number(pid)]
        : []
    })
  }
  let stop = 0
  for (; ; stop++) {
    await until('the call stops or ends', () => isOver || stops().length > stop, 60_000)
    if (isOver) break
    if (stop + 1 === place) lead(host, 'host')
    process.kill(stops()[stop] as number, 'SIGCONT')
  }
  const ended = await finished
  lead(host, 'c1')
  const asked = lines().filter((line) => line.includes(`"${path}"`))
  const looks = asked.map((line) => /^\d+ +(\w+)/.exec(line)?.[1] ?? '')
  await host.output(['rm', '-f', log])
  return { finished: ended, looks, isSwapped: stop >= place }
}

/**
 * Swaps at every place where a verb looks at the path, and tells `ended` how the call ended; then the path has been
 * asked for and opened once.
 */
async function swapEverywhere(
  host: Host,
  call: Call,
  ended: (finished: Finished, place: number) => Promise<void>,
): Promise<void> {
  for (let place = 1; place < 20; place++) {
    const { finished, looks, isSwapped } = await swappedAt(host, call, place)
    expect(looks).toEqual(['statfs', 'openat'])
    await ended(finished, place)
    if (!isSwapped) return
  }
  throw new Error('the path is looked at again and again')
}

/** What is said of a swap that is seen. */
const refused = (finished: Finished): CniError => {
  const error = errorOf(finished)
  expect(error).toMatchObject({ code: 8, msg: expect.stringContaining('should not be the same') })
  return error
}

/**
 * Declares that a plugin whose namespace is swapped at any moment works in the first one, or refuses and leaves
 * nothing. A path is looked at once, opened, and never used again; then the open file is compared with the host's.
 */
export function holdsTheFirst(type: string, swapped: Swapped): void {
  for (const [way, env] of Object.entries(ways)) {
    test(`${type} by ${way} works in the namespace that it found, or refuses`, { timeout: 180_000 }, async ({
      host,
    }) => {
      const { call } = await prepare(host, type, swapped)
      const result = resultOf(await runPlugin(host, call('ADD', env)))
      const made = await state(host)
      succeedSilently(await runPlugin(host, call('DEL', env)))
      // What attachments share stays: a bridge, forwarding.
      const before = await state(host)
      let [kept, seen] = [0, 0]
      await swapEverywhere(host, call('ADD', env), async (finished, place) => {
        if (finished.status === 0) {
          kept++
          expect(comparable(resultOf(finished))).toEqual(comparable(result))
          expect(difference(settled(made), settled(await state(host))), `ADD, place ${place}`).toBe('')
          succeedSilently(await runPlugin(host, call('DEL', env)))
        } else {
          seen++
          refused(finished)
        }
        expect(difference(before, await state(host)), `ADD, place ${place}`).toBe('')
      })
      expect(seen).toBe(1)
      expect(kept).toBeGreaterThan(1)
      resultOf(await runPlugin(host, call('ADD', env)))
      await swapEverywhere(host, call('DEL', env), async (finished, place) => {
        if (finished.status === 0) {
          expect(difference(before, await state(host)), `DEL, place ${place}`).toBe('')
          resultOf(await runPlugin(host, call('ADD', env)))
        } else {
          refused(finished)
          expect(difference(settled(made), settled(await state(host))), `DEL, place ${place}`).toBe('')
        }
      })
      succeedSilently(await runPlugin(host, call('DEL', env)))
      expect(difference(before, await state(host))).toBe('')
    })
  }
}

/** host-local hands out the next address each time. */
function comparable(result: object): unknown {
  return JSON.parse(withoutAddresses(JSON.stringify(result)))
}

function settled(lines: readonly string[]): string[] {
  return lines.map(withoutAddresses).filter((line) => !/ fe80::|^file /.test(line))
}

function withoutAddresses(text: string): string {
  return text
    .replaceAll(/10\.80\.0\.\d+|fd00:80::[0-9a-f]*/g, 'ADDRESS')
    .replaceAll(/\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b/g, 'MAC')
}

/** A process of the host that turns the path to and fro, as fast as it can, until it is ended. */
export async function whileFlapping(host: Host, body: () => Promise<void>): Promise<void> {
  const script = `
    const { renameSync, symlinkSync } = require('node:fs')
    const targets = ['/run/netns/c1', '/proc/${host.pid}/ns/net']
    for (let turn = 0; ; turn++) {
      symlinkSync(targets[turn % 2], '${path}.flapping')
      renameSync('${path}.flapping', '${path}')
      if (turn === 1) console.log('turning')
    }`
  const flapping = host.start([process.execPath, '-e', script], { keepOpen: true, deadline: 120_000 })
  await new Promise((resolve) => flapping.child.stdout?.once('data', resolve))
  try {
    await body()
  } finally {
    flapping.child.kill('SIGKILL')
    await flapping.finished
    await host.output([systemCommand('rm'), '-f', `${path}.flapping`])
    lead(host, 'c1')
  }
}
