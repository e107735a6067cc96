import { parse } from 'yaml'
import { z } from 'zod'
import { parseCidr } from '../../shared/values/address.js'

// What the ConfigMap of the agent may say.

const cidr = z.string().refine((text) => parseCidr(text) !== undefined, 'expected a range such as 10.0.0.0/8')

const schema = z.strictObject({
  plugin: z.enum(['ptp', 'bridge']).default('ptp').describe('how pods are attached to their node'),
  list: z
    .boolean()
    .default(false)
    .describe('a list of plugins instead of one `chain`, for runtimes or tools that look into it'),
  cniVersion: z
    .enum(['1.0.0', '1.1.0'])
    .default('1.0.0')
    .describe('1.1.0 lets a runtime call STATUS and GC; containerd before 2.0 does not read it'),
  portmap: z.boolean().default(true).describe('host ports of pods'),
  bandwidth: z
    .boolean()
    .default(false)
    .describe('the annotations kubernetes.io/ingress-bandwidth and egress-bandwidth'),
  firewall: z.boolean().default(false).describe('lets the traffic of pods through a firewall of the node that drops'),
  masquerade: z.boolean().default(true).describe('what leaves the cluster bears the address of the node'),
  noMasquerade: z
    .array(cidr)
    .default([])
    .describe('ranges outside the cluster that see the addresses of pods themselves'),
  mtu: z.int().min(1280).max(65_535).optional().describe("of pods; unless given, the uplink's"),
  logLevel: z.enum(['error', 'warn', 'info', 'debug']).default('info').describe('what is said on standard error'),
})

export type Settings = z.infer<typeof schema>

/** What holds while nobody has said anything. */
export const usualSettings: Settings = schema.parse({})

/** The settings in a text of YAML, or what is wrong with it, one thing a line. */
export function readSettings(text: string): { readonly settings: Settings } | { readonly problems: readonly string[] } {
  let value: unknown
  try {
    value = parse(text, { maxAliasCount: 0 }) ?? {}
  } catch (thrown) {
    return { problems: [`it is no YAML: ${thrown instanceof Error ? thrown.message.split('\n')[0] : String(thrown)}`] }
  }
  const read = schema.safeParse(value)
  if (read.success) return { settings: read.data }
  return { problems: read.error.issues.map(({ path, message }) => `${path.join('.') || 'config.yaml'}: ${message}`) }
}

/** Each setting with its default and what it is for, as the table in the documentation has it. */
export function settingRows(): readonly (readonly [name: string, usual: string, what: string])[] {
  return Object.entries(schema.shape).map(([name, { description = '' }]) => {
    const usual = usualSettings[name as keyof Settings]
    return [name, usual === undefined ? 'none' : JSON.stringify(usual), description]
  })
}
