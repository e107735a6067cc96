import { z } from 'zod'
import { checked, described, dns } from './config.schema.js'

const unsigned = z.int().min(0).max(4294967295)

const [old, newer] = [{ official: '0.6.0' }, { official: '1.6.0' }]

export const route = z.object({
  dst: described(checked('cidr'), 'Where it leads, such as "0.0.0.0/0".', old),
  gw: described(checked('addressOrEmpty').optional(), 'The next hop. Absent: the gateway of the address.', old),
  mtu: described(unsigned.optional(), 'The largest packet on it, in bytes.', newer),
  advmss: described(unsigned.optional(), 'The segment size to announce to TCP peers, in bytes.', newer),
  priority: described(unsigned.optional(), 'Its metric: of several the lowest counts.', newer),
  table: described(unsigned.optional(), 'The routing table it stands in.', newer),
  scope: described(z.int().min(0).max(255).optional(), 'A number as in /etc/iproute2/rt_scopes.', newer),
})

/** Addresses of one family in results of 0.1.0 and 0.2.0. */
const ip = z.object({
  ip: checked('cidr'),
  gateway: checked('addressOrEmpty').optional(),
  routes: z.array(route).optional(),
})

/**
 * Other plugins name what is no link, too (aws-cni: "dummy" and 11 digits, one byte too many for a link, with "0" as
 * its hardware address): it is handed on as it is. Who looks a name up, or makes a rule of it, asks `isLinkName` first.
 */
const networkInterface = z.object({
  name: z.string().default(''),
  mac: z.string().optional(),
  mtu: z.int().optional(),
  sandbox: z.string().optional(),
  socketPath: z.string().optional(),
  pciID: z.string().optional(),
})

const address = {
  address: checked('cidr'),
  gateway: checked('addressOrEmpty').optional(),
  interface: z.int().optional(),
}

const current = {
  cniVersion: z.string().optional(),
  interfaces: z.array(networkInterface).default([]),
  routes: z.array(route).default([]),
  dns: dns.optional(),
}

/** The result formats by family: A is 0.1.0 and 0.2.0, B is 0.3.0 to 0.4.0, C is 1.0.0 and 1.1.0. */
export const schemas = {
  A: z.object({ cniVersion: z.string().optional(), ip4: ip.optional(), ip6: ip.optional(), dns: dns.optional() }),
  B: z.object({ ...current, ips: z.array(z.object({ ...address, version: z.string().optional() })).default([]) }),
  C: z.object({ ...current, ips: z.array(z.object(address)).default([]) }),
}

export type Dns = z.infer<typeof dns>
export type Route = z.infer<typeof route>
export type NetworkInterface = z.infer<typeof networkInterface>
export type IpConfiguration = z.infer<(typeof schemas)['C']>['ips'][number]
export type ResultA = z.infer<(typeof schemas)['A']>
export type ResultBC = z.infer<(typeof schemas)['C']>
