import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { link, type Row, type Shown, show } from '../../shared/testing/golden.js'

let [folder, dataDir] = ['', '']

/** A CNI_PATH where the plugins are this very program. */
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'podwire-chain-'))
  dataDir = path.join(folder, 'data')
  for (const name of ['loopback', 'tuning', 'chain', 'tuning-copy'])
    symlinkSync(process.execPath, path.join(folder, name))
})
afterEach(() => rmSync(folder, { recursive: true }))

const lo = link('lo', { flags: ['LOOPBACK', 'UP'], addr_info: [{ family: 'inet', local: '127.0.0.1', prefixlen: 8 }] })
const eth0 = link('eth0', { address: '02:00:00:00:00:01' })
const answers = {
  'container# ip -j -d addr show dev lo': lo,
  'container# ip -j -d addr show dev eth0': eth0,
  'container# grep *': '/proc/sys/net/ipv4/conf/eth0/arp_filter:0\n',
}
const tuning = () => ({ type: 'tuning', dataDir, sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1' } })

function chain(plugins: unknown, more: object = {}, row: Partial<Row> = {}): Promise<Shown> {
  const env = { CNI_PATH: folder, ...row.env }
  return show({ plugin: 'chain', verb: 'ADD', config: { plugins, ...more }, answers, ...row, env })
}

describe('ADD', () => {
  test('is the plans of the members one behind the other, each with the result of the one before', async () => {
    const { plan, json, status } = await chain([{ type: 'loopback' }, tuning()])
    const alone = await show({ plugin: 'loopback', verb: 'ADD', answers })
    const config = { ...tuning(), prevResult: alone.json }
    const behind = await show({ plugin: 'tuning', verb: 'ADD', config, answers })
    expect(status).toBe(0)
    const times = expect.stringMatching(/^# plugins\[0\] loopback took \S+ ms\n# plugins\[1\] tuning took \S+ ms\n$/)
    const whole = `# plugins[0] loopback\n${alone.plan}# plugins[1] tuning\n${behind.plan}`
    expect([plan.slice(0, whole.length), plan.slice(whole.length)]).toEqual([whole, times])
    expect(json).toEqual(behind.json)
  })

  test('gives the first member the result that the chain was given', async () => {
    const prevResult = { cniVersion: '1.1.0', ips: [{ address: '10.1.2.3/24' }] }
    expect((await chain([{ type: 'loopback' }], { prevResult })).json).toEqual(prevResult)
  })

  test("names the member that fails, with that one's code", async () => {
    const prevResult = { cniVersion: '1.1.0', interfaces: [{ name: 'eth0', sandbox: '/x' }] }
    const bad = { type: 'tuning', dataDir, mtu: 'wide' }
    const { json, status } = await chain([{ type: 'loopback' }, bad], { prevResult })
    expect(status).toBe(1)
    expect(json).toMatchObject({
      code: 7,
      msg: expect.stringMatching(/^plugins\[1\] tuning: network "net": /),
      details: expect.stringContaining('mtu: found "wide"'),
    })
  })

  test('gives keys beside plugins to members that do not set them, and not what is its own', async () => {
    const { plan } = await chain([{ type: 'loopback' }, { ...tuning(), mtu: 1300 }], {
      mtu: 1400,
      promisc: true,
      capabilities: { mac: true },
    })
    expect(plan).toContain('container# ip link set dev eth0 promisc on\n')
    expect(plan).toContain('container# ip link set dev eth0 mtu 1300\n')
    expect(plan).not.toContain('capabilities')
  })

  test('gives of runtimeConfig what a member has a capability for', async () => {
    const mac = '02:00:00:00:00:0b'
    const of = (capabilities: object) =>
      chain([{ type: 'loopback' }, { ...tuning(), capabilities }], {
        capabilities: { mac: true },
        runtimeConfig: { mac },
      })
    expect((await of({ mac: true })).plan).toContain(`address ${mac}`)
    expect((await of({})).plan).not.toContain(mac)
    expect((await of({ mac: false })).plan).not.toContain(mac)
  })

  test('leaves a member its own runtimeConfig where the runtime gives it nothing', async () => {
    const [own, mac] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b']
    const of = (capabilities: object) =>
      chain([{ type: 'loopback' }, { ...tuning(), capabilities, runtimeConfig: { mac: own } }], {
        capabilities: { mac: true },
        runtimeConfig: { mac },
      })
    expect((await of({ mac: true })).plan).toContain(`address ${mac}`)
    expect((await of({})).plan).toContain(`address ${own}`)
  })

  test('refuses a member that is nowhere before it plans anything', async () => {
    const { plan, json } = await chain([{ type: 'loopback' }, { type: 'none' }])
    expect(plan).toBe('')
    expect(json).toMatchObject({ code: 107, msg: `plugins[1] none: failed to find plugin "none" in path [${folder}]` })
  })

  test.each([
    ['nothing', [], {}, 'plugins: found []'],
    ['a chain', [{ type: 'chain', plugins: [] }], {}, 'plugins[0].type: found "chain"'],
    [
      'an undeclared capability',
      [{ type: 'tuning', capabilities: { mac: true } }],
      {},
      'plugins[0].capabilities.mac: found true',
    ],
    ['disableGC', [{ type: 'loopback' }], { disableGC: true }, 'disableGC: found true'],
    ['a type that is none', [{ type: 5 }], {}, 'plugins[0].type: found 5'],
  ])('refuses %s', async (_, plugins, more, says) => {
    const { json, plan } = await chain(plugins, more)
    expect(plan).toBe('')
    expect(json).toMatchObject({ code: 7, details: expect.stringContaining(says) })
  })
})

describe('the other verbs', () => {
  test('DEL goes in reverse', async () => {
    const { plan, status } = await chain([{ type: 'loopback' }, { type: 'loopback', mtu: 1 }], {}, { verb: 'DEL' })
    const lines = plan.split('\n').filter((line) => !line.includes(' took '))
    const down = 'container# ip link set dev lo down'
    expect([lines, status]).toEqual([['# plugins[1] loopback', down, '# plugins[0] loopback', down, ''], 0])
  })

  test('CHECK gives every member the final result, and stops at the first that is not content', async () => {
    const down = { ...answers, 'container# ip -j -d addr show dev lo': link('lo', { flags: [] }) }
    const { json } = await chain([{ type: 'loopback' }, tuning()], {}, { verb: 'CHECK', answers: down })
    expect(json).toMatchObject({ code: 105, msg: expect.stringMatching(/^plugins\[0\] loopback: /) })
  })

  test('STATUS is 50 where a member is nowhere, or a capability not declared', async () => {
    expect((await chain([{ type: 'none' }], {}, { verb: 'STATUS' })).json).toMatchObject({ code: 50 })
    const undeclared = [{ type: 'tuning', capabilities: { mac: true } }]
    expect((await chain(undeclared, {}, { verb: 'STATUS' })).json).toMatchObject({ code: 50 })
  })

  test('GC asks all', async () => {
    const { status, json } = await chain([{ type: 'loopback' }, { type: 'none' }], {}, { verb: 'GC' })
    expect([status, json.msg]).toEqual([1, expect.stringContaining('plugins[1] none: failed to find plugin')])
  })
})
