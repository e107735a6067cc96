import { describe, expect, test } from 'vitest'
import { link, needsRun, type Row, show } from '../../shared/testing/golden.js'

interface Routes {
  four?: object[]
  six?: object[]
  rules?: object[]
}

const ask = (family: 4 | 6) => `container# ip -N -j -d -${family} -batch -`
const route = (dst: string, more: object = {}) => ({
  type: '1',
  dst,
  dev: 'eth0',
  table: '254',
  protocol: '3',
  flags: [],
  ...more,
})
const connected4 = route('192.168.1.0/24', { protocol: '2', scope: '253', prefsrc: '192.168.1.209' })
const connected6 = route('fd00:1::/64', { protocol: '2', metric: 256, pref: 'medium' })
const linkLocal = route('fe80::/64', { protocol: '2', metric: 256, pref: 'medium' })

/** Answers about a namespace whose main table and rules are as given. */
function looks({ four = [connected4], six = [], rules = [] }: Routes = {}): Record<string, string> {
  const kernel = [{ src: 'all', table: '255' }, ...rules, { src: 'all', table: '254' }]
  return {
    'flock *': '',
    'container# ip -j -d addr show dev eth0': link('eth0'),
    [ask(4)]: `${JSON.stringify(kernel)}\n${JSON.stringify(four)}\n`,
    [ask(6)]: `${JSON.stringify(kernel)}\n${JSON.stringify(six)}\n`,
  }
}

const one = { ips: [{ address: '192.168.1.209/24', gateway: '192.168.1.1' }] }
const call = (
  verb: Row['verb'],
  config: object,
  answers: NonNullable<Row['answers']> = looks(),
  more: Partial<Row> = {},
) => show({ plugin: 'sbr', verb, config, answers, ...more })

/** The plan behind the line about the record. */
async function planOf(prevResult: object, routes: Routes = {}, config: object = {}): Promise<string[]> {
  const { plan, status, json } = await call('ADD', { prevResult, ...config }, looks(routes))
  expect(status, JSON.stringify(json)).toBe(0)
  expect(json).toMatchObject(prevResult)
  return plan.trimEnd().replaceAll('container# ip ', '').split('\n').slice(1)
}

describe('ADD', () => {
  test('gives an address a rule, a table with the routes of its subnet, and its gateway', async () => {
    const four = [
      route('default', { gateway: '192.168.1.1' }),
      route('default', { gateway: '10.0.0.1', dev: 'eth1' }),
      connected4,
      route('172.16.0.0/16', { gateway: '192.168.1.7', metric: 5, metrics: [{ mtu: 1300 }] }),
      route('172.17.0.0/16', { scope: '253' }),
      route('10.7.0.0/16', { gateway: '10.99.0.1', flags: ['onlink'] }),
    ]
    expect(await planOf(one, { four })).toEqual([
      'rule add from 192.168.1.209 table 100',
      'route append 192.168.1.0/24 table 100 dev eth0 proto 2 scope 253 src 192.168.1.209',
      'route append 172.17.0.0/16 table 100 dev eth0 proto 3 scope 253',
      'route append 172.16.0.0/16 table 100 via 192.168.1.7 dev eth0 proto 3 metric 5 mtu 1300',
      'route append 0.0.0.0/0 table 100 via 192.168.1.1 dev eth0',
      'route del 0.0.0.0/0 table 254 via 192.168.1.1 dev eth0 proto 3',
      'route del 172.16.0.0/16 table 254 via 192.168.1.7 dev eth0 proto 3 metric 5 mtu 1300',
      'route del 192.168.1.0/24 table 254 dev eth0 proto 2 scope 253 src 192.168.1.209',
      'route del 172.17.0.0/16 table 254 dev eth0 proto 3 scope 253',
    ])
  })

  test('keeps the families apart, and the way to link-local addresses where it is', async () => {
    const ips = [...one.ips, { address: 'fd00:1::10/64', gateway: 'fd00:1::1' }]
    expect(await planOf({ ips }, { six: [connected6, linkLocal] })).toEqual([
      'rule add from 192.168.1.209 table 100',
      '-6 rule add from fd00:1::10 table 101',
      'route append 192.168.1.0/24 table 100 dev eth0 proto 2 scope 253 src 192.168.1.209',
      'route append 0.0.0.0/0 table 100 via 192.168.1.1 dev eth0',
      'route append fd00:1::/64 table 101 dev eth0 proto 2 metric 256',
      'route append fe80::/64 table 101 dev eth0 proto 2 metric 256',
      'route append ::/0 table 101 via fd00:1::1 dev eth0',
      'route del 192.168.1.0/24 table 254 dev eth0 proto 2 scope 253 src 192.168.1.209',
      'route del fd00:1::/64 table 254 dev eth0 proto 2 metric 256',
    ])
  })

  test('takes tables that no rule points to and no route is in', async () => {
    const rules = [{ src: '10.0.0.1', table: '100' }]
    const four = [connected4, route('10.0.0.0/8', { table: '101', dev: 'eth1' })]
    const ips = [...one.ips, { address: '192.168.1.210/24', gateway: '192.168.1.1' }]
    const plan = await planOf({ ips }, { four, rules })
    expect(plan.slice(0, 2)).toEqual(['rule add from 192.168.1.209 table 102', 'rule add from 192.168.1.210 table 103'])
    expect(plan.filter((line) => line.startsWith('route append 192.168.1.0/24'))).toHaveLength(2)
    expect(plan.filter((line) => line.startsWith('route del'))).toHaveLength(1)
  })

  test('with a table of the configuration makes rules alone', async () => {
    const ips = [...one.ips, { address: 'fd00:1::10/64' }]
    expect(await planOf({ ips }, {}, { table: 42 })).toEqual([
      'rule add from 192.168.1.209 table 42',
      '-6 rule add from fd00:1::10 table 42',
    ])
  })

  test('says that gateways are not for a table that somebody else fills', async () => {
    const config = { prevResult: one, table: 42, gateways: ['192.168.1.254'] }
    const warning = 'sbr: "gateways" is for tables that sbr fills itself\n'
    expect((await call('ADD', config)).plan).toContain(warning)
    expect((await call('ADD', { ...config, table: undefined })).plan).not.toContain(warning)
    expect((await call('ADD', { ...config, gateways: undefined })).plan).not.toContain(warning)
  })

  test('takes the gateways of the configuration instead, a family each', async () => {
    const ips = [...one.ips, { address: 'fd00:1::10/64', gateway: 'fd00:1::1' }]
    const four = [connected4, route('default', { gateway: '192.168.1.1' })]
    const plan = await planOf({ ips }, { four }, { gateways: ['192.168.1.254'] })
    expect(plan.filter((line) => /append (0\.0\.0\.0|::)\/0/.test(line))).toEqual([
      'route append 0.0.0.0/0 table 100 via 192.168.1.254 dev eth0',
      'route append ::/0 table 101 via fd00:1::1 dev eth0',
    ])
  })

  test('reaches a gateway outside the subnet on the link', async () => {
    const ips = [{ address: '192.168.1.209/32', gateway: '169.254.1.1' }]
    const four = [route('default', { gateway: '169.254.1.1', flags: ['onlink'] })]
    expect(await planOf({ ips }, { four })).toEqual([
      'rule add from 192.168.1.209 table 100',
      'route append 0.0.0.0/0 table 100 via 169.254.1.1 dev eth0 onlink',
      'route del 0.0.0.0/0 table 254 via 169.254.1.1 dev eth0 proto 3 onlink',
    ])
  })

  test('leaves hints of the source to use', async () => {
    const ips = [...one.ips, { address: 'fd00:1::10/64' }]
    const four = [connected4, route('172.17.0.0/16', { scope: '253' })]
    const plan = await planOf({ ips }, { four, six: [connected6] }, { addSourceHints: true })
    expect(plan.slice(-4)).toEqual([
      'route del 192.168.1.0/24 table 254 dev eth0 proto 2 scope 253 src 192.168.1.209',
      'route del fd00:1::/64 table 254 dev eth0 proto 2 metric 256',
      'route append 192.168.1.0/24 table 254 dev eth0 scope link src 192.168.1.209',
      'route append fd00:1::/64 table 254 dev eth0 src fd00:1::10',
    ])
  })

  test('keeps every next hop of a route', async () => {
    const hop = (gateway: string) => ({ gateway, dev: 'eth0', weight: 1 })
    const several = { ...route('172.16.0.0/16'), dev: undefined, nexthops: [hop('192.168.1.7'), hop('192.168.1.8')] }
    const plan = await planOf(one, { four: [connected4, several] })
    const hops = 'nexthop via 192.168.1.7 dev eth0 weight 1 nexthop via 192.168.1.8 dev eth0 weight 1'
    expect(plan).toContain(`route append 172.16.0.0/16 table 100 proto 3 ${hops}`)
    expect(plan).toContain(`route del 172.16.0.0/16 table 254 proto 3 ${hops}`)
  })

  test('has nothing to do with addresses of other interfaces', async () => {
    const interfaces = [{ name: 'eth0' }, { name: 'eth1' }]
    const ips = [
      { address: '192.168.1.209/24', interface: 0 },
      { address: '10.0.0.9/8', interface: 1 },
      { address: '192.168.1.211/24', interface: 9 },
      { address: '192.168.1.212/24' },
    ]
    const rules = (await planOf({ interfaces, ips })).filter((line) => line.startsWith('rule'))
    expect(rules.map((line) => line.split(' ')[3])).toEqual(['192.168.1.209', '192.168.1.211', '192.168.1.212'])
  })

  test.each(['0.1.0', '0.2.0'])('takes what %s knows of addresses', async (cniVersion) => {
    const prevResult = { cniVersion, ip4: { ip: '192.168.1.209/24', gateway: '192.168.1.1' } }
    const { plan, json } = await call('ADD', { cniVersion, prevResult })
    expect(plan).toContain('ip rule add from 192.168.1.209 table 100\n')
    expect(json).toMatchObject(prevResult)
  })
})

describe('what is refused before anything is touched', () => {
  const none = {
    ...looks(),
    'container# ip -j -d addr show dev eth0': { status: 1, stderr: 'Device "eth0" does not exist.' },
  }
  const rows: [what: string, config: object, code: number, text: string, answers?: NonNullable<Row['answers']>][] = [
    ['no chain', {}, 7, 'Required prevResult missing'],
    ['no addresses', { prevResult: {} }, 7, 'No IP addresses supplied on interface: eth0'],
    ['no interface', { prevResult: one }, 100, 'Cannot find network interface eth0: Link not found', none],
    ['a gateway that is none', { prevResult: one, gateways: ['x'] }, 7, 'gateways[0]: found "x"'],
    ['two gateways of a family', { prevResult: one, gateways: ['10.0.0.1', '10.0.0.2'] }, 7, 'at most one IPv4'],
    ['a table that cannot be', { prevResult: one, table: -1 }, 7, 'table: found -1'],
  ]
  test.each(rows)('%s', async (_, config, code, text, answers) => {
    const { plan, status, json } = await call('ADD', config, answers)
    expect({ plan, status, code: json.code }, JSON.stringify(json)).toEqual({ plan: '', status: 1, code })
    expect(`${json.msg}\n${json.details}`).toContain(text)
  })
})

describe('CHECK', () => {
  test('wants a rule for each address, to the table of the configuration where it names one', async () => {
    const rules = [{ src: '192.168.1.209', table: '100' }]
    expect(await call('CHECK', { prevResult: one }, looks({ rules }))).toMatchObject({ status: 0, json: undefined })
    expect((await call('CHECK', { prevResult: one }, looks())).json).toMatchObject({
      code: 105,
      details: expect.stringContaining('a rule from 192.168.1.209 to a table of its own'),
    })
    const { json } = await call('CHECK', { prevResult: one, table: 42 }, looks({ rules }))
    expect(json.details).toContain('expected a rule from 192.168.1.209 to table 42')
  })
})

describe('DEL', () => {
  const forget = '# forget /run/podwire/sbr/net/dd6ccc806f763e1c\n'
  const own = link('eth0', { addr_info: [{ family: 'inet', local: '192.168.1.209', prefixlen: 24 }] })
  const answers = (rules: object[]) => ({ ...looks({ rules }), 'container# ip -j -d addr show dev eth0': own })

  test('without a record removes the rules from the addresses of the interface', async () => {
    const rules = [
      { src: '192.168.1.209', table: '100' },
      { src: '192.168.1.0', srclen: 24, table: '100' },
      { src: '10.0.0.1', table: '7' },
    ]
    const { plan } = await call('DEL', {}, answers(rules))
    expect(plan).toContain('container# ip rule del from 192.168.1.209 table 100\n')
    expect(plan).not.toMatch(/10\.0\.0\.1|192\.168\.1\.0/)
    expect((await call('DEL', { table: 42 }, answers(rules))).plan).toBe(forget)
  })

  test.each(['', '/run/netns/none-such'])(
    'is content with the namespace "%s", and makes nothing',
    async (CNI_NETNS) => {
      expect(await call('DEL', {}, {}, { env: { CNI_NETNS } })).toMatchObject({ plan: forget, status: 0 })
    },
  )
})

test('STATUS asks the kernel for rules; GC without stale records does nothing', async ({ skip }) => {
  skip(...needsRun)
  const probe = 'unshare --net ip -batch -'
  expect((await call('STATUS', {}, { [probe]: '' })).status).toBe(0)
  expect((await call('STATUS', {}, { [probe]: { status: 2, stderr: 'Operation not supported' } })).json.code).toBe(50)
  expect(await call('GC', { 'cni.dev/valid-attachments': [] }, {})).toMatchObject({ plan: '', status: 0 })
})
