import { z } from 'zod'
import type { Host } from './host.js'
import { flattenRuleset } from './nftables.js'
import { observeHost, type RawNamespace, readFiles } from './observe.js'

/**
 * Kernel and disk state as sorted lines a person can read, one fact each, without what differs from run to run:
 * indexes, handles, counters, timers, random names and addresses.
 */
export type Snapshot = string[]

export interface SnapshotOptions {
  /** Directories of the host whose files belong to the state, such as a lease directory. */
  directories?: string[]
  /** MAC addresses that were asked for and must therefore be seen as they are. */
  knownMacs?: string[]
}

/** Takes the state of a host and its containers. */
export async function takeSnapshot(host: Host, options: SnapshotOptions = {}): Promise<Snapshot> {
  const places = Object.entries(await observeHost(host))
  const kernel = places.flatMap(([place, raw]) => namespaceLines(raw).map((line) => `${place}: ${line}`))
  const files = (options.directories ?? []).flatMap((directory) => fileLines(host, directory))
  return normalise(
    [...kernel, ...files],
    places.flatMap(([, { links }]) => links.map(nameOf)),
    options,
  )
}

/** A text naming the lines that only one of two snapshots has; empty when they are equal. */
export function difference(before: Snapshot, after: Snapshot): string {
  const { only, others } = compareLines(before, after)
  return [...only.map((line) => `- ${line}`), ...others.map((line) => `+ ${line}`)].join('\n')
}

/** The lines only the first has, and the lines only the second has. */
export function compareLines(first: Snapshot, second: Snapshot): { only: Snapshot; others: Snapshot } {
  return { only: without(first, second), others: without(second, first) }
}

// Lines are counted, not only looked up: two equal rules where there should be one are a difference.
function without(lines: Snapshot, removed: Snapshot): Snapshot {
  const left = [...removed]
  return lines.filter((line) => {
    const at = left.indexOf(line)
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
}

/** Replaces random host interface names by their number in order of creation, and MACs that nobody asked for. */
export function normalise(lines: Snapshot, linkNames: string[], options: SnapshotOptions = {}): Snapshot {
  const random = linkNames.filter((name) => /^veth[0-9a-f]{8,11}$/.test(name))
  const known = new Set(options.knownMacs)
  const replaced = lines.map((line) =>
    line
      .replace(/\bveth[0-9a-f]{8,11}\b/g, (name) =>
        random.includes(name) ? `veth#${random.indexOf(name)}` : 'veth#gone',
      )
      .replace(/\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b/g, (mac) => (known.has(mac) ? mac : '<mac>')),
  )
  return replaced.sort()
}

function namespaceLines(raw: RawNamespace): string[] {
  return [
    ...raw.links.flatMap(linkLines),
    ...raw.routes.flatMap(routeLine),
    ...raw.rules.map((rule) => `rule ${words(rule)}`),
    ...raw.vlans.map((vlan) => `vlan ${JSON.stringify(vlan)}`),
    ...raw.qdiscs.flatMap(qdiscLine),
    ...flattenRuleset(raw.nftables),
    ...raw.iptables.flatMap(iptablesLines),
    ...raw.sysctls.split('\n').flatMap((line) => line.replace('/proc/sys/net/', 'sysctl ').replace(':', ' ') || []),
  ]
}

const linkSchema = z.looseObject({
  ifname: z.string(),
  flags: z.array(z.string()),
  linkinfo: z
    .looseObject({
      info_kind: z.string().optional(),
      info_data: z.looseObject({}).optional(),
      info_slave_data: z.looseObject({}).optional(),
    })
    .optional(),
  addr_info: z.array(z.looseObject({ scope: z.string(), family: z.string() })),
})

const nameOf = (link: Record<string, unknown>): string => linkSchema.parse(link).ifname

function linkLines(raw: Record<string, unknown>): string[] {
  const link = linkSchema.parse(raw)
  const { info_kind: kind, info_data: data, info_slave_data: port } = link.linkinfo ?? {}
  const state = pick(link, ['mtu', 'txqlen', 'master', 'promiscuity', 'allmulti', 'ifalias', 'address'])
  const settings = pick(data ?? {}, ['vlan_filtering', 'mode', 'id', 'protocol'])
  const portState = pick(port ?? {}, ['hairpin', 'isolated', 'learning', 'flood'])
  const flags = link.flags.includes('UP') ? 'up' : 'down'
  // The kernel reports the carrier of these up to a second late, and with it whether a bridge's port forwards: of them
  // only the wish to be up is a fact, and of a pair both ends' wishes are in the snapshot.
  const isLate = ['bridge', 'veth', 'vlan', 'macvlan', 'ipvlan', 'tun'].includes(String(kind))
  const carrier = isLate ? '' : `operstate ${link['operstate']}`
  return [
    `link ${link.ifname} ${kind ?? ''} ${flags} ${carrier} ${words(state)} ${words(settings)}`
      .trim()
      .replace(/ +/g, ' '),
    ...(port === undefined ? [] : [`port ${link.ifname} ${words(portState)}`]),
    ...link.addr_info.flatMap((address) => addressLine(link.ifname, address)),
  ]
}

// Link-local addresses come from random MACs, a moment after the link is up: nothing a plugin decides on.
function addressLine(link: string, address: Record<string, unknown>): string[] {
  if (address['family'] === 'inet6' && address['scope'] === 'link') return []
  return [`address ${link} ${words(pick(address, ['local', 'prefixlen', 'broadcast', 'scope', 'nodad']))}`]
}

// The local table mirrors the addresses; fe80::/64 and ff00::/8 come and go with the carrier.
function routeLine(route: Record<string, unknown>): string[] {
  if (route['table'] === 'local' || /^(fe80::|ff00::)/.test(String(route['dst']))) return []
  // "linkdown" is the carrier again.
  const flags = ((route['flags'] ?? []) as string[]).filter((flag) => flag !== 'linkdown')
  return [`route ${words({ ...route, flags })}`]
}

function qdiscLine(qdisc: Record<string, unknown>): string[] {
  const { handle: _, refcnt: __, ...rest } = qdisc
  return qdisc['kind'] === 'noqueue' ? [] : [`qdisc ${words(rest)}`]
}

// The built-in chains come with the first look at a table: a policy that accepts is no fact.
function iptablesLines(text: string): string[] {
  let table = ''
  return text.split('\n').flatMap((line) => {
    if (line.startsWith('*')) table = line.slice(1)
    const fact = line.replace(/ ?\[\d+:\d+\]/, '')
    return /^-|^:(?!\S+ ACCEPT)/.test(line) ? [`iptables ${table} ${fact}`] : []
  })
}

function fileLines(host: Host, directory: string): string[] {
  return Object.entries(readFiles(host, directory)).map(
    ([name, content]) => `file ${directory}/${name} ${JSON.stringify(content)}`,
  )
}

function pick(source: Record<string, unknown>, keys: string[]): Record<string, unknown> {
  return Object.fromEntries(keys.filter((key) => source[key] !== undefined).map((key) => [key, source[key]]))
}

function words(facts: Record<string, unknown>): string {
  const empty = (value: unknown) => value === null || (Array.isArray(value) && value.length === 0)
  const entries = Object.entries(facts).filter(([, value]) => !empty(value))
  return entries.map(([key, value]) => `${key} ${typeof value === 'object' ? JSON.stringify(value) : value}`).join(' ')
}
