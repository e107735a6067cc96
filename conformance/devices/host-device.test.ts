import { mkdirSync, symlinkSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { suites } from '../harness/locations.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { installScripts, scriptDirectory } from '../harness/scripts.js'
import { difference } from '../harness/snapshot.js'
import { ping } from '../harness/traffic.js'
import { call as callOf, fixed, hostLocal, leased, linkNames, linkOf, state, versions } from './calls.js'

const mac = '02:00:00:00:aa:01'
const config = { device: 'hd0', ipam: hostLocal }
const call = (verb: Verb, container: Container, change: object = {}, more: Partial<Call> = {}) =>
  callOf('host-device', verb, container, { ...config, ...change }, more)

/** A container, and a host with a device that another machine is at the end of. */
async function withDevice(host: Host, flags = 'up') {
  const neighbour = await host.container('neighbour')
  await host.output([
    'ip',
    'link',
    'add',
    'hd0',
    'address',
    mac,
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    'neighbour',
  ])
  await host.output(['ip', 'link', 'set', 'hd0', flags])
  await neighbour.batch([
    'addr add 10.80.0.99/24 dev eth0',
    'addr add fd00:80::99/64 dev eth0 nodad',
    'link set eth0 up',
  ])
  return { neighbour, container: await host.container('c1') }
}

describe('a device that is lent', () => {
  test.for(versions)('goes and comes back as it was, in version %s', async (cniVersion, { host }) => {
    const { neighbour, container } = await withDevice(host)
    const before = await state(host)
    const prevResult = resultOf(await runPlugin(host, call('ADD', container, { cniVersion })))
    expect(await linkNames(host)).toEqual(['lo'])
    expect(await linkOf(container, 'eth0')).toMatchObject({ address: mac, ifalias: 'hd0' })
    expect([await ping(neighbour, '10.80.0.2'), await ping(neighbour, 'fd00:80::2')]).toEqual([true, true])
    const checked = await runPlugin(host, call('CHECK', container, { cniVersion, prevResult }))
    if (cniVersion < '0.4') expect(errorOf(checked).code).toBe(1)
    else succeedSilently(checked)
    if (!cniVersion.startsWith('0.1') && !cniVersion.startsWith('0.2')) {
      expect(prevResult.interfaces).toEqual([{ name: 'eth0', mac, sandbox: container.netns }])
    }
    for (let times = 0; times < 2; times++)
      succeedSilently(await runPlugin(host, call('DEL', container, { cniVersion })))
    expect(leased(host)).toEqual([])
    expect(difference(before, await state(host))).toBe('')
  })

  test.for(['up', 'down'])('is %s again, under the alias it had', async (flags, { host }) => {
    const { container } = await withDevice(host, flags)
    await host.output(['ip', 'link', 'set', 'hd0', 'alias', 'rack 4, port 2'])
    const before = await state(host)
    resultOf(await runPlugin(host, call('ADD', container, { ipam: {} })))
    succeedSilently(await runPlugin(host, call('DEL', container, { ipam: {} })))
    expect(difference(before, await state(host))).toBe('')
    expect(await linkOf(host, 'hd0')).toMatchObject({ ifalias: 'rack 4, port 2' })
  })

  test('may have a name that host and container have, too', async ({ host }) => {
    const { container } = await withDevice(host)
    await container.batch(['link add hd0 type veth peer name peer0'])
    await host.output(['ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'peer1'])
    const before = await state(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    expect(await linkNames(container)).toEqual(['lo', 'peer0', 'hd0', 'eth0'])
    succeedSilently(await runPlugin(host, call('DEL', container)))
    expect(difference(before, await state(host))).toBe('')
  })

  test.for([{ hwaddr: '02-00-00-00-AA-01' }, { device: 'enp0s31f6-of-the-second-card' }])(
    'is found by %o',
    async (way, { host }) => {
      const { container } = await withDevice(host)
      await host.output(['ip', 'link', 'property', 'add', 'dev', 'hd0', 'altname', 'enp0s31f6-of-the-second-card'])
      resultOf(await runPlugin(host, call('ADD', container, { device: '', ...way })))
      succeedSilently(await runPlugin(host, call('DEL', container, { device: '', ...way })))
      expect(await linkNames(host)).toContain('hd0')
    },
  )

  test('that a user-space driver has stays where it is, and gets its addresses all the same', async ({ host }) => {
    const { container } = await withDevice(host)
    await host.output(['mount', '-t', 'tmpfs', 'tmpfs', '/sys/bus/pci'])
    mkdirSync(host.path('/sys/bus/pci/devices/0000:04:00.1'), { recursive: true })
    mkdirSync(host.path('/sys/bus/pci/drivers/vfio-pci'), { recursive: true })
    symlinkSync('../../drivers/vfio-pci', host.path('/sys/bus/pci/devices/0000:04:00.1/driver'))
    const runtimeConfig = { deviceID: '0000:04:00.1' }
    const ipam = fixed('10.80.0.7/24')
    const outcomes = (['official', 'podwire'] as const).map(async (suite) => {
      const finished = await runPlugin(host, call('ADD', container, { device: '', runtimeConfig, ipam }, { suite }))
      return resultOf(finished)
    })
    const [official, own] = await Promise.all(outcomes)
    expect(own).toEqual(official)
    expect(own?.interfaces).toEqual([{ name: 'eth0', sandbox: container.netns }])
    const prevResult = own
    succeedSilently(await runPlugin(host, call('CHECK', container, { device: '', runtimeConfig, ipam, prevResult })))
    succeedSilently(await runPlugin(host, call('DEL', container, { device: '', runtimeConfig, ipam })))
    expect(await linkNames(host)).toContain('hd0')
  })
})

describe('either suite gives back what the other lent:', () => {
  test.for([
    ['official', 'podwire'],
    ['podwire', 'official'],
  ] as const)('%s, then %s', async ([lends, takes], { host }) => {
    // Its other end is the host's: what no record tells of is taken from a container only when it cannot be made there.
    const container = await host.container('c1')
    await host.output(['ip', 'link', 'add', 'hd0', 'address', mac, 'type', 'veth', 'peer', 'name', 'far0'])
    const ipam = fixed('10.80.0.7/24')
    const result = resultOf(await runPlugin(host, call('ADD', container, { ipam }, { suite: lends })))
    succeedSilently(await runPlugin(host, call('CHECK', container, { ipam, prevResult: result }, { suite: takes })))
    succeedSilently(await runPlugin(host, call('DEL', container, { ipam }, { suite: takes })))
    expect(await linkOf(host, 'hd0')).toMatchObject({ address: mac })
    expect((await linkOf(host, 'hd0'))?.ifalias ?? '').toBe('')
    expect(await linkNames(container)).toEqual(['lo'])
  })

  test('and both say the same about it', async ({ host }) => {
    const { container } = await withDevice(host)
    const told: unknown[] = []
    for (const suite of ['official', 'podwire'] as const) {
      for (const change of [
        { ipam: fixed('10.80.0.7/24', 'fd00:80::7/64'), dns: { nameservers: ['10.80.0.53'] } },
        { ipam: {} },
      ]) {
        told.push(resultOf(await runPlugin(host, call('ADD', container, change, { suite }))))
        succeedSilently(await runPlugin(host, call('DEL', container, change, { suite })))
        await host.output(['ip', 'link', 'set', 'hd0', 'up'])
      }
    }
    expect(told.slice(2)).toEqual(told.slice(0, 2))
  })
})

describe('DEL with little to go by', () => {
  const ways: Record<string, (container: Container) => Promise<Partial<Call>>> = {
    'the namespace is gone': async (container) => {
      await container.remove()
      return {}
    },
    'CNI_NETNS is empty': async () => ({ env: { CNI_NETNS: '' } }),
    'the device was unplugged': async (container) => {
      await container.output(['ip', 'link', 'del', 'eth0'])
      return {}
    },
    'the configuration is broken': async () => ({
      config: { cniVersion: '1.1.0', name: 'network', type: 'host-device', hwaddr: 7, ipam: hostLocal },
    }),
  }
  for (const [name, spoil] of Object.entries(ways)) {
    test(`${name}: the lease goes all the same`, async ({ host }) => {
      const { container } = await withDevice(host)
      resultOf(await runPlugin(host, call('ADD', container)))
      expect(leased(host)).toHaveLength(2)
      const deleting = call('DEL', container, {}, await spoil(container))
      for (let times = 0; times < 2; times++) succeedSilently(await runPlugin(host, deleting))
      expect(leased(host)).toEqual([])
      expect((await state(host)).filter((line) => line.startsWith('file /run/podwire'))).toEqual([])
    })
  }

  test('a device that the kernel gave back gets its old name, alias and state', async ({ host }) => {
    const { container } = await withDevice(host)
    const before = await state(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    // As the kernel does with a card when its namespace ends: it keeps the name it had there.
    await container.output(['ip', 'link', 'set', 'eth0', 'netns', String(host.pid)])
    succeedSilently(await runPlugin(host, call('DEL', container)))
    expect(difference(before, await state(host))).toBe('')
  })

  test('a device that was renamed in the container comes back all the same', async ({ host }) => {
    const { container } = await withDevice(host)
    const before = await state(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    await container.batch(['link set eth0 down', 'link set eth0 name other0', 'link set other0 up'])
    succeedSilently(await runPlugin(host, call('DEL', container)))
    expect(difference(before, await state(host))).toBe('')
  })

  test.for(['podwire', 'official'] as const)(
    'a device that %s lent to a namespace which a process keeps, and no path leads to, is not passed over in silence',
    async (suite, { host }) => {
      const { container } = await withDevice(host)
      const before = await linkOf(host, 'hd0')
      await container.netnsOfProcess()
      resultOf(await runPlugin(host, call('ADD', container, {}, { suite })))
      await container.remove()
      const del = () => runPlugin(host, call('DEL', container))
      const { status, stdout, stderr } = await del()
      expect([status, stdout]).toEqual([0, ''])
      if (suite === 'official') {
        expect(stderr).toContain("hd0 is not on the host, and the container's namespace is not to be found")
        return
      }
      expect(stderr).toMatch(/a process keeps the container's namespace \(\/proc\/\d+\/ns\/net\): hd0 is taken out/)
      const { ifalias, flags = [], address } = (await linkOf(host, 'hd0')) ?? {}
      expect([ifalias, address, flags.includes('UP')]).toEqual([before?.ifalias, mac, true])
      expect(await del()).toMatchObject({ status: 0, stdout: '', stderr: '' })
    },
  )

  test('one that was never added touches nothing', async ({ host }) => {
    const { container } = await withDevice(host)
    await container.batch(['link add eth0 type veth peer name peer0', 'link set eth0 up'])
    const before = await state(host)
    succeedSilently(await runPlugin(host, call('DEL', container)))
    expect(difference(before, await state(host))).toBe('')
  })

  test('while the host has another link of the name nothing moves, no lease is given back, and a later DEL works', async ({
    host,
  }) => {
    const { neighbour, container } = await withDevice(host)
    const before = await state(host)
    resultOf(await runPlugin(host, call('ADD', container)))
    await host.output(['ip', 'link', 'add', 'hd0', 'type', 'veth', 'peer', 'name', 'hd1'])
    const refused = errorOf(await runPlugin(host, call('DEL', container)))
    expect(refused).toMatchObject({ code: 103, msg: expect.stringContaining('hd0') })
    expect(await ping(neighbour, '10.80.0.2')).toBe(true)
    expect(leased(host)).toHaveLength(2)
    await host.output(['ip', 'link', 'del', 'hd0'])
    succeedSilently(await runPlugin(host, call('DEL', container)))
    expect(difference(before, await state(host))).toBe('')
  })
})

const scripts = {
  failing: `[ "$CNI_COMMAND" = DEL ] || { echo '{"code":11,"msg":"later"}'; exit 1; }`,
  poor: `[ "$CNI_COMMAND" = DEL ] || echo '{"cniVersion":"1.1.0"}'`,
}

describe('an ADD that fails puts the device back and gives the lease back:', () => {
  const failures: Record<string, object> = {
    'an IPAM plugin that fails': { ipam: { type: 'failing' } },
    'an IPAM plugin without an address': { ipam: { type: 'poor' } },
    'a route that cannot be set': { ipam: { ...hostLocal, routes: [{ dst: '10.9.0.0/16', gw: '172.16.0.1' }] } },
    'a link that cannot be moved': { device: 'lo' },
    'no such device': { device: 'none' },
  }
  for (const [name, change] of Object.entries(failures)) {
    test(name, async ({ host }) => {
      installScripts(host, scripts)
      const { container } = await withDevice(host)
      const before = await state(host)
      const path = `${scriptDirectory}:${suites.podwire}`
      errorOf(await runPlugin(host, call('ADD', container, change, { path })))
      expect(difference(before, await state(host))).toBe('')
    })
  }

  test('an interface that is there already', async ({ host }) => {
    const { container } = await withDevice(host)
    await container.batch(['link add eth0 type veth peer name peer0'])
    const before = await state(host)
    expect(errorOf(await runPlugin(host, call('ADD', container))).code).toBe(103)
    expect(difference(before, await state(host))).toBe('')
  })
})

test('GC takes back what is lent to nobody, and its lease', async ({ host }) => {
  const { container } = await withDevice(host)
  const before = await state(host)
  resultOf(await runPlugin(host, call('ADD', container)))
  const alive = { 'cni.dev/valid-attachments': [{ containerID: container.name, ifname: 'eth0' }] }
  const there = await state(host)
  for (const change of [{}, alive]) {
    succeedSilently(await runPlugin(host, call('GC', container, change)))
    expect(difference(there, await state(host))).toBe('')
  }
  succeedSilently(await runPlugin(host, call('GC', container, { 'cni.dev/valid-attachments': [] })))
  expect(difference(before, await state(host))).toBe('')
})

test('STATUS passes on what the IPAM plugin says', async ({ host }) => {
  installScripts(host, { unwell: `echo '{"code":51,"msg":"unwell"}'; exit 1` })
  const { container } = await withDevice(host)
  succeedSilently(await runPlugin(host, call('STATUS', container)))
  const unwell = call('STATUS', container, { ipam: { type: 'unwell' } }, { path: scriptDirectory })
  expect(errorOf(await runPlugin(host, unwell))).toMatchObject({ code: 51 })
})
