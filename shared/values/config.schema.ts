import { z } from 'zod'
import { type CheckName, checks } from './checks.js'

/** A string that passes one of the named checks. */
export function checked(name: CheckName) {
  return z
    .string()
    .refine(checks[name].test, { error: `expected ${checks[name].expected}` })
    .meta({ check: name })
}

/**
 * Where a key comes from: the first release of the official suite that has it (absent: none has), and the first of
 * podwire.
 */
export interface Origin {
  readonly official?: string
  readonly since?: string
}

/** A key, or a plugin's whole configuration, with what `podwire explain`, docs/plugins and editors say of it. */
export function described<Schema extends z.ZodType>(schema: Schema, description: string, origin: Origin = {}): Schema {
  return schema.meta({ description, since: '0.1.0', ...origin }) as Schema
}

export const flag = z.boolean().default(false)
/** As old as the suite's oldest release that still matters. */
const old = { official: '0.6.0' }
export const linkName = checked('linkName')
/** A link's MTU in bytes. */
export const mtu = z.int().min(0).max(2147483647).default(0)

export const dns = z.object({
  nameservers: described(z.array(z.string()).optional(), 'Addresses of name servers, in the order to ask them.', old),
  domain: described(z.string().optional(), 'The local domain of short names.', old),
  search: described(z.array(z.string()).optional(), 'Domains to look for short names in.', old),
  options: described(z.array(z.string()).optional(), 'Options of the resolver, as in resolv.conf(5).', old),
})

/** `cni.dev/valid-attachments` of a GC call. */
const attachments = z.array(z.object({ containerID: z.string(), ifname: z.string() })).optional()

/**
 * What every plugin finds on stdin (SPEC.md, "Plugin configuration objects"). `ipam`, `args`, `runtimeConfig` and
 * `prevResult` stay open: their keys belong to others.
 */
export const networkConfiguration = z.object({
  cniVersion: described(
    z.string().optional(),
    'The version of the CNI specification that the configuration is written in, and the result is given in. Absent: 0.1.0.',
    old,
  ),
  cniVersions: described(
    z.unknown().optional(),
    'Versions among which the runtime chooses one; it stands in a list, and plugins leave it alone.',
    { official: '1.6.0' },
  ),
  name: described(
    z.string(),
    'The name of the network, the same for all plugins of a list: letters, digits, ".", "_" and "-".',
    old,
  ),
  type: described(z.string().optional(), "The plugin, by its file's name in CNI_PATH.", old),
  capabilities: described(
    z.record(z.string(), z.boolean()).optional(),
    'What of the runtime\'s data the plugin is given as "runtimeConfig", such as {"portMappings": true}.',
    old,
  ),
  disableCheck: described(z.unknown().optional(), 'The runtime never asks CHECK; it stands in a list.', {
    official: '0.8.0',
  }),
  disableGC: described(z.unknown().optional(), 'The runtime never asks GC; it stands in a list.', {
    official: '1.6.0',
  }),
  ipMasq: described(
    flag,
    'Masquerades what leaves the network: the world sees the address of the host. bridge and ptp do it; others leave the key alone.',
    old,
  ),
  ipam: described(
    z.looseObject({ type: z.string().optional() }).optional(),
    'Who gives the addresses: "type" names the IPAM plugin, and the other keys are its own. Without it the interface has no address.',
    old,
  ),
  dns: described(
    dns.optional(),
    'What the result says of name servers, for the runtime to hand to the container.',
    old,
  ),
  args: described(
    z.looseObject({ cni: z.looseObject({}).optional() }).optional(),
    'Data for plugins from who wrote the configuration; "cni" has those of the specification\'s conventions.',
    old,
  ),
  runtimeConfig: described(
    z.looseObject({}).optional(),
    'What the runtime fills in, by "capabilities"; it does not stand in a file.',
    old,
  ),
  prevResult: described(
    z.looseObject({}).optional(),
    'The result of the plugin before, which the runtime fills in; it does not stand in a file.',
    old,
  ),
  'cni.dev/valid-attachments': described(attachments, 'The attachments that GC keeps; the runtime fills it in.', {
    official: '1.10.0',
  }),
  'cni.dev/attachments': described(attachments, 'An older name of cni.dev/valid-attachments.', { official: '1.10.0' }),
})

export type NetworkConfiguration = z.infer<typeof networkConfiguration>
export const schema = networkConfiguration
