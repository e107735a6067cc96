import { parse } from 'yaml'
import { z } from 'zod'
import { parseCidr } from '../../shared/values/address.js'
import { isObject } from '../../shared/values/object.js'

// What the ConfigMap of the agent may say.

/** Bytes that a link of pods may have: of a veth pair and of a bridge. */
export const mostMtu = 65_535

/** Names of folders of settings that are no link's (net.ipv4.conf.all), and the loopback. */
const noLinks = ['all', 'default', 'lo']

/** An absolute path that says where it leads: a text with ".." or "." in it is a slip, or leads out of a mount. */
const absolute = (what: string, example: string) =>
  z
    .string()
    .max(4000)
    .regex(
      /^(\/(?!\.{1,2}(\/|$))[^/\s\p{Cc}]+)+$/u,
      `expected the absolute path of a ${what}, without ".", "..", "//", white space or a "/" at its end, such as ${example}`,
    )

const cidr = z.string().refine((text) => parseCidr(text) !== undefined, 'expected a range such as 10.0.0.0/8')

const schema = z.strictObject({
  plugin: z.enum(['ptp', 'bridge']).default('ptp').describe('how pods are attached to their node'),
  bridge: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/,
      'expected the name of a link, of 15 characters at the most, such as cni0',
    )
    .refine((name) => !noLinks.includes(name), 'expected a name that the kernel has no other use for, such as cni0')
    .optional()
    .describe('the name of the bridge; unless given, each range of the node has one of its own'),
  network: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/, 'expected the name of a network')
    .default('podwire')
    .describe('the name of the network; networks of one name share their leases'),
  dataDir: absolute('folder', '/run/cni-ipam-state')
    .optional()
    .describe('the folder of leases; unless given, `/var/lib/cni/networks`'),
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
  mtu: z.int().min(1280).max(mostMtu).optional().describe("of pods; unless given, the uplink's"),
  gc: z
    .boolean()
    .default(false)
    .describe(
      "removes what dead pods left; it needs `deploy/gc.yaml`, which makes the agent as mighty as the node's root",
    ),
  gcSocket: absolute('socket', '/run/containerd/containerd.sock')
    .optional()
    .describe('where `gc` asks the runtime (CRI); unless given, where containerd, CRI-O and k3s listen'),
  logLevel: z.enum(['error', 'warn', 'info', 'debug']).default('info').describe('what is said on standard error'),
})

export type Settings = z.infer<typeof schema>

/** What holds while nobody has said anything. */
export const usualSettings: Settings = schema.parse({})

/**
 * The text of the settings in a ConfigMap. Where it has none, but keys that nobody reads, such as a misspelt one, they
 * stand in it as the settings that they are not: taken for nothing, they would give away the leases of another network.
 */
export function configurationIn(configMap: unknown): string {
  const value = isObject(configMap) ? configMap['data'] : undefined
  const data = isObject(value) ? value : {}
  const text = data['config.yaml']
  if (typeof text === 'string') return text
  const others = Object.keys(data).filter((key) => key !== 'apiServer')
  return others.length === 0 ? '' : JSON.stringify(Object.fromEntries(others.map((key) => [key, null])))
}

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
