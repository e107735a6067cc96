import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { link, netns, type Row, show } from '../../shared/testing/golden.js'
import { duplicateKeys } from './duplicates.js'

let dataDir = ''
beforeEach(() => {
  dataDir = mkdtempSync(`${tmpdir()}/podwire-`)
})
afterEach(() => rmSync(dataDir, { recursive: true }))

const result = {
  cniVersion: '1.1.0',
  interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:01', sandbox: netns, mtu: 1500 }],
}
const eth0 = link('eth0', { address: '02:00:00:00:00:01', txqlen: 1000 })

/** `sysctls` are what grep prints. */
function row(config: object, more: Partial<Row> = {}, sysctls = ''): Row {
  const answers = { 'container# grep *': sysctls, 'container# ip *': eth0 }
  return { plugin: 'tuning', verb: 'ADD', config: { prevResult: result, dataDir, ...config }, answers, ...more }
}

/** The plan without the note of the original values. */
const planOf = ({ plan }: { plan: string }) => plan.split('\n').filter((line) => line !== '' && !line.startsWith('#'))

describe('ADD', () => {
  test('nothing asked for: nothing looked at', async () => {
    expect(await show(row({}, { answers: {} }))).toMatchObject({ plan: '', status: 0, json: result })
  })

  test('everything', async () => {
    const sysctl = { 'net.ipv4.conf.IFNAME.arp_filter': '1', 'net/ipv4/tcp_rmem': '4096  87380\t6291456' }
    const config = { sysctl, mac: '0200.0000.0002', promisc: true, mtu: 1400, allmulti: false, txQLen: 5 }
    const sysctls = '/proc/sys/net/ipv4/conf/eth0/arp_filter:0\n/proc/sys/net/ipv4/tcp_rmem:4096\t131072\t6291456\n'
    const shown = await show(row(config, {}, sysctls))
    expect(shown.plan).toBe(`# note the original values in ${dataDir}/c1_eth0.json
container# sysctl -w net/ipv4/conf/eth0/arp_filter=1
container# sysctl -w 'net/ipv4/tcp_rmem=4096 87380 6291456'
container# ip link set dev eth0 address 02:00:00:00:00:02
container# ip link set dev eth0 promisc on
container# ip link set dev eth0 mtu 1400
container# ip link set dev eth0 allmulticast off
container# ip link set dev eth0 txqueuelen 5
`)
    expect(shown.json.interfaces).toEqual([{ name: 'eth0', mac: '02:00:00:00:00:02', sandbox: netns, mtu: 1400 }])
  })

  const macs = { args: '02:00:00:00:00:0a', capability: '02:00:00:00:00:0b', cniArgs: '02:00:00:00:00:0c' }
  test.for([
    { what: 'the configuration', config: { mac: '02:00:00:00:00:0d' }, mac: '02:00:00:00:00:0d' },
    {
      what: 'CNI_ARGS',
      config: { mac: '02:00:00:00:00:0d' },
      env: { CNI_ARGS: `MAC=${macs.cniArgs}` },
      mac: macs.cniArgs,
    },
    {
      what: 'runtimeConfig',
      config: { runtimeConfig: { mac: macs.capability } },
      env: { CNI_ARGS: `MAC=${macs.cniArgs}` },
      mac: macs.capability,
    },
    {
      what: 'args.cni',
      config: { runtimeConfig: { mac: macs.capability }, args: { cni: { mac: macs.args } } },
      env: {},
      mac: macs.args,
    },
    {
      what: 'runtimeConfig over an empty args.cni',
      config: { runtimeConfig: { mac: macs.capability }, args: { cni: { mac: '' } } },
      mac: macs.capability,
    },
  ])('the MAC address of $what wins', async ({ config, mac, env = {} }) => {
    expect(planOf(await show(row(config, { env })))).toEqual([`container# ip link set dev eth0 address ${mac}`])
  })

  test('a setting of args.cni replaces that of the same path, however it is written', async () => {
    const config = { sysctl: { 'net.ipv4.ip_forward': '0' }, args: { cni: { sysctl: { 'net/ipv4/ip_forward': '1' } } } }
    expect(planOf(await show(row(config)))).toEqual(['container# sysctl -w net/ipv4/ip_forward=1'])
  })

  test('the link of the host with the same name keeps its MAC in the result', async () => {
    const interfaces = [{ name: 'eth0', mac: '02:00:00:00:00:09' }, ...result.interfaces]
    const { json } = await show(row({ mac: '02:00:00:00:00:02', prevResult: { ...result, interfaces } }))
    expect(json.interfaces.map(({ mac }: { mac: string }) => mac)).toEqual(['02:00:00:00:00:09', '02:00:00:00:00:02'])
  })
})

describe('refused before anything is looked at', () => {
  test.for([
    {
      what: 'a setting of the machine',
      config: { sysctl: { 'kernel.panic': '1' } },
      says: 'sysctl: found "kernel.panic"',
    },
    { what: 'a way out', config: { sysctl: { 'net/ipv4/../../kernel/panic': '1' } }, says: 'plain parts' },
    { what: 'a key with a value in it', config: { sysctl: { 'net.ipv4.x=1': '1' } }, says: 'plain parts' },
    { what: 'a value of two lines', config: { sysctl: { 'net.ipv4.x': '1\n2' } }, says: 'a value of one line' },
    { what: 'two mistakes at once', config: { mac: 'zz', args: { cni: { mtu: -1 } } }, says: 'args.cni.mtu: found -1' },
    { what: 'a relative dataDir', config: { dataDir: '../x' }, says: 'dataDir: found "../x"' },
    {
      what: 'a MAC address in CNI_ARGS',
      config: {},
      env: { CNI_ARGS: 'MAC=02:00' },
      says: 'CNI_ARGS MAC: found "02:00"',
    },
  ])('$what', async ({ config, says, env = {} }) => {
    const { plan, status, json } = await show(row(config, { env, answers: {} }))
    expect({ plan, status, code: json.code }).toEqual({ plan: '', status: 1, code: 7 })
    expect(json.details).toContain(says)
  })
})

describe('CHECK', () => {
  const config = { mac: '02:00:00:00:00:01', mtu: 1500, promisc: true, allmulti: true, txQLen: 1000 }
  const good = { address: '02:00:00:00:00:01', txqlen: 1000, flags: ['PROMISC', 'ALLMULTI'] }
  const check = (found: object | undefined, more: object = {}, sysctls = '') =>
    show(
      row(
        { ...config, ...more },
        {
          verb: 'CHECK',
          answers: {
            'container# grep *': sysctls,
            'container# ip *': found ? link('eth0', found) : { status: 1, stderr: 'Device "eth0" does not exist.' },
          },
        },
      ),
    )
  const linesOf = ({ json }: { json: { details: string } }) => json.details.split('\n')

  test('is content with what ADD made, and looks at nothing where nothing is asked for', async () => {
    expect(await check(good)).toMatchObject({ status: 0, json: undefined })
    expect(await show(row({}, { verb: 'CHECK', answers: {} }))).toMatchObject({ status: 0, json: undefined })
  })

  test.each<[string, object, string, string]>([
    [
      'MAC address',
      { address: '02:00:00:00:00:09' },
      'mac: found "02:00:00:00:00:09", expected 02:00:00:00:00:01',
      'Ethernet',
    ],
    [
      'MTU',
      { mtu: 1400 },
      'mtu: found 1400, expected 1500',
      'Error: Tuning configured MTU of eth0 is 1500, current value is 1400',
    ],
    [
      'promiscuous mode',
      { flags: ['ALLMULTI'] },
      'promisc: found false, expected true',
      'configured promisc is true, current value is 0',
    ],
    [
      'all-multicast mode',
      { flags: ['PROMISC'] },
      'allmulti: found false, expected true',
      'all-multicast mode of eth0 is true',
    ],
    [
      'queue length',
      { txqlen: 5 },
      'txQLen: found 5, expected 1000',
      'Transmit Queue Length of eth0 is 1000, current value is 5',
    ],
  ])('another %s', async (_, wrong, text, official) => {
    const shown = await check({ ...good, ...wrong })
    expect(shown.json).toMatchObject({ code: 105, msg: expect.stringContaining(official) })
    expect(linesOf(shown)).toEqual([text])
  })

  test('a setting of another value, or that cannot be read', async () => {
    const sysctl = { 'net.ipv4.conf.IFNAME.arp_filter': '1', 'net.ipv4.tcp_rmem': '4096 87380', 'net.core.x': '3' }
    const path = '/proc/sys/net/ipv4/conf/eth0/arp_filter'
    const shown = await check(good, { sysctl }, `${path}:0\n/proc/sys/net/ipv4/tcp_rmem:4096\t87380\n`)
    expect(shown.json.msg).toContain(`Error: Tuning configured value of ${path} is 1, current value is 0`)
    expect(linesOf(shown)).toEqual([
      `${path}: found "0", expected 1`,
      '/proc/sys/net/core/x: found nothing, expected 3',
    ])
  })

  test('a link that is not there, where it is asked for', async () => {
    const { json } = await check(undefined)
    expect(json.msg).toContain('Cannot find container link eth0')
    const none = {
      mac: '',
      mtu: 0,
      promisc: false,
      allmulti: undefined,
      txQLen: undefined,
      sysctl: { 'net.core.x': '3' },
    }
    expect((await check(undefined, none, '/proc/sys/net/core/x:3\n')).status).toBe(0)
  })
})

describe('DEL', () => {
  test('restores what the file says, settings first and in reverse', async () => {
    const originals = { mac: '02:00:00:00:00:01', promisc: false, mtu: 1500, allmulti: true, txQLen: 0 }
    const sysctl = { 'net/ipv4/ip_forward': '0', 'net/core/somaxconn': '128' }
    writeFileSync(`${dataDir}/c1_eth0.json`, JSON.stringify({ ...originals, sysctl }))
    expect((await show(row({}, { verb: 'DEL', answers: {} }))).plan).toBe(`container# sysctl -w net/core/somaxconn=128
container# sysctl -w net/ipv4/ip_forward=0
container# ip link set dev eth0 address 02:00:00:00:00:01
container# ip link set dev eth0 promisc off
container# ip link set dev eth0 mtu 1500
container# ip link set dev eth0 allmulticast on
container# ip link set dev eth0 txqueuelen 0
# forget ${dataDir}/c1_eth0.json
`)
  })

  test('passes over members of another type', async () => {
    writeFileSync(`${dataDir}/c1_eth0.json`, JSON.stringify({ mac: 'x; reboot', mtu: '1500', txQLen: 7 }))
    expect(planOf(await show(row({}, { verb: 'DEL', answers: {} })))).toEqual([
      'container# ip link set dev eth0 txqueuelen 7',
    ])
  })
})

describe('keys that are there more than once', () => {
  test.for([
    ['{"sysctl":{"a":"1","b":"2"}}', []],
    ['{"sysctl":{"a":"1","a":"1"}}', ['a']],
    ['{"sysctl" : { "a" : "1", "b":"a", "a" : "2", "a":"3" } }', ['a', 'a']],
    ['{"SysCtl":{"a":"1","\\u0061":"1"}}', ['a']],
    ['{"other":{"a":"1","a":"1"},"sysctl":{"a":"1"}}', []],
    ['{"x":{"sysctl":{"a":"1","a":"1"}}}', []],
    ['{"sysctl":{"a":"\\"a\\":"},"b":["a",{"a":1,"a":2}]}', []],
  ] as const)('%s: %j', ([json, repeated]) => {
    expect(duplicateKeys(json, 'sysctl')).toEqual(repeated)
  })
})
