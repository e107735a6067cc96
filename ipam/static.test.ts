import { describe, expect, test } from 'vitest'
import { type Row, show } from '../shared/testing/golden.js'

const own = { address: '10.1.2.3/24', gateway: '10.1.2.1' }

function add(ipam: object | undefined, more: Partial<Row> = {}) {
  const config = { ...(ipam ? { ipam: { type: 'static', ...ipam } } : {}), ...more.config }
  return show({ plugin: 'static', verb: 'ADD', ...more, config })
}

describe('ADD', () => {
  const rows: [what: string, ipam: object, args: string, config: object, ips: object[]][] = [
    ['nothing', {}, '', {}, []],
    ['the configuration', { addresses: [own] }, '', {}, [own]],
    [
      'canonical text, host bits kept',
      { addresses: [{ address: 'FD00:0::9/64', gateway: '' }, { address: '::ffff:10.1.1.1/120' }] },
      '',
      {},
      [{ address: 'fd00::9/64' }, { address: '10.1.1.1/24' }],
    ],
    [
      'as Go has it in memory',
      {
        addresses: [
          { Address: { IP: '10.1.2.3', Mask: '////AA==' } },
          { address: { IP: 'fd00::9', Mask: '//////////8AAAAAAAAAAA==' } },
        ],
      },
      '',
      {},
      [{ address: '10.1.2.3/24' }, { address: 'fd00::9/64' }],
    ],
    [
      'the last of two spellings at every depth',
      {
        addresses: [own],
        Addresses: [{ address: 'exact', Address: '10.1.2.4/24', Gateway: 'x', gateway: '10.1.2.9' }],
      },
      '',
      {},
      [{ address: '10.1.2.4/24', gateway: '10.1.2.9' }],
    ],
    [
      'of an address written twice the last, in either form',
      {
        addresses: [
          { address: '10.1.2.3/24', Address: { IP: '10.1.2.4', Mask: '////AA==' } },
          { Address: { IP: '10.1.2.5', Mask: '////AA==' }, address: '10.1.2.6/24' },
        ],
      },
      '',
      {},
      [{ address: '10.1.2.4/24' }, { address: '10.1.2.6/24' }],
    ],
    ['keys in any case', { Addresses: [{ ADDRESS: '10.1.2.3/24' }] }, '', {}, [{ address: '10.1.2.3/24' }]],
    [
      'CNI_ARGS behind it',
      { addresses: [own] },
      'IP=10.10.0.9/24, 11.11.0.1/24;GATEWAY=10.10.0.254,11.11.0.254',
      {},
      [own, { address: '10.10.0.9/24', gateway: '10.10.0.254' }, { address: '11.11.0.1/24', gateway: '11.11.0.254' }],
    ],
    [
      'GATEWAY for an address of the configuration without one',
      { addresses: [own, { address: '10.1.2.4/24' }, { address: 'fd00::9/64' }] },
      'GATEWAY=fd00::1,10.1.2.254',
      {},
      [own, { address: '10.1.2.4/24', gateway: '10.1.2.254' }, { address: 'fd00::9/64', gateway: 'fd00::1' }],
    ],
    [
      'args.cni.ips alone, without a GATEWAY of CNI_ARGS',
      { addresses: [own, { address: 'not used, so not read' }] },
      'IP=10.10.0.9/24;GATEWAY=10.10.0.1,10.3.0.1',
      { args: { cni: { ips: ['10.3.0.9/16'] } } },
      [{ address: '10.3.0.9/16' }],
    ],
    [
      'runtimeConfig.ips above all',
      { addresses: [own] },
      'IP=10.10.0.9/24;GATEWAY=10.4.0.1',
      { args: { cni: { ips: ['10.3.0.9/16'] } }, RuntimeConfig: { ips: ['10.4.0.9/16', 'fd04::9/64'] } },
      [{ address: '10.4.0.9/16' }, { address: 'fd04::9/64' }],
    ],
    ['empty lists replace nothing', { addresses: [own] }, '', { runtimeConfig: { ips: [] }, args: { cni: {} } }, [own]],
  ]

  test.each(rows)('%s', async (_, ipam, args, config, ips) => {
    const { json, status, plan } = await add(ipam, { config, env: { CNI_ARGS: args } })
    expect({ status, ips: json.ips ?? [] }).toEqual({ status: 0, ips })
    expect(plan).toBe('')
  })

  test('routes in order, twice the same too, and DNS without what is empty', async () => {
    const routes = [
      { dst: '10.1.2.3/8', gw: '10.1.2.9', mtu: 1300, advmss: 0, table: 0 },
      { dst: '10.1.2.3/8', gw: '10.1.2.8', scope: 253, priority: 7 },
    ]
    const dns = { nameservers: ['10.1.2.53'], search: [], domain: '' }
    const { json } = await add({ addresses: [own], routes, dns })
    expect(json).toEqual({
      cniVersion: '1.1.0',
      ips: [own],
      routes: [{ dst: '10.1.2.3/8', gw: '10.1.2.9', mtu: 1300, table: 0 }, routes[1]],
      dns: { nameservers: ['10.1.2.53'] },
    })
  })
})

describe('what is refused', () => {
  const rows: [what: string, ipam: object | undefined, more: Partial<Row>, details: string[]][] = [
    ['no ipam', undefined, {}, ["ipam: found nothing, expected an object: IPAM config missing 'ipam' key"]],
    ['no address', { addresses: [{}] }, {}, ['ipam.addresses[0].address: found ""']],
    [
      'all mistakes of the configuration',
      { addresses: [{ address: '10.1.2.3' }, own, { address: 'nope/8', gateway: '10.1.2.1' }] },
      { env: { CNI_ARGS: 'IP=10.10.0.9,10.10.0.8/24;GATEWAY=zz' } },
      [
        'CNI_ARGS GATEWAY: found "zz"',
        'ipam.addresses[0].address: found "10.1.2.3"',
        'ipam.addresses[2].address: found "nope/8"',
        'CNI_ARGS IP: found "10.10.0.9"',
      ],
    ],
    [
      'mistakes of both replacements',
      { addresses: [] },
      { config: { args: { cni: { ips: ['10.3.0.9'] } }, runtimeConfig: { ips: ['10.4.0.9/16', 'x'] } } },
      ['args.cni.ips[0]: found "10.3.0.9"', 'runtimeConfig.ips[1]: found "x"'],
    ],
    ...[
      5,
      {},
      { IP: '10.1.2.3' },
      { IP: '10.1.2.3', Mask: '/wD/AA==' },
      { IP: 'x', Mask: '////AA==' },
      ['10.1.2.3/24'],
    ].map((address): [string, object, object, string[]] => [
      `an address that is ${JSON.stringify(address)}`,
      { addresses: [{ address }] },
      {},
      [`ipam.addresses[0].address: found ${JSON.stringify(address)}`],
    ]),
    ['a gateway that is none', { addresses: [{ ...own, gateway: 'x' }] }, {}, ['ipam.addresses[0].gateway: found "x"']],
    [
      'an address twice',
      { addresses: [own] },
      { env: { CNI_ARGS: 'IP=10.1.2.3/24' } },
      ['addresses: found "10.1.2.3/24", expected each address once'],
    ],
    [
      'two of a family before 0.3.0',
      { addresses: [own, { address: '10.1.2.4/24' }] },
      { config: { cniVersion: '0.2.0' } },
      ['cniVersion: found "0.2.0", expected 0.3.0 or later for more than 1 address per family'],
    ],
  ]

  test.each(rows)('%s', async (_, ipam, more, details) => {
    const { json, status } = await add(ipam, more)
    expect({ status, code: json.code }).toEqual({ status: 1, code: 7 })
    for (const [index, line] of details.entries()) expect(json.details.split('\n')[index]).toContain(line)
  })

  test('no address before 0.3.0', async () => {
    const { json } = await add({ addresses: [] }, { config: { cniVersion: '0.2.0' } })
    expect(json).toMatchObject({ code: 7, msg: expect.stringContaining('cannot convert: no valid IP addresses') })
  })

  test.each([
    ['IP', 'ARGS: invalid pair "IP"'],
    ['ip=10.1.2.3/24', 'ARGS: unknown args ["ip=10.1.2.3/24"]'],
  ])('CNI_ARGS %s', async (args, message) => {
    const { json } = await add({ addresses: [own] }, { env: { CNI_ARGS: args } })
    expect(json).toMatchObject({ code: 4, msg: expect.stringContaining(message) })
  })
})

describe('CHECK', () => {
  const check = (ips: object[], ipam: object = { addresses: [own, { address: 'fd00::9/64' }] }) => {
    return show({ plugin: 'static', verb: 'CHECK', config: { ipam, prevResult: { cniVersion: '1.1.0', ips } } })
  }

  test('is content with the addresses, whatever gateway stands where none was asked for', async () => {
    const ips = [{ address: 'fd00::9/64', gateway: 'fd00::1' }, { address: '10.9.9.9/8' }, own]
    expect(await check(ips)).toMatchObject({ status: 0, json: undefined })
  })

  test('names every address that is missing, and a gateway that is another', async () => {
    const { json } = await check([{ ...own, gateway: '10.1.2.2' }])
    expect(json.code).toBe(105)
    expect(json.details).toMatch(/expected 10\.1\.2\.3\/24 with the gateway 10\.1\.2\.1\n.*expected fd00::9\/64$/)
  })

  test('wants a result to look at', async () => {
    const { json } = await show({ plugin: 'static', verb: 'CHECK', config: { ipam: { addresses: [own] } } })
    expect(json).toMatchObject({ code: 7, msg: expect.stringContaining('Required prevResult missing') })
  })
})

test('DEL is content with anything', async () => {
  const silent = { plan: expect.stringContaining('DEL goes on without ipam'), status: 0, json: undefined }
  expect(await show({ plugin: 'static', verb: 'DEL', config: { ipam: { addresses: 5 } } })).toEqual(silent)
  expect(await show({ plugin: 'static', verb: 'DEL' })).toEqual({ plan: '', status: 0, json: undefined })
})

test('STATUS tells what ADD would refuse', async () => {
  const status = (address: string) =>
    show({ plugin: 'static', verb: 'STATUS', config: { ipam: { addresses: [{ address }] } } })
  expect(await status('10.1.2.3/24')).toMatchObject({ status: 0, json: undefined })
  expect((await status('10.1.2.3')).json).toMatchObject({ code: 7 })
})
