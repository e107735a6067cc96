import { z } from 'zod'
import { type CheckName, checks } from './checks.js'

/** A string that passes one of the named checks. */
export function checked(name: CheckName) {
  return z
    .string()
    .refine(checks[name].test, { error: `expected ${checks[name].expected}` })
    .meta({ check: name })
}

export const flag = z.boolean().default(false)
export const linkName = checked('linkName')
/** A link's MTU in bytes; 0 or absent leaves the kernel's choice. */
export const mtu = z.int().min(0).max(2147483647).default(0)

export const dns = z.object({
  nameservers: z.array(z.string()).optional(),
  domain: z.string().optional(),
  search: z.array(z.string()).optional(),
  options: z.array(z.string()).optional(),
})

/** `cni.dev/valid-attachments` of a GC call. */
const attachments = z.array(z.object({ containerID: z.string(), ifname: z.string() })).optional()

/**
 * What every plugin finds on stdin (SPEC.md, "Plugin configuration objects"). `ipam`, `args`, `runtimeConfig` and
 * `prevResult` stay open: their keys belong to others.
 */
export const networkConfiguration = z.object({
  cniVersion: z.string().optional(),
  cniVersions: z.unknown().optional(),
  name: z.string(),
  type: z.string().optional(),
  capabilities: z.record(z.string(), z.boolean()).optional(),
  disableCheck: z.unknown().optional(),
  disableGC: z.unknown().optional(),
  ipMasq: flag,
  ipam: z.looseObject({ type: z.string().optional() }).optional(),
  dns: dns.optional(),
  args: z.looseObject({ cni: z.looseObject({}).optional() }).optional(),
  runtimeConfig: z.looseObject({}).optional(),
  prevResult: z.looseObject({}).optional(),
  'cni.dev/valid-attachments': attachments,
  'cni.dev/attachments': attachments,
})

export type NetworkConfiguration = z.infer<typeof networkConfiguration>
export const schema = networkConfiguration
