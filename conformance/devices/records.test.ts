import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { resultOf, succeedSilently } from '../harness/answer.js'
import type { Container } from '../harness/container.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, type Verb } from '../harness/plugin.js'
import { call as callOf, linkOf } from './calls.js'

// What a record says of a namespace is done in that namespace alone: not in the next one of the same container, path,
// or inode.

/** How the kernel is asked: with cookies, or as before Linux 5.14. */
const ways: [string, Record<string, string>][] = [
  ['by its cookie', {}],
  ['by inode, boot and link', { PODWIRE_NO_NETLINK: '1' }],
]

const prevResult = {
  interfaces: [{ name: 'net1', sandbox: '/run/netns/c1' }],
  ips: [{ address: '10.2.0.5/24', gateway: '10.2.0.1', interface: 0 }],
}

const call = (plugin: string, verb: Verb, container: Container, change: object = {}, env = {}): Call =>
  callOf(plugin, verb, container, { prevResult, ...change }, { ifName: 'net1', env })

/**
 * A container with net1, by which its default route leads over `gateway`; the other end, with a name of that, stays
 * outside.
 */
async function made(host: Host, gateway = '10.2.0.1'): Promise<Container> {
  const container = await host.container('c1')
  const far = `far${gateway.split('.').at(-1)}`
  await host.output(['ip', 'link', 'add', far, 'type', 'veth', 'peer', 'name', 'net1', 'netns', container.name])
  await host.output(['ip', 'link', 'set', far, 'up'])
  await container.batch(['addr add 10.2.0.5/24 dev net1', 'link set net1 up', `route add default via ${gateway}`])
  return container
}

/** All that routing in a container is, with the values of its link. */
async function looked(container: Container): Promise<string> {
  const link = await linkOf(container, 'net1')
  const settings = await container.output(['cat', '/proc/sys/net/ipv4/conf/net1/arp_filter'])
  return [
    await container.output(['ip', 'rule']),
    await container.output(['ip', '-4', 'route', 'show', 'table', 'all']),
    `${link?.address} ${link?.mtu} ${settings}`,
  ].join('\n')
}

const recordOf = (host: Host, kind: string) => {
  const folder = host.path(`/run/podwire/${kind}/network`)
  return `${folder}/${readdirSync(folder)[0]}`
}

const originals = '/run/cni/tuning/c1_net1.json'

const kinds: Record<string, object> = {
  sbr: {},
  tuning: { mtu: 1400, mac: '02:00:5e:10:00:01', sysctl: { 'net.ipv4.conf.net1.arp_filter': '1' } },
}

for (const [plugin, change] of Object.entries(kinds)) {
  describe.each(ways)(`${plugin} knows a namespace %s`, (_, env) => {
    const record = (host: Host) => (plugin === 'tuning' ? host.path(originals) : recordOf(host, plugin))
    const add = async (host: Host, container: Container) =>
      resultOf(await runPlugin(host, call(plugin, 'ADD', container, change, env)))
    const del = async (host: Host, container: Container) =>
      succeedSilently(await runPlugin(host, call(plugin, 'DEL', container, change, env)))

    test('what ADD changed DEL puts back, also after a second ADD', async ({ host }) => {
      const container = await made(host)
      const before = await looked(container)
      await add(host, container)
      const after = await looked(container)
      expect(after).not.toBe(before)
      await add(host, container)
      expect(await looked(container)).toBe(after)
      await del(host, container)
      expect(await looked(container)).toBe(before)
    })

    test('a container made anew behind a missed DEL: nothing of the first comes into the second', async ({ host }) => {
      const first = await made(host)
      await add(host, first)
      await first.remove()
      const second = await made(host, '10.2.0.254')
      const before = await looked(second)
      await del(host, second)
      expect(await looked(second)).toBe(before)
    })

    test('the same with an ADD between: DEL puts back what the second had', async ({ host }) => {
      const first = await made(host)
      await add(host, first)
      await first.remove()
      const second = await made(host, '10.2.0.254')
      const before = await looked(second)
      await add(host, second)
      expect(await second.output(['ip', 'route', 'show', 'table', 'main'])).not.toContain('via 10.2.0.1 ')
      await del(host, second)
      expect(await looked(second)).toBe(before)
    })

    test.for(['inode', 'boot', 'both'] as const)(
      '%s of another namespace on record: it is not this one',
      async (what, { host }) => {
        const first = await made(host)
        await add(host, first)
        await first.remove()
        const second = await made(host, '10.2.0.254')
        const before = await looked(second)
        rewrite(record(host), (text) => {
          const inode = statSync(host.path(second.netns)).ino
          // The kernel may have used the very number again.
          const withInode = what === 'boot' ? text : text.replace(/("inode":\s?)\d+/, `$1${inode}`)
          if (what !== 'boot') expect(withInode).toContain(String(inode))
          return what === 'inode'
            ? withInode
            : withInode.replace(/("boot":\s?")[^"]+/, '$15ca1ab1e-0000-4000-8000-000000000000')
        })
        await del(host, second)
        expect(await looked(second)).toBe(before)
      },
    )

    test('what podwire 0.1.0 wrote is used as far as it tells a namespace', async ({ host }) => {
      const container = await made(host)
      const before = await looked(container)
      await add(host, container)
      const after = await looked(container)
      const { ifindex, link_index } = JSON.parse(await container.output(['ip', '-j', 'link', 'show', 'net1']))[0]
      const isTold = plugin === 'tuning'
      rewrite(record(host), (text) => {
        const { version: _, netns, ...old } = JSON.parse(text)
        if (isTold) {
          const { version: __, netns: ___, ...podwire } = old.podwire
          return JSON.stringify({
            ...old,
            podwire: { ...podwire, link: `${statSync(host.path(container.netns)).ino}/${ifindex}/${link_index}` },
          })
        }
        return JSON.stringify({ ...old, data: { ...old.data, netns: netns.path } })
      })
      await del(host, container)
      const now = await looked(container)
      // sbr had a path alone; without it DEL takes the rules of the interface's own addresses, and no route back.
      if (isTold) expect(now).toBe(before)
      else expect(now).toBe(after.replace(/^.*from 10\.2\.0\.5.*\n/m, ''))
    })
  })
}

/** Rewrites a file in place. */
function rewrite(path: string, body: (text: string) => string): void {
  writeFileSync(path, body(readFileSync(path, 'utf8')))
}

describe.each(ways)('a published port is its owner’s %s', (_, env) => {
  const publish = (verb: Verb, container: Container) =>
    callOf(
      'portmap',
      verb,
      container,
      {
        prevResult: { ips: [{ address: '10.2.0.5/24' }] },
        runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] },
      },
      { env },
    )

  test('of a container that is gone it is taken over, also where another has its path or inode', async ({ host }) => {
    const first = await host.container('c1')
    await first.output(['ip', 'address', 'add', '10.2.0.5/24', 'dev', 'lo'])
    resultOf(await runPlugin(host, publish('ADD', first)))
    const other = await host.container('other')
    const refused = await runPlugin(host, publish('ADD', other))
    expect(JSON.parse(refused.stdout)).toMatchObject({ code: 106 })
    await first.remove()
    await host.container('c1')
    rewrite(recordOf(host, 'portmap'), (text) =>
      env['PODWIRE_NO_NETLINK']
        ? `${text} `
        : text.replace(/("inode":)\d+/, `$1${statSync(host.path('/run/netns/c1')).ino}`),
    )
    resultOf(await runPlugin(host, publish('ADD', other)))
  })
})

describe('a network that got another name while a device of it was lent', () => {
  const mac = '02:00:00:00:aa:02'
  const lend = async (host: Host) => {
    await host.container('third')
    const container = await host.container('c1')
    const made = ['link add hd0 type veth peer name far0 netns third', `link set hd0 address ${mac}`]
    await host.output(['ip', '-batch', '-'], { stdin: `${made.join('\n')}\n` })
    resultOf(await runPlugin(host, callOf('host-device', 'ADD', container, { device: 'hd0' })))
    return container
  }

  test.for([
    ['its name', { device: 'hd0' }],
    ['its address', { hwaddr: mac.toUpperCase() }],
  ] as const)('gets it back by %s', async ([, keys], { host }) => {
    const container = await lend(host)
    const finished = await runPlugin(host, callOf('host-device', 'DEL', container, { name: 'renamed', ...keys }))
    succeedSilently(finished)
    expect(finished.stderr).toContain('hd0 was attached by the network network')
    expect(await linkOf(host, 'hd0')).toMatchObject({ address: mac })
    expect(readdirSync(host.path('/run/podwire/host-device/network'))).toEqual([])
  })

  test.for([
    ['of another device', {}, { device: 'hd1' }],
    ['of another address', {}, { hwaddr: '02:00:00:00:aa:03' }],
    ['of another interface', { ifName: 'eth1' }, { device: 'hd0' }],
    ['of another container', { containerID: 'c2' }, { device: 'hd0' }],
  ] as const)('a DEL %s leaves it', async ([, more, keys], { host }) => {
    const container = await lend(host)
    const call = callOf('host-device', 'DEL', container, { name: 'renamed', ...keys }, more)
    succeedSilently(await runPlugin(host, call))
    expect(await linkOf(host, 'hd0')).toBeUndefined()
    expect(await linkOf(container, 'eth0')).toMatchObject({ address: mac })
  })
})
