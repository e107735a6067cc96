import { expect, test } from 'vitest'
import type { Host } from '../plan/host.js'
import { thrownBy } from '../testing/thrown.js'
import type { Verb } from '../values/environment.js'
import { CniError, codes } from '../values/errors.js'
import { emptyResult, type Result } from '../values/result.js'
import { invoke, ipamType, memberOf, readInput, readRequest } from './invoke.js'
import { type AnyPlugin, definePlugin } from './plugin.js'

/** A plugin of a name whose schema is there, which notes its calls. */
function noting(more: Partial<AnyPlugin> = {}): { plugin: AnyPlugin; heard: string[] } {
  const heard: string[] = []
  const result: Result = { ...emptyResult, ips: [{ address: '10.0.0.2/24' }] }
  const plugin = definePlugin({
    name: 'tap',
    add: () => {
      heard.push('ADD')
      return result
    },
    del: () => void heard.push('DEL'),
    check: () => void heard.push('CHECK'),
    ...more,
  })
  return { plugin, heard }
}

const good = { cniVersion: '1.1.0', name: 'net', type: 'tap' }

/** Invokes a plugin; what the host heard meanwhile stands behind what the plugin did. */
function invoked(
  { plugin, heard }: ReturnType<typeof noting>,
  command: Verb,
  { config = {}, ifName = 'eth0', netns = '', netnsOverride = false, args = '', left = [] as CniError[] } = {},
) {
  const host = {
    dryRun: false,
    warn: (text: string) => heard.push(text),
    journal: {
      reserve: () => heard.push('reserve'),
      rollback: () => {
        heard.push('rollback')
        return left
      },
    },
    toolLock: { waitForEarlier: (valid: unknown) => heard.push(`wait ${JSON.stringify(valid) ?? 'for all'}`) },
  } as unknown as Host
  const environment = { command, containerID: 'c1', netns, ifName, args, path: '/cni', netnsOverride }
  return invoke(plugin, readRequest(environment, JSON.stringify({ ...good, ...config })), host, {
    deliver: ({ ips }, version) => heard.push(`deliver ${ips[0]?.address} in ${version}`),
  })
}

test('an ADD reserves what taking back needs, waits for earlier tools, and delivers', () => {
  const noted = noting()
  expect(invoked(noted, 'ADD')?.ips).toEqual([{ address: '10.0.0.2/24' }])
  expect(noted.heard).toEqual(['reserve', 'wait for all', 'ADD', 'deliver 10.0.0.2/24 in 1.1.0'])
})

test.each<[Verb, string[]]>([
  ['DEL', ['DEL']],
  ['CHECK', ['CHECK']],
  ['STATUS', []],
  ['GC', []],
])('%s reserves and delivers nothing; a verb the plugin lacks is a success', (verb, did) => {
  const noted = noting()
  expect(invoked(noted, verb)).toBeUndefined()
  expect(noted.heard).toEqual(['wait for all', ...did])
})

test('a GC waits for all but the valid attachments, by either of their names', () => {
  const valid = [{ containerID: 'c2', ifname: 'eth0' }]
  for (const name of ['cni.dev/valid-attachments', 'cni.dev/attachments']) {
    const noted = noting()
    invoked(noted, 'GC', { config: { [name]: valid } })
    expect(noted.heard).toEqual([`wait ${JSON.stringify(valid)}`])
  }
})

test('whatever a verb throws is taken back, named by plugin and network, with what could not be', () => {
  const fails = () => {
    throw new CniError(codes.operationFailed, 'no', { details: 'because' })
  }
  const noted = noting({ add: fails })
  const left = [new CniError(codes.ioFailure, 'a link is left', { details: 'busy' })]
  const error = thrownBy(() => invoked(noted, 'ADD', { left }))
  expect(error).toMatchObject({ code: codes.operationFailed, message: expect.stringContaining('tap') })
  expect(error.details).toBe('because\nleft behind: a link is left\nbusy')
  expect(noted.heard).toEqual(['reserve', 'wait for all', 'rollback'])
})

test('mistakes that a plugin finds itself are refused at ADD and CHECK, and no hindrance to the others', () => {
  const refuse = () => [{ path: 'mode', value: 'x', expected: 'another' }]
  for (const verb of ['ADD', 'CHECK'] as const)
    expect(thrownBy(() => invoked(noting({ refuse }), verb)).code).toBe(codes.invalidConfiguration)
  for (const verb of ['DEL', 'STATUS', 'GC'] as const) invoked(noting({ refuse }), verb)
})

test('a name that is no link’s is refused at ADD; DEL has to live with it', () => {
  const error = thrownBy(() => invoked(noting(), 'ADD', { ifName: 'a%d' }))
  expect(error).toMatchObject({ code: codes.invalidEnvironment, message: expect.stringContaining('"a%d" is no name') })
  const noted = noting()
  invoked(noted, 'DEL', { ifName: 'a%d' })
  expect(noted.heard).toEqual(['wait for all', 'DEL'])
})

test('a name that no tool can be told of keeps DEL out of the container, and CHECK refuses what is no link’s name', () => {
  const noted = noting({ del: ({ environment }) => void noted.heard.push(`DEL in "${environment.netns}"`) })
  invoked(noted, 'DEL', { ifName: 'a"b', netns: '/run/netns/none-such' })
  expect(noted.heard).toEqual([
    'DEL goes on without the container: CNI_IFNAME "a\\"b" is no name for a link',
    'wait for all',
    'DEL in ""',
  ])
  expect(thrownBy(() => invoked(noting(), 'CHECK', { ifName: 'a%d' })).code).toBe(codes.invalidEnvironment)
  for (const verb of ['STATUS', 'GC'] as const) invoked(noting(), verb, { ifName: 'a%d' })
})

test('a wrong configuration is refused with every mistake, but for DEL, which goes on without', () => {
  const config = { mtu: 'wide', owner: {}, ipam: 5, more: 1 }
  for (const verb of ['ADD', 'CHECK', 'STATUS', 'GC'] as const) {
    const noted = noting()
    const error = thrownBy(() => invoked(noted, verb, { config }))
    expect(error).toMatchObject({
      code: codes.invalidConfiguration,
      details: expect.stringContaining('mtu: found "wide"'),
    })
    expect(error.details.split('\n').length).toBeGreaterThan(1)
  }
  const noted = noting()
  invoked(noted, 'DEL', { config: { mtu: 'wide' } })
  expect(noted.heard).toEqual([
    expect.stringMatching(/^tap: DEL goes on without mtu: expected /),
    'wait for all',
    'DEL',
  ])
})

test('a key that nobody knows is told of by ADD alone', () => {
  for (const verb of ['ADD', 'DEL'] as const) {
    const noted = noting()
    invoked(noted, verb, { config: { mutt: 1500 } })
    expect(noted.heard.filter((line) => line.includes('mutt'))).toHaveLength(verb === 'ADD' ? 1 : 0)
  }
})

test('mistakes are in the words of the official plugin, where it has some', () => {
  const official = () => ({ load: 'failed to load netconf: ', library: 'NetConf.', structs: { '': 'NetConf' } })
  const of = (more: Partial<AnyPlugin>) =>
    thrownBy(() => invoked(noting(more), 'ADD', { config: { mtu: 'wide' } })).message
  expect(of({ official })).toContain('failed to load netconf: json: cannot unmarshal string')
  expect(of({})).not.toContain('failed to load netconf')
})

test('CNI_ARGS that cannot be read are an error, but for verbs that need none of them', () => {
  const args = 'A'
  const plugin = { argsKeys: ['MAC'] }
  expect(thrownBy(() => invoked(noting(plugin), 'ADD', { args })).message).toContain('invalid pair "A"')
  const noted = noting(plugin)
  invoked(noted, 'DEL', { args })
  expect(noted.heard[0]).toContain('tap: DEL goes on without CNI_ARGS: ')
  for (const verb of ['STATUS', 'GC'] as const) invoked(noting(plugin), verb, { args })
  invoked(noting(), 'ADD', { args })
})

test('a verb that nobody knows is refused, and one that a plugin lacks is a success', () => {
  for (const verb of ['FOO', 'constructor', 'VERSION']) {
    const error = thrownBy(() => invoked(noting(), verb as Verb))
    expect(error).toMatchObject({
      code: codes.invalidEnvironment,
      message: expect.stringContaining(`unknown CNI_COMMAND: ${verb}`),
    })
  }
  const { check: _, ...without } = noting().plugin
  expect(invoked({ plugin: without, heard: [] }, 'CHECK')).toBeUndefined()
})

test('what is nested too deep is refused as a text of JSON', () => {
  const environment = { command: 'ADD', containerID: 'c', netns: '', ifName: 'eth0', args: '', path: '' } as const
  const deep = `{"name": "net", "a": ${'['.repeat(20_000)}${']'.repeat(20_000)}}`
  const error = thrownBy(() => readRequest({ ...environment, netnsOverride: false }, deep))
  expect(error).toMatchObject({
    code: codes.decodeFailure,
    message: expect.stringMatching(/^error unmarshall network config: .*exceeded max depth/),
  })
})

test('the plugin’s own namespace is refused at ADD and DEL, unless that is allowed', () => {
  const netns = '/proc/self/ns/net'
  for (const verb of ['ADD', 'DEL'] as const) {
    expect(thrownBy(() => invoked(noting(), verb, { netns })).message).toContain('should not be the same')
    invoked(noting(), verb, { netns, netnsOverride: true })
  }
  invoked(noting(), 'CHECK', { netns })
  invoked(noting(), 'DEL', { netns: '/run/netns/none-such' })
})

test('prevResult is read as the plugin’s table says', () => {
  const chained = (verb: 'ADD' | 'DEL' | 'CHECK', how: 'required' | 'optional') =>
    noting({ prevResult: { [verb]: how } })
  expect(thrownBy(() => invoked(chained('ADD', 'required'), 'ADD')).message).toContain('Required prevResult missing')
  invoked(chained('ADD', 'optional'), 'ADD')
  invoked(chained('DEL', 'required'), 'ADD')
  const broken = { prevResult: { cniVersion: '1.1.0', ips: [{ address: 'x' }] } }
  expect(thrownBy(() => invoked(chained('CHECK', 'optional'), 'CHECK', { config: broken })).code).toBeGreaterThan(0)
  const noted = chained('DEL', 'optional')
  invoked(noted, 'DEL', { config: broken })
  expect(noted.heard[0]).toContain('tap: DEL goes on without prevResult')
})

test.each([
  ['[]', codes.decodeFailure, 'json: cannot unmarshal array into Go value of type struct'],
  ['7', codes.decodeFailure, 'json: cannot unmarshal number into Go value of type struct'],
  ['null', codes.invalidConfiguration, 'missing network name'],
  ['', codes.decodeFailure, 'unexpected end of JSON input'],
  ['{"name"', codes.decodeFailure, 'error unmarshall network config'],
  ['{"name": 7}', codes.decodeFailure, 'cannot unmarshal number into Go struct field .name of type string'],
  ['{"name": ""}', codes.invalidConfiguration, 'missing network name'],
  ['{"name": "a/b"}', codes.invalidConfiguration, 'invalid characters found in network name'],
])('a configuration of %s is refused', (text, code, message) => {
  const environment = { command: 'ADD', containerID: 'c', netns: '', ifName: 'eth0', args: '', path: '' } as const
  const error = thrownBy(() => readRequest({ ...environment, netnsOverride: false }, text))
  expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
})

test('a version that is no text, or none of ours, is refused', () => {
  for (const cniVersion of [1, {}, '9.0.0', 'x'])
    expect(() => invoked(noting(), 'ADD', { config: { cniVersion } })).toThrow(CniError)
})

test('an input that cannot be read is an error with its reason', () => {
  const failing = () => {
    throw new Error('EIO: broken')
  }
  expect(thrownBy(() => readInput(failing))).toMatchObject({
    code: codes.ioFailure,
    message: expect.stringContaining('EIO'),
  })
  expect(readInput(() => 'text')).toBe('text')
})

test('members are found as Go finds them: in any case, the last one, null being none', () => {
  expect(memberOf({ NAME: 1, name: 2 }, 'name')).toBe(2)
  expect(memberOf({ Name: 1, name: null }, 'name')).toBe(1)
  expect(memberOf({ other: 1 }, 'name')).toBeUndefined()
  expect(ipamType({ IPAM: { Type: 'static' } })).toBe('static')
  for (const ipam of [null, 'static', {}, { type: 7 }]) expect(ipamType({ ipam })).toBeUndefined()
})
