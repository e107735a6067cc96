import { randomUUID } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { listPlugins } from '../../shared/bundling/plugins.js'
import { errorOf, resultOf } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import { Host } from '../harness/host.js'
import { repository, suites, systemCommand } from '../harness/locations.js'
import { environment, runPlugin, type Verb } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'
import { installScripts, scriptDirectory } from '../harness/scripts.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'

// A configuration whose ipam.type leads to a plugin that asks for addresses itself. Each call runs in a process
// namespace of its own that ends after ten seconds with all that is in it: what never ended would fill this machine.

const plugins = listPlugins(repository).map(({ name }) => name)
const ipams = ['host-local', 'static']
const verbs = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS'] as const
/** Those whose kind of link every kernel has. */
const callers = ['bridge', 'ptp', 'macvlan', 'tap', 'host-device']
const directory = join(suites.podwire, `../delegation-${randomUUID()}`)
const place = (name: string) => join(directory, name)

let host: Host
let pod: Container

beforeAll(async () => {
  mkdirSync(directory)
  // Another file than the suite's, so that nothing of it runs in the caller's process.
  for (const name of ['x-bridge', 'ptp.real', 'any', 'macvlan']) {
    if (existsSync(place('x-bridge'))) symlinkSync('x-bridge', place(name))
    else copyFileSync(join(suites.podwire, 'bridge'), place(name))
  }
  host = await Host.create()
  pod = await host.container('pod')
  await host.output(['ip', 'link', 'add', 'uplink', 'type', 'veth', 'peer', 'name', 'other'])
  const started = 'echo "$0" >>/run/started'
  const executing = (plugin: string) => `${started}; exec ${join(suites.podwire, plugin)}`
  const hops = Array.from({ length: 20 }, (_, hop) => [
    `hop${hop}`,
    // Gives its caller's configuration on with another ipam.type, to another main plugin.
    `${started}; sed s/hop${hop}/hop${hop + 1}/ | ${join(suites.podwire, hop % 2 === 0 ? 'ptp' : 'bridge')}`,
  ])
  installScripts(host, {
    ...Object.fromEntries(hops),
    wrapper: executing('bridge'),
    'wrapper-of-ptp': executing('ptp'),
    dhcp: `${started}; echo "$PODWIRE_DELEGATIONS" >/run/mark
      [ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.1.0","ips":[{"address":"10.5.0.2/24"}]}'; exit 0`,
    asking: `${started}; sed s/asking/host-local/ | ${join(suites.podwire, 'host-local')}`,
  })
})

afterAll(async () => {
  rmSync(directory, { recursive: true, force: true })
  await host.dispose()
})

const configurations: Record<string, object> = {
  bridge: { bridge: 'br5' },
  macvlan: { master: 'uplink' },
  'host-device': { device: 'other' },
}

const prevResult = { interfaces: [{ name: 'eth0', sandbox: '/run/netns/pod' }], ips: [] }

/** Runs a call that must not last. `program` is a path. */
function call(program: string, command: Verb, ipam: object, path: string, more: object = {}): Promise<Finished> {
  const plugin = program.slice(program.lastIndexOf('/') + 1)
  const config = { cniVersion: '1.1.0', name: 'n', type: plugin, ...configurations[plugin], prevResult, ipam, ...more }
  const inNamespace = ['--pid', '--fork', '--kill-child', '--mount-proc', systemCommand('timeout'), '-s', 'KILL', '10']
  return host.exec([systemCommand('unshare'), ...inNamespace, program], {
    env: environment({ plugin, command, netns: pod.netns, path }),
    stdin: JSON.stringify(config),
  })
}

const linksOf = (container: Container) => container.output(['ip', '-o', 'link'])

/** How often the scripts have been started since the last time. */
async function started(): Promise<string[]> {
  const file = host.path('/run/started')
  const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
  await host.output(['rm', '-f', '/run/started'])
  return lines.map((line) => line.slice(line.lastIndexOf('/') + 1))
}

describe.each(callers)('%s', (caller) => {
  const own = join(suites.podwire, caller)

  test.each(plugins.filter((one) => !ipams.includes(one)))('does not ask %s for addresses', async (type) => {
    const before = await takeSnapshot(host)
    // What the path leads to is the same question to all.
    const paths = caller === 'bridge' ? [suites.podwire, directory, '/nonexistent'] : [suites.podwire]
    for (const path of paths) {
      for (const verb of verbs) {
        const error = errorOf(await call(own, verb, { type }, path))
        expect({ verb, code: error.code, msg: error.msg, details: error.details }).toEqual({
          ...{ verb, code: 7, msg: `${caller}: network "n": "${type}" is not an IPAM plugin` },
          details: expect.stringMatching(/^ipam\.type: found "[^"]+", expected an IPAM plugin: host-local, static,/),
        })
      }
    }
    expect(difference(before, await takeSnapshot(host))).toBe('')
  })

  test.each(['x-bridge', 'ptp.real', 'any', 'wrapper', 'wrapper-of-ptp'])('ends by %s', async (type) => {
    const path = `${directory}:${scriptDirectory}`
    const before = await linksOf(pod)
    for (const verb of verbs) {
      const error = errorOf(await call(own, verb, { type }, path))
      expect({ verb, ...error }).toMatchObject({ verb, code: 7, details: expect.stringContaining('ipam.type') })
      // An ADD that failed asks the delegate to clean up, too.
      expect((await started()).length).toBeLessThanOrEqual(verb === 'ADD' ? 2 : 1)
    }
    expect(await linksOf(pod)).toBe(before)
  })

  test('ends after four delegations where each has another name', async () => {
    for (const verb of ['DEL', 'GC', 'STATUS', 'CHECK'] as const) {
      const error = errorOf(await call(own, verb, { type: 'hop0' }, scriptDirectory))
      expect({ verb, ...error }).toMatchObject({ verb, code: 7 })
      expect(error.msg).toContain('more than 4 delegations: hop0 > hop1 > hop2 > hop3 > hop4')
      expect(await started()).toEqual(['hop0', 'hop1', 'hop2', 'hop3'])
    }
    expect(errorOf(await call(own, 'ADD', { type: 'hop0' }, scriptDirectory)).code).toBeGreaterThan(0)
    expect((await started()).length).toBeLessThan(16)
  })
})

test('a main plugin of another suite that asks us ends as well', async ({ skip }) => {
  const official = join(suites.official, 'ptp')
  if (!existsSync(official)) return skip('the official suite is not here')
  for (const verb of ['ADD', 'DEL', 'CHECK'] as const) {
    const error = errorOf(await call(official, verb, { type: 'x-bridge' }, directory))
    expect({ verb, ...error }).toMatchObject({ verb, code: 7, msg: expect.stringContaining('"x-bridge"') })
  }
})

test('a DEL removes what is its own, gives the addresses back, and says that the type is none', async () => {
  const own = join(suites.podwire, 'bridge')
  const ipam = { type: 'host-local', ranges: [[{ subnet: '10.5.0.0/24' }]] }
  const at = { plugin: 'bridge', netns: pod.netns }
  const config = { cniVersion: '1.1.0', name: 'n', type: 'bridge', bridge: 'br6', isGateway: true, ipMasq: true }
  const masquerades = () => host.output(['nft', 'list', 'ruleset'])
  resultOf(await runPlugin(host, { ...at, command: 'ADD', config: { ...config, ipam } }))
  expect(await masquerades()).toContain('10.5.0.2')
  for (const _ of ['the first', 'again']) {
    expect(errorOf(await call(own, 'DEL', { ...ipam, type: 'ptp' }, suites.podwire, config)).code).toBe(7)
    expect(await linksOf(pod)).not.toContain('eth0')
    expect(await host.output(['ip', '-o', 'link', 'show', 'master', 'br6'])).toBe('')
    expect(await masquerades()).not.toContain('10.5.0.2')
    expect(readdirSync(host.path('/var/lib/cni/networks/n'))).not.toContain('10.5.0.2')
  }
  const finished = await runPlugin(host, { ...at, command: 'DEL', config: { ...config, ipam } })
  expect(finished).toMatchObject({ status: 0, stdout: '' })
})

describe('an IPAM plugin of others', () => {
  test.each(['dhcp', 'asking'])('is asked as before: %s', async (type) => {
    const config = { cniVersion: '1.1.0', name: 'm', type: 'bridge', bridge: 'br7' }
    const ipam = { type, ranges: [[{ subnet: '10.5.0.0/24' }]] }
    for (const command of ['ADD', 'DEL'] as const) {
      const asked = { plugin: 'bridge', command, netns: pod.netns, path: scriptDirectory, config: { ...config, ipam } }
      const finished = await runPlugin(host, asked)
      if (command === 'ADD') expect(resultOf(finished).ips?.[0]?.address).toBe('10.5.0.2/24')
      else expect(finished).toEqual({ status: 0, signal: null, stdout: '', stderr: '' })
      expect(await started()).toEqual([type])
    }
  })

  test('is told of the delegations above it', async () => {
    const config = { cniVersion: '1.1.0', name: 'm', type: 'bridge', bridge: 'br7', ipam: { type: 'dhcp' } }
    const asked = { plugin: 'bridge', netns: pod.netns, path: scriptDirectory, config }
    await runPlugin(host, { ...asked, command: 'DEL' })
    expect(readFileSync(host.path('/run/mark'), 'utf8')).toBe('dhcp\n')
    await runPlugin(host, { ...asked, command: 'DEL', env: { PODWIRE_DELEGATIONS: 'one/two' } })
    expect(readFileSync(host.path('/run/mark'), 'utf8')).toBe('one/two/dhcp\n')
    await started()
    for (const above of ['dhcp', 'a/b/c/d', '/////a/b/c/d/e', '../dhcp']) {
      const env = { PODWIRE_DELEGATIONS: above }
      expect(errorOf(await runPlugin(host, { ...asked, command: 'DEL', env }))).toMatchObject({ code: 7 })
    }
    expect(await started()).toEqual([])
  })
})
