import { describe, expect } from 'vitest'
import { errorOf, type Result, resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import type { Suite } from '../harness/locations.js'
import { runPlugin, type Verb } from '../harness/plugin.js'
import { takeSnapshot } from '../harness/snapshot.js'
import { families, versions } from '../protocol/versions.js'

const own = { address: '10.1.2.3/24', gateway: '10.1.2.1' }
const six = { address: 'FD00:0::3/64' }
const routes = [{ dst: '0.0.0.0/0' }, { dst: '0.0.0.0/0', gw: '10.1.2.9' }, { dst: '10.1.2.3/8', mtu: 1300, table: 0 }]
const dns = { nameservers: ['10.1.2.53'], search: ['a.example'], domain: '' }

interface Request {
  cniVersion?: string
  ipam?: object
  config?: object
  args?: string
}

function run(
  host: Host,
  command: Verb,
  { cniVersion = '1.0.0', ipam, config, args }: Request,
  suite: Suite = 'podwire',
) {
  const whole = {
    cniVersion,
    name: 'network',
    type: 'bridge',
    ...(ipam ? { ipam: { type: 'static', ...ipam } } : {}),
    ...config,
  }
  return runPlugin(host, {
    suite,
    plugin: 'static',
    command,
    config: whole,
    netns: '/run/netns/none',
    ...(args ? { args } : {}),
  })
}

const requests: Record<string, Request> = {
  'addresses of both families, routes and DNS': { ipam: { addresses: [own, six], routes, dns } },
  'no address': { ipam: { addresses: [] } },
  'addresses written in other ways': {
    ipam: { Addresses: [{ address: '::ffff:10.1.1.1/120', GATEWAY: '::ffff:10.1.1.9' }, { address: '10.1.2.3/08' }] },
  },
  CNI_ARGS: { ipam: { addresses: [own] }, args: 'IP=10.10.0.9/24, 11.11.0.1/24;GATEWAY=10.10.0.254,11.11.0.254' },
  'CNI_ARGS with the keys of others': {
    ipam: {},
    args: 'IgnoreUnknown=true;K8S_POD_NAME=x;IP=10.10.0.9/24;GATEWAY=10.10.0.254',
  },
  args: {
    ipam: { addresses: [own] },
    config: { args: { cni: { ips: ['10.3.0.9/16'] } } },
    args: 'IP=10.10.0.9/24;GATEWAY=10.3.0.1,10.10.0.1',
  },
  runtimeConfig: {
    ipam: { addresses: [own] },
    config: { args: { cni: { ips: ['10.3.0.9/16'] } }, runtimeConfig: { ips: ['10.4.0.9/16', 'fd04::9/64'] } },
    args: 'IP=10.10.0.9/24;GATEWAY=10.4.0.1,fd04::1,10.10.0.1',
  },
  'a configured address that is replaced, and wrong': {
    ipam: { addresses: [{ address: 'x' }] },
    config: { runtimeConfig: { ips: ['10.4.0.9/16'] } },
  },
}

/**
 * Keys that differ only in case, of which the last in the document counts: each pair in both orders, at every depth.
 */
function spelled(
  where: string,
  of: (...pair: [string, unknown][]) => Request,
  key: string,
  values: [unknown, unknown],
) {
  const other = key.replace(/^./, (letter) => letter.toUpperCase())
  const [first, last] = values
  const orders: [string, unknown][][] = [
    [
      [key, first],
      [other, last],
    ],
    [
      [other, first],
      [key, last],
    ],
    [
      [key.toUpperCase(), first],
      [other, last],
    ],
  ]
  return orders.map((pair): [string, Request] => [
    `${where}: ${pair.map(([name]) => name).join(' before ')}`,
    of(...pair),
  ])
}

const object = (pair: [string, unknown][]) => Object.fromEntries(pair)
const two: [unknown, unknown] = [['10.3.0.9/16'], ['10.4.0.9/16']]
const spellings = [
  ...spelled('ipam', (...pair) => ({ config: object(pair) }), 'ipam', [
    { type: 'static', addresses: [own], dns },
    { routes, dns: { domain: 'other' } },
  ]),
  ...spelled('addresses', (...pair) => ({ ipam: object(pair) }), 'addresses', [
    [own],
    [{ address: '10.1.2.4/24', gateway: '10.1.2.9' }],
  ]),
  ...spelled(
    'gateway',
    (...pair) => ({ ipam: { addresses: [{ address: '10.1.2.3/24', ...object(pair) }] } }),
    'gateway',
    ['10.1.2.1', '10.1.2.9'],
  ),
  ...spelled('routes', (...pair) => ({ ipam: { addresses: [own], ...object(pair) } }), 'routes', [routes, []]),
  ...spelled('dst', (...pair) => ({ ipam: { addresses: [own], routes: [object(pair)] } }), 'dst', [
    '10.8.0.0/16',
    '10.9.0.0/16',
  ]),
  ...spelled(
    'gw',
    (...pair) => ({ ipam: { addresses: [own], routes: [{ dst: '10.8.0.0/16', ...object(pair) }] } }),
    'gw',
    ['10.1.2.1', '10.1.2.9'],
  ),
  ...spelled('dns', (...pair) => ({ ipam: { addresses: [own], ...object(pair) } }), 'dns', [dns, { domain: 'other' }]),
  ...spelled('nameservers', (...pair) => ({ ipam: { addresses: [own], dns: object(pair) } }), 'nameservers', [
    ['10.0.0.1'],
    ['10.0.0.2'],
  ]),
  ...spelled('args', (...pair) => ({ ipam: {}, config: object(pair) }), 'args', [
    { cni: { ips: two[0] } },
    { cni: { ips: two[1] } },
  ]),
  ...spelled('cni', (...pair) => ({ ipam: {}, config: { args: object(pair) } }), 'cni', [
    { ips: two[0] },
    { ips: two[1] },
  ]),
  ...spelled('ips', (...pair) => ({ ipam: {}, config: { args: { cni: object(pair) } } }), 'ips', two),
  ...spelled('runtimeConfig', (...pair) => ({ ipam: {}, config: object(pair) }), 'runtimeConfig', [
    { ips: two[0] },
    { ips: two[1] },
  ]),
  ...spelled('runtimeConfig.ips', (...pair) => ({ ipam: {}, config: { runtimeConfig: object(pair) } }), 'ips', two),
]

test('of keys that differ only in case the last in the document counts, as in the official plugin', async ({
  host,
}) => {
  for (const [name, request] of spellings) {
    const [ours, theirs] = await Promise.all([run(host, 'ADD', request), run(host, 'ADD', request, 'official')])
    expect(theirs.status, `${name}: ${theirs.stdout}`).toBe(0)
    expect(ours, name).toMatchObject({ status: 0, stdout: theirs.stdout })
  }
})

test.for([
  ['address before Address', { address: '10.1.2.3/24', Address: { IP: '10.1.2.3', Mask: '////AA==' } }],
  ['Address before address', { Address: { IP: '10.1.2.3', Mask: '////AA==' }, address: '10.1.2.3/24' }],
  ['Address alone', { Address: { IP: '10.1.2.3', Mask: '////AA==' } }],
] as const)('what Go has in memory is an address, too, at each verb: %s', async ([, address], { host }) => {
  const ipam = { addresses: [{ ...address, gateway: '10.1.2.1' }] }
  for (const suite of ['podwire', 'official'] as const) {
    const prevResult = resultOf(await run(host, 'ADD', { ipam }, suite))
    expect(prevResult.ips).toEqual([own])
    succeedSilently(await run(host, 'CHECK', { ipam, config: { prevResult } }, suite))
    succeedSilently(await run(host, 'DEL', { ipam, config: { prevResult } }, suite))
  }
})

/** Requests whose result versions before 0.3.0 cannot express. */
const inexpressible = ['no address', 'addresses written in other ways', 'CNI_ARGS']

test.for(versions)('the official results, byte for byte, in version %s', async (cniVersion, { host }) => {
  const isOldest = (families.A as readonly string[]).includes(cniVersion)
  for (const [name, request] of Object.entries(requests)) {
    if (isOldest && inexpressible.includes(name)) continue
    const [ours, theirs] = await Promise.all([
      run(host, 'ADD', { ...request, cniVersion }),
      run(host, 'ADD', { ...request, cniVersion }, 'official'),
    ])
    expect(theirs.status, `${name}: ${theirs.stdout}`).toBe(0)
    expect(ours, name).toMatchObject({ status: 0, stdout: theirs.stdout })
  }
})

test('refused as the official plugin refuses, with every mistake named', async ({ host }) => {
  const refused: Record<string, { request: Request; says: RegExp }> = {
    'no ipam': { request: {}, says: /IPAM config missing 'ipam' key/ },
    'an address without a prefix length': {
      request: { ipam: { addresses: [{ address: '10.1.2.3' }, {}] } },
      says: /\[0\].*"10\.1\.2\.3".*\n.*\[1\]/,
    },
    'CNI_ARGS without a prefix length': {
      request: { ipam: {}, args: 'IP=10.10.0.9' },
      says: /CNI_ARGS IP: found "10\.10\.0\.9"/,
    },
    'a gateway of CNI_ARGS that is none': {
      request: { ipam: {}, args: 'GATEWAY=zz' },
      says: /CNI_ARGS GATEWAY: found "zz"/,
    },
    'an unknown key in CNI_ARGS': { request: { ipam: {}, args: 'K8S=x' }, says: /unknown args \["K8S=x"\]/ },
    'args without a prefix length': {
      request: { ipam: {}, config: { args: { cni: { ips: ['10.11.0.1'] } } } },
      says: /args\.cni\.ips\[0\]/,
    },
    'runtimeConfig without a prefix length': {
      request: { ipam: {}, config: { runtimeConfig: { ips: ['10.11.0.1'] } } },
      says: /runtimeConfig\.ips\[0\]/,
    },
    'two addresses of a family in 0.2.0': {
      request: { cniVersion: '0.2.0', ipam: { addresses: [own, { address: '10.1.2.4/24' }] } },
      says: /more than 1 address per family/,
    },
    'no address in 0.2.0': { request: { cniVersion: '0.2.0', ipam: {} }, says: /no valid IP addresses/ },
  }
  for (const [name, { request, says }] of Object.entries(refused)) {
    expect((await run(host, 'ADD', request, 'official')).status, name).toBe(1)
    const error = errorOf(await run(host, 'ADD', request))
    expect(`${error.msg}\n${error.details}`, name).toMatch(says)
  }
})

describe('where podwire differs on purpose', () => {
  test('a GATEWAY of CNI_ARGS serves a configured address; the official plugin forgets it', async ({ host }) => {
    const request = { ipam: { addresses: [{ address: '10.1.2.3/24' }] }, args: 'GATEWAY=10.1.2.1' }
    expect(resultOf(await run(host, 'ADD', request)).ips).toEqual([own])
    expect(resultOf(await run(host, 'ADD', request, 'official')).ips).toEqual([{ address: '10.1.2.3/24' }])
  })

  test('an address that is twice there is refused before a link is made for it', async ({ host }) => {
    const request = { ipam: { addresses: [own, own] } }
    expect(errorOf(await run(host, 'ADD', request))).toMatchObject({
      code: 7,
      details: expect.stringContaining('once'),
    })
    expect(resultOf(await run(host, 'ADD', request, 'official')).ips).toHaveLength(2)
  })

  test('CHECK misses an address that is not in the result; the official one finds nothing wrong', async ({ host }) => {
    const request = (prevResult: Result): Request => ({ ipam: { addresses: [own, six] }, config: { prevResult } })
    const result = resultOf(await run(host, 'ADD', { ipam: { addresses: [own, six] } }))
    const poorer = { ...result, ips: [own] }
    succeedSilently(await run(host, 'CHECK', request(result)))
    succeedSilently(await run(host, 'CHECK', request(poorer), 'official'))
    const error = errorOf(await run(host, 'CHECK', request(poorer)))
    expect(error).toMatchObject({ code: 105, details: expect.stringContaining('expected fd00::3/64') })
    const elsewhere = { ...result, ips: [{ ...own, gateway: '10.1.2.2' }, { address: 'fd00::3/64' }] }
    for (const suite of ['podwire', 'official'] as const) {
      expect(errorOf(await run(host, 'CHECK', request(elsewhere), suite)).code).toBe(suite === 'podwire' ? 105 : 999)
    }
  })

  test('STATUS says what ADD would refuse', async ({ host }) => {
    const request = (address: string) => ({ cniVersion: '1.1.0', ipam: { addresses: [{ address }] } })
    succeedSilently(await run(host, 'STATUS', request('10.1.2.3/24')))
    expect(errorOf(await run(host, 'STATUS', request('10.1.2.3')))).toMatchObject({ code: 7 })
  })
})

test('DEL and GC are content with anything, and nothing is ever kept', async ({ host }) => {
  const before = await takeSnapshot(host, { directories: ['/var/lib', '/run'] })
  resultOf(await run(host, 'ADD', { ipam: { addresses: [own] } }))
  for (const ipam of [{ addresses: [own] }, { addresses: 5 }, undefined]) {
    const request = ipam ? { cniVersion: '1.1.0', ipam } : { cniVersion: '1.1.0' }
    succeedSilently(await run(host, 'DEL', request))
    if (ipam?.addresses !== 5) succeedSilently(await run(host, 'GC', request))
  }
  expect(await takeSnapshot(host, { directories: ['/var/lib', '/run'] })).toEqual(before)
})
