import { z } from 'zod'
import { checked } from '../values/config.schema.js'

/** Who a record is about. */
const attachment = z.object({
  network: checked('identifier'),
  containerID: checked('identifier'),
  ifName: checked('linkName'),
})

/** What names a network namespace: see net/netns.ts. */
const netns = z.object({
  path: z.string(),
  boot: z.string().optional(),
  inode: z.int().optional(),
  cookie: z.string().optional(),
  link: z.object({ index: z.int(), mac: z.string() }).optional(),
})

/** A file of records.ts. Version 1, that of podwire 0.1.0, says of namespaces in its data what it says. */
const record = z.object({ version: z.int().default(1), attachment, netns: netns.optional(), data: z.looseObject({}) })

/** Words of a route as `ip route` takes them. */
const words = z.array(checked('token'))
const put = z.object({ words, table: z.int() })
const port = z.object({
  protocol: z.enum(['tcp', 'udp', 'sctp']),
  host: z.int(),
  container: z.int(),
  address: checked('address').optional(),
})
const publication = z.object({
  family: z.enum(['ip', 'ip6']),
  address: checked('address'),
  cidr: checked('cidr'),
  ports: z.array(port),
  masquerade: z.enum(['hairpin', 'none', 'all']),
  alone: z.boolean().optional(),
  conditions: z.array(checked('token')),
  spared: z.array(port).optional(),
  waiting: z.boolean().optional(),
})
const portmap = z.object({
  backend: z.enum(['nftables', 'iptables']),
  publications: z.array(publication),
  mark: z.object({ bit: z.int().optional(), chain: checked('chainName').optional() }).optional(),
  heirs: z.array(attachment).optional(),
})

/**
 * The data of each kind of record, as the plugins write it: what is otherwise was garbled or planted, and is skipped.
 */
export const schemas = {
  record,
  bridge: z.object({ mac: checked('mac').optional(), guarded: z.boolean().optional() }),
  ptp: z.object({}),
  masquerade: z.object({ addresses: z.array(checked('cidr')), backend: z.enum(['nftables', 'iptables']) }),
  firewall: z.object({
    backend: z.enum(['nftables', 'iptables', 'firewalld']),
    addresses: z.array(checked('address')),
    zone: checked('token'),
    isolation: z
      .object({
        bridge: checked('linkName'),
        policy: z.enum(['same-bridge', 'isolated']),
        port: checked('linkName').optional(),
      })
      .optional(),
  }),
  portmap,
  'portmap-special': portmap,
  bandwidth: z.object({ link: checked('linkName'), ifb: checked('linkName').optional() }),
  sbr: z.object({
    rules: z.array(z.object({ from: checked('address'), table: z.int() })),
    put: z.array(put),
    taken: z.array(words),
  }),
  vrf: z.object({
    vrf: checked('linkName'),
    kept: z.object({
      addresses: z.array(z.object({ address: checked('cidr'), nodad: z.boolean() })),
      routes: z.array(put),
    }),
  }),
  'host-device': z.object({
    device: checked('linkName'),
    mac: checked('token').optional(),
    alias: checked('plainText').optional(),
    up: z.boolean(),
    kind: z.string().optional(),
    permanent: z.string().optional(),
    parent: z.string().optional(),
    network: z
      .object({
        addresses: z.array(
          z.object({
            address: checked('cidr'),
            broadcast: checked('address').optional(),
            nodad: z.boolean().optional(),
          }),
        ),
        routes: z.array(put),
        rules: z.array(words),
      })
      .optional(),
    leased: z.int().optional(),
    inside: z.object({ index: z.int(), link: z.int().optional(), netnsID: z.int().optional() }).optional(),
  }),
  'host-access': z.object({ shim: checked('linkName'), addresses: z.array(checked('address')) }),
  ipvlan: z.object({ master: z.int(), mode: z.string() }),
  ipam: z.object({
    sources: z.array(
      z.object({
        plugin: z.string(),
        type: z.string(),
        dataDir: checked('path').optional(),
        config: z.string().optional(),
        args: z.string().optional(),
      }),
    ),
  }),
}
