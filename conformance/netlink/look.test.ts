import { expect, vi } from 'vitest'
import { createNetlink } from '../../shared/netlink/driver.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import { test } from '../harness/fixture.js'

/** What podwire reads of a link (observe.schema.ts), of however much there is. */
function read({ linkinfo, addr_info, flags, txqlen = 0, ...link }: ObservedLink): object {
  const keys = [
    'ifindex',
    'ifname',
    'mtu',
    'operstate',
    'address',
    'promiscuity',
    'master',
    'ifalias',
    'link_index',
    'link',
  ]
  const details = detailsOf[linkinfo?.info_kind ?? ''] ?? []
  return {
    ...Object.fromEntries(keys.map((key) => [key, link[key]])),
    // M-DOWN is about the other end.
    flags: flags.filter((flag) => flag !== 'M-DOWN').sort(),
    txqlen,
    kind: linkinfo?.info_kind,
    details: details.map((key) => linkinfo?.info_data?.[key] ?? false),
    addresses: addr_info.map(
      ({
        family,
        local,
        prefixlen,
        scope,
        broadcast,
        tentative = false,
        dadfailed = false,
        dynamic = false,
        nodad = false,
      }) => {
        return { family, local, prefixlen, scope, broadcast, tentative, dadfailed, dynamic, nodad }
      },
    ),
  }
}

/** What podwire reads of a link of a kind. */
const detailsOf: Record<string, string[]> = {
  bridge: ['vlan_default_pvid'],
  macvlan: ['mode', 'bcqueuelen'],
  tun: ['type', 'multi_queue'],
}

test('a link is seen as `ip -j -d addr show` shows it', async ({ host }) => {
  const container = await host.container()
  await host.outside()
  const lines = [
    'link add br0 address 02:00:00:00:00:01 mtu 1400 type bridge',
    'link add veth0 txqueuelen 0 master br0 type veth peer name eth0 netns container0',
    'link add here0 type veth peer name there0',
    'link set dev here0 alias somebody',
    'link set dev here0 promisc on',
    'link set dev veth0 up',
    'link set dev br0 up',
    'addr add 10.1.2.1/24 brd + dev br0',
    'addr add 10.1.2.9/24 dev br0 valid_lft 900 preferred_lft 900',
    'addr add 10.1.2.3 peer 10.1.2.4/32 dev here0',
    'addr add fd00::1/64 dev br0 nodad',
    'link add mac0 link uplink type macvlan mode bridge bcqueuelen 500',
    'link add mac1 link uplink type macvlan mode private',
    'tuntap add tap0 mode tap multi_queue',
    'tuntap add tun0 mode tun',
    'link add other0 type ifb',
  ]
  await host.output(['ip', '-batch', '-'], { stdin: `${lines.join('\n')}\n` })
  await container.output(['ip', 'link', 'set', 'eth0', 'up'])
  const kernel = createNetlink()
  const places = [
    { netns: `/proc/${host.pid}/ns/net`, show: () => host.output(['ip', '-j', '-d', 'addr', 'show']) },
    { netns: host.path(container.netns), show: () => container.output(['ip', '-j', '-d', 'addr', 'show']) },
  ]
  for (const { netns, show } of places) {
    // The kernel reports carriers and tests addresses a moment later.
    await vi.waitFor(
      async () => {
        for (const shown of JSON.parse(await show()) as ObservedLink[]) {
          const seen = kernel.look(shown.ifname, netns)
          expect(read(seen as ObservedLink)).toEqual(read(shown))
        }
      },
      { timeout: 20_000 },
    )
    expect(kernel.look('absent0', netns)).toBeUndefined()
  }
  expect(kernel.look('lo', '/run/netns/none')).toBe('unknown')
})

test('listening sockets are those of the namespace, and no connections', async ({ host }) => {
  const servers = [
    'TCP4-LISTEN:1001',
    'TCP6-LISTEN:1002,ipv6only=1',
    'TCP4-LISTEN:1003,bind=127.0.0.1',
    'UDP4-RECV:1004',
    'UDP6-RECV:1005',
    'TCP6-LISTEN:1006,bind=[::ffff:127.0.0.1]',
    'TCP6-LISTEN:1007,ipv6only=0',
  ]
  for (const server of servers) host.start(['socat', server, 'STDOUT'], { keepOpen: true })
  const starting = { timeout: 20_000 }
  const kernel = createNetlink()
  const netns = `/proc/${host.pid}/ns/net`
  const seen = () =>
    (['tcp', 'udp'] as const).flatMap((protocol) =>
      ([4, 6] as const).flatMap((family) =>
        (kernel.listening({ family, protocol, netns }) ?? []).map(
          ({ address, port, isIPv6Only }) => `${protocol} ${address} ${port}${isIPv6Only ? ' only' : ''}`,
        ),
      ),
    )
  await vi.waitFor(
    () =>
      expect(seen().sort()).toEqual([
        'tcp 0.0.0.0 1001',
        'tcp 127.0.0.1 1003',
        'tcp 127.0.0.1 1006',
        'tcp :: 1002 only',
        'tcp :: 1007',
        'udp 0.0.0.0 1004',
        'udp :: 1005',
      ]),
    starting,
  )
  host.start(['socat', 'TCP4:127.0.0.1:1001', 'EXEC:cat'], { keepOpen: true })
  const connections = () => host.output(['sh', '-c', 'grep -c " 01 " /proc/net/tcp'])
  await vi.waitFor(async () => expect(Number(await connections())).toBeGreaterThan(1), starting)
  expect(seen()).not.toContainEqual(expect.stringMatching(/^tcp 127.0.0.1 (?!1003|1006)/))
  const shown = await host.output(['cat', '/proc/net/tcp'])
  const [listener] = kernel.listening({ family: 4, protocol: 'tcp', netns })?.filter(({ port }) => port === 1003) ?? []
  expect(shown).toContain(` ${listener?.inode} `)
})
