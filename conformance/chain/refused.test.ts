import { randomUUID } from 'node:crypto'
import {
  closeSync,
  constants,
  copyFileSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { sealBytes, sealMark } from '../../shared/exec/same-build.js'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { Chain, type Conflist, type PluginConfig } from '../harness/chain.js'
import { test } from '../harness/fixture.js'
import { suites } from '../harness/locations.js'
import { runPlugin, type Verb } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'
import { readTrace } from '../harness/trace.js'
import {
  asChain,
  call,
  calls,
  failingAt,
  fourMembers,
  given,
  look,
  noting,
  ofAttachment,
  portMappings,
  withOthers,
} from './setting.js'

const [bridge, portmap, firewall] = fourMembers().plugins as [PluginConfig, PluginConfig, PluginConfig]
const of = (plugins: unknown, more: object = {}): Conflist =>
  ({ cniVersion: '1.1.0', name: 'network', plugins: [{ type: 'chain', plugins, ...more }] }) as Conflist
const collecting = {
  given: { 'cni.dev/valid-attachments': [], 'cni.dev/attachments': [] },
  containerID: '',
  ifName: '',
}

// Each is refused at ADD and CHECK before anything is done, is 50 at STATUS, and keeps no DEL or GC from its work.
const rows: Record<string, { list: Conflist; place: string }> = {
  'an empty chain': { list: of([]), place: 'plugins' },
  'a chain in a chain': { list: of([{ type: 'chain', plugins: [bridge] }]), place: 'plugins[0].type' },
  'a chain of a chain’s copy by another name': {
    list: of([bridge, { type: 'my-chain', plugins: [] }]),
    place: 'plugins[1].type',
  },
  'disableCheck: false': { list: of([bridge], { disableCheck: false }), place: 'disableCheck' },
  'disableGC: true': { list: of([bridge], { disableGC: true }), place: 'disableGC' },
  'DISABLEGC, as Go reads it': { list: of([bridge], { DISABLEGC: true }), place: 'disableGC' },
  'a capability that the chain denies': {
    list: of([bridge, { type: 'bandwidth', capabilities: { bandwidth: true } }], {
      capabilities: { bandwidth: false },
    }),
    place: 'plugins[1].capabilities.bandwidth',
  },
  'a capability of another one’s name': {
    list: of([bridge, portmap], { capabilities: { portmappings: true, mac: true } }),
    place: 'plugins[1].capabilities.portMappings',
  },
}

describe('what is refused', () => {
  for (const [name, { list, place }] of Object.entries(rows)) {
    test(name, async ({ host }) => {
      const { netns } = await host.container()
      const path = await withOthers(host, { 'my-chain': `${suites.podwire}/chain` })
      const before = await look(host)
      const prevResult = { cniVersion: '1.1.0', interfaces: [], ips: [] }
      for (const [verb, more] of [
        ['ADD', {}],
        ['CHECK', { prevResult }],
      ] as const) {
        const error = errorOf(await runPlugin(host, call(list, verb, netns, { path, given: more })))
        expect([verb, error.code]).toEqual([verb, 7])
        expect(error.details).toContain(`${place}: found`)
      }
      const error = errorOf(await runPlugin(host, call(list, 'STATUS', '', { path })))
      expect(error.code).toBe(50)
      expect(error.details).toContain(`${place}: found`)
      succeedSilently(await runPlugin(host, call(list, 'DEL', netns, { path })))
      succeedSilently(await runPlugin(host, call(list, 'GC', '', { path, ...collecting })))
      expect(difference(before, await look(host))).toBe('')
    })
  }

  const broken: Record<string, unknown> = {
    'null among them': [null, bridge],
    'a text among them': [bridge, 'portmap'],
    'a list among them': [[bridge]],
    'none at all': undefined,
    'null for all': null,
    'a number for all': 4,
    'capabilities that are none': [{ ...bridge, capabilities: [] }],
    'an ipam that is none': [{ ...bridge, ipam: 'host-local' }],
    'a type that is a path': [{ type: '../../../bin/true' }],
    'a type that is empty': [{ type: '' }],
    'a type that is a folder': [{ type: '.' }],
  }
  for (const [name, plugins] of Object.entries(broken)) {
    test(`plugins: ${name}: each verb ends with one error of a user’s, or does its work`, async ({ host }) => {
      const { netns } = await host.container()
      const before = await look(host)
      for (const verb of ['ADD', 'CHECK', 'STATUS', 'DEL', 'GC'] as const) {
        const more =
          verb === 'GC' ? collecting : verb === 'CHECK' ? { given: { prevResult: { cniVersion: '1.1.0' } } } : {}
        const finished = await runPlugin(host, call(of(plugins), verb, verb === 'GC' ? '' : netns, more))
        const isFine = finished.status === 0 && finished.stdout === ''
        if (isFine && (verb === 'DEL' || verb === 'GC')) continue
        const error = errorOf(finished)
        expect({ verb, code: error.code, msg: error.msg }).toMatchObject({ code: expect.toBeOneOf([6, 7, 50, 107]) })
        expect(`${error.msg}${error.details}`).not.toMatch(/defect|unexpected|TypeError/)
      }
      expect(difference(before, await look(host))).toBe('')
    })
  }
})

describe('what members are given', () => {
  test('keys in other letters, as Go reads them', async ({ host }) => {
    const { netns } = await host.container()
    const { plugins } = fourMembers()
    const { ipam, ...rest } = plugins[0] as PluginConfig
    const upper = [{ ...rest, IPAM: ipam }, { TYPE: 'portmap', Capabilities: { portMappings: true } }, firewall]
    const config = { type: 'chain', Plugins: upper, CAPABILITIES: { portMappings: true } }
    const list = { cniVersion: '1.1.0', name: 'network', plugins: [config] } as unknown as Conflist
    const env = { PODWIRE_TRACE: '/run/trace' }
    const { ips } = resultOf(
      await runPlugin(host, call(list, 'ADD', netns, { given: { RuntimeConfig: { portMappings } }, env })),
    )
    expect(ips?.[0]?.address).toBe('10.1.2.2/24')
    expect(await host.output(['nft', 'list', 'ruleset'])).toMatch(/8080[^\n]*10\.1\.2\.2|10\.1\.2\.2[^\n]*8080/)
    // host-local, too, has run inside.
    expect(readTrace(host, '/run/trace').filter(({ argv }) => argv?.[0]?.includes('host-local'))).toEqual([])
    succeedSilently(await runPlugin(host, call(list, 'DEL', netns)))
    expect(await ofAttachment(host)).toEqual([])
  })

  test('an ipam beside plugins, which they do not set', async ({ host }) => {
    const { netns } = await host.container()
    const { ipam, ...rest } = bridge
    const list = of([rest, firewall], { ipam })
    expect(resultOf(await runPlugin(host, call(list, 'ADD', netns))).ips?.[0]?.address).toBe('10.1.2.2/24')
    succeedSilently(await runPlugin(host, call(list, 'DEL', netns)))
    expect(await ofAttachment(host)).toEqual([])
  })

  test('one of ours that does not know the version is refused first, too', async ({ host }) => {
    const { netns } = await host.container()
    const before = await look(host)
    const list = { ...of([bridge, firewall]), cniVersion: '0.3.1' }
    const error = errorOf(await runPlugin(host, call(list, 'ADD', netns)))
    expect(error).toMatchObject({
      code: 1,
      msg: 'plugins[1] firewall: plugin firewall does not support config version "0.3.1"',
    })
    expect(difference(before, await look(host))).toBe('')
    succeedSilently(await runPlugin(host, call(list, 'DEL', netns)))
  })

  const answers: Record<string, [text: string, code: number, says: string]> = {
    'no JSON': ['hello', 6, 'decoding version info: '],
    'nothing at all': ['', 6, 'decoding version info: unexpected end of JSON input'],
    'no versions': ['{"cniVersion":"1.1.0"}', 6, 'decoding version info: missing field supportedVersions'],
    'an empty object': ['{}', 6, 'decoding version info: missing field cniVersion'],
    'those of 0.2.0': ['{"cniVersion":"0.2.0"}', 1, 'plugin odd does not support config version "1.1.0"'],
  }
  for (const [name, [text, code, says]] of Object.entries(answers)) {
    test(`VERSION of another program answers ${name}`, async ({ host }) => {
      const { netns } = await host.container()
      const path = await withOthers(host, { odd: noting(`[ $CNI_COMMAND != VERSION ] || { echo '${text}'; exit 0; }`) })
      const before = await look(host)
      const error = errorOf(await runPlugin(host, call(of([bridge, { type: 'odd' }]), 'ADD', netns, { path })))
      expect(error.code).toBe(code)
      expect(error.msg).toContain(`plugins[1] odd: ${says}`)
      expect(difference(before, await look(host))).toBe('')
    })
  }

  test('one that fails at VERSION as plugins of the first version do knows that one', async ({ host }) => {
    const { netns } = await host.container()
    const body = `[ $CNI_COMMAND != VERSION ] || { echo '{"code":4,"msg":"unknown CNI_COMMAND: VERSION"}'; exit 1; }`
    const path = await withOthers(host, { first: noting(body) })
    const list = of([bridge, { type: 'first' }])
    expect(errorOf(await runPlugin(host, call(list, 'ADD', netns, { path })))).toMatchObject({
      code: 1,
      msg: 'plugins[1] first: plugin first does not support config version "1.1.0"',
      details: expect.stringContaining('["0.1.0"]'),
    })
  })
})

describe('DEL', () => {
  test('of a network that has another name by now takes away what the kernel and the lease have', async ({ host }) => {
    const { netns } = await host.container()
    const list = asChain(fourMembers())
    const prevResult = resultOf(await runPlugin(host, call(list, 'ADD', netns, { given })))
    const renamed = { ...list, name: 'renamed' }
    succeedSilently(await runPlugin(host, call(renamed, 'DEL', netns, { given: { ...given, prevResult } })))
    expect(await ofAttachment(host)).toEqual([])
  })

  test('gives the lease back where only what leads nowhere could not be removed', async ({ host }) => {
    const { netns } = await host.container()
    const path = await withOthers(host, { foreign: failingAt('DEL') })
    const list = asChain(fourMembers({ type: 'foreign' }))
    resultOf(await runPlugin(host, call(list, 'ADD', netns, { path, given })))
    expect(errorOf(await runPlugin(host, call(list, 'DEL', netns, { path }))).msg).toContain('plugins[4] foreign')
    expect(await ofAttachment(host)).toEqual([])
  })

  test('as CRI-O does it, from the configuration it cached', async ({ host }) => {
    const { netns } = await host.container()
    const list = asChain(fourMembers())
    const result = await new Chain(host, list, { netns, containerID: 'c1', capabilityArgs: { portMappings } }).add()
    // The network's file is another one by now; what libcni cached at ADD is the list as it was, and the result.
    const cached = JSON.parse(JSON.stringify({ config: list, capabilityArgs: { portMappings }, result }))
    const again = new Chain(host, cached.config, { netns, containerID: 'c1', capabilityArgs: cached.capabilityArgs })
    again.result = cached.result
    await again.del()
    expect(await ofAttachment(host)).toEqual([])
    await again.del()
  })
})

describe('a service mesh appends its plugin to the list', () => {
  // istio-cni and linkerd-cni parse the file, append an object to `plugins`, and write it again.
  for (const mesh of ['istio-cni', 'linkerd-cni']) {
    test(mesh, async ({ host }) => {
      const { netns } = await host.container()
      const path = await withOthers(host, {
        [mesh]: noting('[ "$CNI_COMMAND" != ADD ] || ip netns exec container0 ip -br address show eth0 >/run/seen'),
      })
      const list = JSON.parse(JSON.stringify(asChain(fourMembers()))) as Conflist
      list.plugins.push({ type: mesh, log_level: 'info', kubernetes: { kubeconfig: '/etc/cni/net.d/kubeconfig' } })
      expect(list.plugins.map(({ type }) => type)).toEqual(['chain', mesh])
      let previous: object | undefined
      for (const plugin of list.plugins) {
        const config = {
          ...plugin,
          cniVersion: list.cniVersion,
          name: list.name,
          ...given,
          ...(previous ? { prevResult: previous } : {}),
        }
        previous = resultOf(await host_run(plugin.type, config))
      }
      function host_run(type: string, config: object) {
        if (type === 'chain')
          return runPlugin(host, { plugin: type, command: 'ADD', config, netns, containerID: 'c1', path })
        return host.exec([`/run/others/${type}`], {
          stdin: JSON.stringify(config),
          env: {
            PATH: process.env['PATH'] ?? '',
            CNI_COMMAND: 'ADD',
            CNI_CONTAINERID: 'c1',
            CNI_NETNS: netns,
            CNI_IFNAME: 'eth0',
            CNI_PATH: path,
          },
        })
      }
      const [[verb, seen]] = (await calls(host)) as [[string, { prevResult: { ips: { address: string }[] } }]]
      expect([verb, seen.prevResult.ips[0]?.address]).toEqual(['ADD', '10.1.2.2/24'])
      expect(await host.output(['cat', '/run/seen'])).toContain('10.1.2.2/24')
      succeedSilently(await runPlugin(host, call(asChain(fourMembers()), 'DEL', netns)))
      expect(await ofAttachment(host)).toEqual([])
    })
  }
})

describe('copies', () => {
  const folder = join(suites.podwire, `../copies-${randomUUID()}`)
  const place = (...parts: string[]) => join(folder, ...parts)

  beforeAll(() => {
    for (const kind of ['same', 'other']) {
      mkdirSync(place(kind), { recursive: true })
      copyFileSync(join(suites.podwire, 'firewall'), place(kind, 'firewall'), constants.COPYFILE_FICLONE)
    }
    // The last bytes of a binary say which build it is: another digit than the one that stands there.
    const fd = openSync(place('other', 'firewall'), 'r+')
    const at = fstatSync(fd).size - sealBytes + sealMark.length
    const digit = Buffer.alloc(1)
    readSync(fd, digit, 0, 1, at)
    writeSync(fd, digit.toString() === '0' ? '1' : '0', at)
    closeSync(fd)
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  for (const [kind, executed] of [
    ['same', false],
    ['other', true],
  ] as const) {
    test(`of the ${kind} build ${executed ? 'are executed, and STATUS says so' : 'run inside'}`, async ({ host }) => {
      const { netns } = await host.container()
      const path = `${place(kind)}:${suites.podwire}`
      const list = asChain(fourMembers())
      const status = await runPlugin(host, call(list, 'STATUS', '', { path }))
      expect([status.status, status.stdout]).toEqual([0, ''])
      expect(status.stderr.includes('plugins[2] firewall is executed')).toBe(executed)
      const started = async (verb: Verb) => {
        const env = { PODWIRE_TRACE: `/run/${verb}` }
        expect((await runPlugin(host, call(list, verb, netns, { path, given, env }))).status).toBe(0)
        return readTrace(host, `/run/${verb}`).filter(({ argv }) => argv?.[0] === place(kind, 'firewall')).length
      }
      expect(await started('ADD')).toBe(executed ? 2 : 0)
      expect(await started('DEL')).toBe(executed ? 1 : 0)
      expect(await ofAttachment(host)).toEqual([])
    })
  }
})
