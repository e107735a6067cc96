import { describe, expect, test } from 'vitest'
import { link, netns, type Row, show } from '../../shared/testing/golden.js'

// ifb names and MAC addresses are hashes of the golden boot ID, network "net", container "c1", interface "eth0".
const ifb = 'bwp623e1c388032'
const inside = 'container# ip -j -d addr show dev eth0'
const prevResult = {
  cniVersion: '1.1.0',
  interfaces: [{ name: 'cni0' }, { name: 'vethx' }, { name: 'eth0', sandbox: netns }],
  ips: [{ address: '10.1.2.3/24', interface: 2 }],
}
const end = { ifindex: 9, link_index: 2, linkinfo: { info_kind: 'veth' } }
const answers = {
  [inside]: link('eth0', { ifindex: 2, link_index: 9, linkinfo: { info_kind: 'veth' } }),
  'ip -j -d addr show dev vethx': link('vethx', { ...end, mtu: 1400 }),
}

function call(verb: Row['verb'], config: object, more: Partial<Row> = {}) {
  return show({ plugin: 'bandwidth', verb, answers, ...more, config: { prevResult, ...config } })
}

const towards = (rate: string, burst: number, limit: number) =>
  `tc qdisc replace dev vethx root handle 1: tbf rate ${rate}bit burst ${burst} limit ${limit}\n`
const note = '# note bandwidth of net/c1 in /run/podwire/bandwidth/net/dd6ccc806f763e1c\n'
const from = (rate: string, burst: number, limit: number) => [
  `ip link add name ${ifb} address 02:92:84:bb:ec:91 mtu 1400 txqueuelen 0 type ifb\nip link set dev ${ifb} up\n`,
  `tc qdisc replace dev ${ifb} root handle 1: tbf rate ${rate}bit burst ${burst} limit ${limit}\n` +
    'tc qdisc replace dev vethx handle ffff: ingress\n' +
    `tc filter replace dev vethx parent ffff: protocol all prio 1 handle 800::800 u32 match u32 0 0 flowid 1:1 action mirred egress redirect dev ${ifb}\n`,
]

describe('ADD', () => {
  const both = { ingressRate: 8e6, ingressBurst: 80_000, egressRate: 16e6, egressBurst: 160_000 }

  test('towards and from the container', async () => {
    const { plan, json } = await call('ADD', both)
    const [make, shape] = from('16000000', 20_000, 70_000)
    expect(plan).toBe(note + make + towards('8000000', 10_000, 35_000) + shape)
    expect(json.interfaces).toEqual([...prevResult.interfaces, { name: ifb, mac: '02:92:84:bb:ec:91' }])
    expect(json.ips).toEqual(prevResult.ips)
  })

  const sources: [what: string, config: object, rate: string][] = [
    ['the runtime', { runtimeConfig: { bandwidth: { ingressRate: 8000, ingressBurst: 80_000 } } }, '8000'],
    [
      'the runtime, keys in any case',
      { RuntimeConfig: { BandWidth: { IngressRate: 8000, INGRESSBURST: 80_000 } } },
      '8000',
    ],
    [
      'the configuration above the runtime',
      {
        ingressRate: 16_000,
        ingressBurst: 80_000,
        runtimeConfig: { bandwidth: { ingressRate: 8000, ingressBurst: 8 } },
      },
      '16000',
    ],
    [
      'the runtime where the configuration has only zeros',
      { ingressRate: 0, egressRate: 0, runtimeConfig: { bandwidth: { ingressRate: 8000, ingressBurst: 80_000 } } },
      '8000',
    ],
  ]
  test.each(sources)('limits of %s', async (_, config, rate) => {
    const { plan, json } = await call('ADD', config)
    expect(plan).toBe(note + towards(rate, 10_000, (Number(rate) / 8) * 0.025 + 10_000))
    expect(json.interfaces).toEqual(prevResult.interfaces)
  })

  const sizes: [rate: number, burst: number, line: string][] = [
    [8_000_007, 80_007, towards('8000000', 10_000, 35_000)],
    [1e6, 2_147_483_647, towards('1000000', 268_435_455, 268_438_580)],
    [8e6, 34_359_738_352, towards('8000000', 4_294_967_294, 4_294_967_295)],
    [80e9, 80_000_000, towards('80000000000', 10_000_000, 260_000_000)],
    [Number.MAX_SAFE_INTEGER, 80_000_000, towards('9007199254740984', 10_000_000, 4_294_967_295)],
  ]
  test.each(sizes)(
    'rate %d and burst %d bits in bytes, beyond 32 bits too',
    async (ingressRate, ingressBurst, line) => {
      expect((await call('ADD', { ingressRate, ingressBurst })).plan).toBe(note + line)
    },
  )

  test('without limits passes prevResult on and looks at nothing', async () => {
    for (const config of [{}, { egressRate: 0 }, { runtimeConfig: { bandwidth: {} } }]) {
      expect(await call('ADD', config, { answers: {} })).toEqual({ plan: '', status: 0, json: { ...prevResult } })
    }
  })

  test('says what a burst below the MTU does', async () => {
    const { plan } = await call('ADD', { ingressRate: 8000, ingressBurst: 8000 })
    expect(plan).toContain('packets of more than the ingress burst of 1000 bytes are dropped (MTU 1400)')
  })

  test('takes away what an ADD before left', async () => {
    const { plan } = await call('ADD', { ingressRate: 8000, ingressBurst: 80_000 }, { links: [ifb] })
    expect(plan).toBe(`${note}ip link del dev ${ifb}\n${towards('8000', 10_000, 10_025)}`)
  })
})

describe('what is refused before anything is touched', () => {
  const rows: [what: string, config: object, code: number, text: string][] = [
    [
      'a rate without a burst',
      { ingressRate: 8 },
      7,
      'ingressBurst: found 0, expected a burst in bits, because ingressRate',
    ],
    ['a burst without a rate', { egressBurst: 8 }, 7, 'egressRate: found 0, expected a rate'],
    [
      "the runtime's mistakes",
      { runtimeConfig: { bandwidth: { egressRate: 8 } } },
      7,
      'runtimeConfig.bandwidth.egressBurst',
    ],
    ['less than a byte', { ingressRate: 7, ingressBurst: 80_000 }, 7, 'ingressRate: found 7, expected at least 8 bits'],
    ['4 GB', { ingressRate: 8, ingressBurst: 34_359_738_360 }, 7, 'less than 34359738360 bits'],
    ['a negative rate', { ingressRate: -1 }, 7, 'ingressRate: found -1, expected an integer from 0'],
    ['a number no JSON holds', { ingressRate: 2 ** 60 }, 7, 'to 9007199254740991'],
    ['no prevResult', { ingressRate: 8000, ingressBurst: 8000, prevResult: null }, 7, 'Required prevResult missing'],
    ['neither prevResult nor limits', { prevResult: null }, 7, 'Required prevResult missing'],
    ['a version before results of chains', { cniVersion: '0.2.0' }, 1, 'incompatible CNI versions'],
  ]
  test.each(rows)('%s', async (_, config, code, text) => {
    const { plan, status, json } = await call('ADD', config, { answers: {} })
    expect({ plan, status, code: json.code }).toEqual({ plan: '', status: 1, code })
    expect(`${json.msg}\n${json.details}`).toContain(text)
  })

  test('all mistakes at once', async () => {
    const { json } = await call('ADD', { ingressRate: 7, egressBurst: 9 })
    expect(json.details.split('\n')).toHaveLength(3)
  })

  test('names in prevResult that no link can have are not looked for', async () => {
    const interfaces = ['a\0', '', 'a b', 'dummy9381c30abed', '../lo'].map((name) => ({ name }))
    const config = { ingressRate: 8000, ingressBurst: 80_000, prevResult: { interfaces } }
    const { plan, json } = await call('ADD', config, {
      answers: { [inside]: answers[inside], 'ip -j -d addr show': link('cni0') },
    })
    expect(plan).toBe('')
    expect(json).toMatchObject({ code: 7, details: expect.stringContaining('prevResult.interfaces') })
  })

  const limit = { ingressRate: 8000, ingressBurst: 80_000 }
  const wrongLinks: [what: string, answers: object, text: string | RegExp][] = [
    [
      'no interface',
      { [inside]: { status: 1, stderr: 'Device "eth0" does not exist.' } },
      'eth0 has no veth peer: it is not there',
    ],
    [
      'no veth',
      { [inside]: link('eth0', { linkinfo: { info_kind: 'macvlan' } }) },
      'eth0 has no veth peer: it is macvlan',
    ],
    [
      'a pair whose other end is elsewhere',
      {
        ...answers,
        'ip -j -d addr show dev vethx': link('vethx', { ...end, link_index: 3 }),
        'ip -j -d addr show dev cni0': link('cni0'),
        'ip -j -d addr show': link('cni0'),
      },
      /no veth peer of container interface found in host ns: veth peer with index \d+ is not in host ns$/,
    ],
    [
      'a pair that is in the container with both ends',
      {
        ...answers,
        [inside]: link('eth0', { linkinfo: { info_kind: 'veth' } }),
        'ip -j -d addr show dev cni0': link('cni0'),
      },
      /no veth peer of container interface found in host ns$/,
    ],
  ]
  test.each(wrongLinks)('%s', async (_, wrong, text) => {
    const { plan, json } = await call('ADD', limit, { answers: wrong as Record<string, string> })
    expect({ plan, msg: json.msg }).toEqual({ plan: '', msg: expect.stringMatching(text) })
  })

  test('the links of the host in the result are named where none is the other end', async () => {
    const wrong = { ...answers, ...(wrongLinks[2]?.[1] as Record<string, string>) }
    const { json } = await call('ADD', limit, { answers: wrong })
    expect(json.details).toContain('prevResult.interfaces: found ["cni0","vethx"], expected the other end of eth0')
  })

  test('a result before without interfaces, and no other end', async () => {
    const { plan, json } = await call(
      'ADD',
      { ...limit, prevResult: { cniVersion: '1.1.0' } },
      { answers: { ...answers, [inside]: link('eth0', { linkinfo: { info_kind: 'veth' } }) } },
    )
    expect({ plan, msg: json.msg }).toEqual({ plan: '', msg: expect.stringMatching(/: no interfaces provided$/) })
  })
})

describe('CHECK', () => {
  const config = { ingressRate: 8e6, ingressBurst: 80_000, egressRate: 16e6, egressBurst: 160_000 }
  const tbf = (rate: number, burst: number, limit: number) =>
    JSON.stringify([
      { kind: 'tbf', root: true, options: { rate, burst, limit } },
      { kind: 'ingress', options: {} },
    ])
  const redirect = (to_dev: string) =>
    JSON.stringify([{}, { options: { actions: [{ mirred_action: 'redirect', to_dev }] } }])
  const good = {
    ...answers,
    'tc -j -r qdisc show dev vethx': tbf(1_000_000, 10_000, 35_000),
    [`tc -j -r qdisc show dev ${ifb}`]: tbf(2_000_000, 20_000, 70_000),
    'tc -j filter show dev vethx parent ffff:': redirect(ifb),
  }

  test('is content with what ADD made, and with nothing where nothing is limited', async () => {
    expect(await call('CHECK', config, { answers: good })).toMatchObject({ status: 0, json: undefined })
    expect(await call('CHECK', {}, { answers: {} })).toMatchObject({ status: 0, json: undefined })
  })

  const rows: [what: string, answers: object, text: string][] = [
    [
      'no tbf',
      { 'tc -j -r qdisc show dev vethx': '[{"kind":"noqueue","root":true,"options":{}}]' },
      'qdisc on vethx: found "noqueue", expected tbf',
    ],
    [
      'another rate',
      { 'tc -j -r qdisc show dev vethx': tbf(1, 10_000, 35_000) },
      'tbf on vethx rate: found 1, expected 1000000 bytes a second',
    ],
    [
      'another limit',
      { 'tc -j -r qdisc show dev vethx': tbf(1_000_000, 10_000, 1) },
      'tbf on vethx limit: found 1, expected 35000 bytes',
    ],
    [
      'another burst',
      { [`tc -j -r qdisc show dev ${ifb}`]: tbf(2_000_000, 10_000, 70_000) },
      `tbf on ${ifb} burst: found 10000, expected 20000 bytes`,
    ],
    [
      'no ifb',
      { [`tc -j -r qdisc show dev ${ifb}`]: { status: 1, stderr: `Cannot find device "${ifb}"` } },
      `qdisc on ${ifb}: found "none"`,
    ],
    [
      'no redirection',
      { 'tc -j filter show dev vethx parent ffff:': '[]' },
      `redirection from vethx: found [], expected ${ifb}`,
    ],
  ]
  test.each(rows)('%s', async (_, wrong, text) => {
    const { json } = await call('CHECK', config, { answers: { ...good, ...wrong } })
    expect(json).toMatchObject({ code: 105, details: expect.stringContaining(text) })
  })
})

describe('DEL', () => {
  const forget = '# forget /run/podwire/bandwidth/net/dd6ccc806f763e1c\n'

  test('removes the ifb by its name, whatever the configuration says', async () => {
    for (const config of [{}, { ingressRate: 'x' }, { egressRate: 5, prevResult: { interfaces: [null] } }]) {
      const { plan, status } = await call('DEL', config, { links: [ifb], env: { CNI_NETNS: '' } })
      expect({ status, end: plan.endsWith(`ip link del dev ${ifb}\n${forget}`) }).toEqual({ status: 0, end: true })
    }
  })

  test('is content where there is none', async () => {
    expect(await call('DEL', { prevResult: null })).toEqual({ plan: forget, status: 0, json: undefined })
  })
})

test('STATUS asks for what ADD needs', async () => {
  const missing = { status: 2, stderr: 'Error: Specified qdisc kind is unknown.' }
  const { json } = await call('STATUS', {}, { answers: { 'unshare --net tc*': missing, 'unshare*': '' } })
  expect(json).toMatchObject({
    code: 50,
    msg: expect.stringContaining('tbf: cannot use it: Error: Specified qdisc kind is unknown.'),
  })
})
