import { expect, test } from 'vitest'
import { link, show } from '../shared/testing/golden.js'

const up = link('lo', { flags: ['LOOPBACK', 'UP'], addr_info: [{ family: 'inet', local: '127.0.0.1', prefixlen: 8 }] })
const look = 'container# ip -j -d addr show dev lo'

test('ADD brings lo up and reports its addresses', async () => {
  const { plan, json } = await show({ plugin: 'loopback', verb: 'ADD', answers: { [look]: up } })
  expect(plan).toBe('container# ip link set dev lo up\n')
  expect(json.ips).toEqual([{ address: '127.0.0.1/8', interface: 0 }])
})

test('ADD reports the first address of each family, IPv4 first, and none where lo is not shown', async () => {
  const addresses = [
    { family: 'inet6', local: '::1', prefixlen: 128 },
    { family: 'inet', local: '127.0.0.1', prefixlen: 8 },
    { family: 'inet', local: '127.0.0.2', prefixlen: 32 },
  ]
  const of = async (answer: string | object) =>
    (await show({ plugin: 'loopback', verb: 'ADD', answers: { [look]: answer } })).json.ips
  expect(await of(link('lo', { addr_info: addresses }))).toEqual([
    { address: '127.0.0.1/8', interface: 0 },
    { address: '::1/128', interface: 0 },
  ])
  expect(await of(link('lo', { addr_info: addresses.slice(0, 1) }))).toEqual([{ address: '::1/128', interface: 0 }])
  expect(await of({ status: 1, stderr: 'Device "lo" does not exist.' })).toBeUndefined()
})

test('ADD passes prevResult on', async () => {
  const prevResult = { cniVersion: '1.0.0', ips: [{ address: '10.1.2.3/24' }] }
  const { json } = await show({ plugin: 'loopback', verb: 'ADD', config: { prevResult }, answers: { [look]: up } })
  expect(json).toEqual({ cniVersion: '1.1.0', ips: [{ address: '10.1.2.3/24' }] })
})

test('ADD prints the format of every version', async () => {
  const formats = { '0.2.0': 'ip4', '0.4.0': 'ips', '1.0.0': 'ips' }
  for (const [cniVersion, key] of Object.entries(formats)) {
    const { json } = await show({ plugin: 'loopback', verb: 'ADD', config: { cniVersion }, answers: { [look]: up } })
    expect(json).toHaveProperty(key)
    expect(json.cniVersion).toBe(cniVersion)
  }
})

test('ADD refuses a lo that has been given a foreign address', async () => {
  const foreign = link('lo', { addr_info: [{ family: 'inet', local: '10.0.0.1', prefixlen: 32 }] })
  const { status, json } = await show({ plugin: 'loopback', verb: 'ADD', answers: { [look]: foreign } })
  expect(status).toBe(1)
  expect(json.msg).toContain('non-loopback address "10.0.0.1"')
})

test('CHECK wants lo up and says how to mend it', async () => {
  const down = link('lo', { flags: ['LOOPBACK'] })
  const { status, json } = await show({ plugin: 'loopback', verb: 'CHECK', answers: { [look]: down } })
  expect(status).toBe(1)
  expect(json).toMatchObject({ code: 105, msg: expect.stringContaining('loopback interface is down') })
  expect((await show({ plugin: 'loopback', verb: 'CHECK', answers: { [look]: up } })).status).toBe(0)
})

test('DEL takes lo down, and is content with a namespace that is gone', async () => {
  const { plan } = await show({ plugin: 'loopback', verb: 'DEL' })
  expect(plan).toBe('container# ip link set dev lo down\n')
  const gone = await show({ plugin: 'loopback', verb: 'DEL', env: { CNI_NETNS: '/run/netns/none-such' } })
  expect(gone).toEqual({ plan: '', status: 0, json: undefined })
})
