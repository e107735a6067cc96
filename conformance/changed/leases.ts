import { mkdirSync, writeFileSync } from 'node:fs'
import { expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { suites } from '../harness/locations.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { installScripts, scriptDirectory } from '../harness/scripts.js'

// An IPAM section that is edited while containers run: DEL and GC are given the new one, and give back what ADD got by
// the old.

const ranges = [[{ subnet: '192.0.2.0/24', rangeStart: '192.0.2.10' }]]
const hostLocal = { type: 'host-local', ranges }

/** Another suite's IPAM plugin: it keeps an address in the pool that its configuration names, and looks there alone. */
const pools = `
pool=/run/pools/$(sed 's/.*"pool":"\\([a-z]*\\)".*/\\1/')
case $CNI_COMMAND in
ADD) mkdir -p $pool; touch $pool/$CNI_CONTAINERID.$CNI_IFNAME.$CNI_ARGS
  echo '{ "cniVersion": "1.1.0", "ips": [{ "address": "192.0.2.77/24" }] }' ;;
DEL) rm -f $pool/$CNI_CONTAINERID.$CNI_IFNAME.$CNI_ARGS ;;
esac`

/** IPAM sections by what they are called in tests. */
const sections = {
  'host-local': hostLocal,
  'host-local with a dataDir': { ...hostLocal, dataDir: '/run/some' },
  'host-local with another dataDir': { ...hostLocal, dataDir: '/run/other/deep/' },
  'another program': { type: 'pools', pool: 'some' },
  'another program, configured otherwise': { type: 'pools', pool: 'other' },
  static: { type: 'static', addresses: [{ address: '192.0.2.5/24' }] },
  'a plugin that is not installed': { type: 'nonesuch' },
  nothing: undefined,
}
type Section = keyof typeof sections

const given: readonly Section[] = ['host-local', 'host-local with a dataDir', 'another program']
const names = Object.keys(sections) as Section[]
const rows = given.flatMap((before) => names.filter((one) => one !== before).map((after) => ({ before, after })))

/** What holds an address: files of leases and of pools, and records of where they are. */
async function held(host: Host): Promise<string[]> {
  const places = ['/var/lib/cni/networks', '/run/some', '/run/other', '/run/pools', '/run/podwire/ipam']
  const found = await host.exec(['find', ...places, '-type', 'f', '!', '-name', 'lock', '!', '-name', 'last_reserved*'])
  return found.stdout.split('\n').filter((line) => line !== '')
}

const warning = /: addresses are given back to where ADD got them, which the configuration does not name: \S.*\n$/

function calls(config: { type: string }, container: Container) {
  return (command: Verb, section: Section, more: object = {}, netns = container.netns): Call => ({
    plugin: config.type,
    command,
    config: { cniVersion: '1.1.0', name: 'network', ...config, ipam: sections[section], ...more },
    containerID: container.name,
    netns,
    path: `${scriptDirectory}:${suites.podwire}`,
    ...(command === 'GC' ? {} : { args: 'IgnoreUnknown=1;POD=one' }),
  })
}

async function prepare(host: Host): Promise<void> {
  installScripts(host, { pools })
  await host.outside()
  await host.output(['ip', 'link', 'add', 'lent', 'type', 'veth', 'peer', 'name', 'far'])
}

/** Tests of a plugin that asks for addresses, by a configuration of it without `ipam`. */
export function leasesAreFound(config: { type: string; [key: string]: unknown }): void {
  test.for(rows)('$before at ADD, $after behind it', async ({ before, after }, { host }) => {
    await prepare(host)
    const container = await host.container('c1')
    const call = calls(config, container)
    const add = async () => {
      resultOf(await runPlugin(host, call('ADD', before)))
      expect(await held(host)).not.toEqual([])
    }

    await add()
    const del = await runPlugin(host, call('DEL', after))
    succeedSilently(del)
    expect(del.stderr).toMatch(warning)
    expect(await held(host)).toEqual([])
    const again = await runPlugin(host, call('DEL', before))
    succeedSilently(again)
    expect(again.stderr).toBe('')

    await add()
    succeedSilently(await runPlugin(host, call('DEL', after, {}, '/run/netns/gone')))
    expect(await held(host)).toEqual([])
    await runPlugin(host, call('DEL', before))

    await add()
    const kept = await held(host)
    const valid = [{ containerID: 'c1', ifname: 'eth0' }]
    const asks = after === 'a plugin that is not installed'
    const gc = async (alive: object[]) => runPlugin(host, call('GC', after, { 'cni.dev/valid-attachments': alive }))
    const end = asks ? (one: Awaited<ReturnType<typeof gc>>) => expect(errorOf(one).code).toBe(107) : succeedSilently
    end(await gc(valid))
    expect(await held(host)).toEqual(kept)
    const collected = await gc([])
    end(collected)
    expect(collected.stderr).toMatch(warning)
    expect(await held(host)).toEqual([])
    succeedSilently(await runPlugin(host, call('DEL', before)))
  })

  test('an ADD with the usual leases writes no record of them, one that fails leaves none', async ({ host }) => {
    await prepare(host)
    const container = await host.container('c1')
    const call = calls(config, container)
    resultOf(await runPlugin(host, call('ADD', 'host-local')))
    expect(await host.exec(['ls', '/run/podwire/ipam'])).toMatchObject({ status: 2 })
    succeedSilently(await runPlugin(host, call('DEL', 'host-local')))
    for (const section of ['host-local with a dataDir', 'another program'] as const) {
      installScripts(host, { pools: 'exit 1' })
      const broken = { ipam: { ...sections[section], ranges: [[{ subnet: '192.0.2.0/32' }]] } }
      expect(errorOf(await runPlugin(host, call('ADD', section, broken))).code).toBeGreaterThan(0)
      expect(await held(host)).toEqual([])
    }
  })

  test('what is planted as a record removes nothing but leases', async ({ host }) => {
    await prepare(host)
    const container = await host.container('c1')
    const call = calls(config, container)
    resultOf(await runPlugin(host, call('ADD', 'host-local with a dataDir')))
    const [record = ''] = (await held(host)).filter((path) => path.startsWith('/run/podwire/ipam/'))
    const text = await host.output(['cat', record])
    const files = ['192.0.2.10', 'note', '.podwire-draft', '192.0.2.11']
    const contents = ['c1\r\neth0', 'mine', 'mine', '']
    const make = async (directory: string, withLock: boolean, owner = 'root') => {
      mkdirSync(host.path(directory), { recursive: true })
      for (const [index, file] of files.entries())
        writeFileSync(host.path(`${directory}/${file}`), `${contents[index]}`)
      if (withLock) writeFileSync(host.path(`${directory}/lock`), '')
      await host.output(['chown', '-R', owner, directory])
    }
    await make('/run/theirs/network', false)
    await make('/run/nobodys/network', true, 'nobody')
    await make('/run/target', true)
    await host.output(['sh', '-c', 'mkdir /run/led && ln -s /run/target /run/led/network'])
    await make('/run/open/network', true)
    await host.output(['chmod', '777', '/run/open/network'])
    const places = ['theirs', 'nobodys', 'led', 'open', 'target']
    const list = () => host.output(['find', ...places.map((place) => `/run/${place}`), '-printf', '%p %s %T@\n'])
    const before = await list()
    for (const verb of ['DEL', 'GC'] as const) {
      const sources = [
        ...places.slice(0, 4).map((place) => ({ plugin: config.type, type: 'host-local', dataDir: `/run/${place}` })),
        { plugin: config.type, type: 'host-local', dataDir: 'run/theirs' },
        { plugin: config.type, type: '../delegates/pools', config: '{}' },
        { plugin: config.type, type: 'bridge', config: 'no JSON' },
      ]
      const planted = { ...JSON.parse(text), data: { sources } }
      writeFileSync(host.path(record), JSON.stringify(planted))
      const more = verb === 'GC' ? { 'cni.dev/valid-attachments': [] } : {}
      const finished = await runPlugin(host, call(verb, 'host-local with a dataDir', more))
      succeedSilently(finished)
      for (const place of places.slice(0, 4)) expect(finished.stderr).toContain(`/run/${place}/network is on record`)
      expect(await list()).toBe(before)
      expect(await held(host)).toEqual([])
      if (verb === 'DEL') resultOf(await runPlugin(host, call('ADD', 'host-local with a dataDir')))
    }
  })
}
