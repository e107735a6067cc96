import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Container } from './container.js'
import type { Host } from './host.js'
import type { ProcessOptions } from './process.js'

/** What the commands that show kernel state printed in one network namespace, as it came. */
export interface RawNamespace {
  links: Record<string, unknown>[]
  routes: Record<string, unknown>[]
  rules: Record<string, unknown>[]
  vlans: Record<string, unknown>[]
  qdiscs: Record<string, unknown>[]
  nftables: string
  iptables: string[]
  sysctls: string
}

interface Place {
  output(argv: readonly string[], options?: ProcessOptions): Promise<string>
}

// The sysctls that some plugin of either suite writes, by the interface or for the namespace.
const interfaceSysctls = [
  'ipv4/conf/*/arp_notify',
  'ipv4/conf/*/route_localnet',
  'ipv6/conf/*/accept_ra',
  'ipv6/conf/*/accept_dad',
  'ipv6/conf/*/enhanced_dad',
  'ipv6/conf/*/disable_ipv6',
  'ipv6/conf/*/keep_addr_on_down',
  'ipv6/conf/*/ndisc_notify',
]
const sysctls = ['ipv4/ip_forward', 'ipv6/conf/all/forwarding', ...interfaceSysctls].map(
  (key) => `/proc/sys/net/${key}`,
)

/** Reads everything a CNI plugin can change in a network namespace. */
async function observeNamespace(place: Place): Promise<RawNamespace> {
  const json = async (...argv: string[]) => {
    const text = await place.output(argv)
    return (text.trim() === '' ? [] : JSON.parse(text)) as Record<string, unknown>[]
  }
  // The shell expands the wildcards inside the namespace; nothing but our own constants is in that text.
  const readSysctls = `grep -s . ${sysctls.join(' ')}; true`
  const [links, routes4, routes6, rules4, rules6, vlans, qdiscs, nftables, iptables, ip6tables, values] =
    await Promise.all([
      json('ip', '-j', '-d', 'address'),
      json('ip', '-j', '-d', '-4', 'route', 'show', 'table', 'all'),
      json('ip', '-j', '-d', '-6', 'route', 'show', 'table', 'all'),
      json('ip', '-j', '-4', 'rule'),
      json('ip', '-j', '-6', 'rule'),
      json('bridge', '-j', 'vlan'),
      json('tc', '-j', 'qdisc'),
      place.output(['nft', '-s', 'list', 'ruleset']),
      place.output(['iptables-save']),
      place.output(['ip6tables-save']),
      place.output(['sh', '-c', readSysctls]),
    ])
  const rules = [...rules4, ...rules6.map((rule) => ({ family: 'inet6', ...rule }))]
  const routes = [...routes4, ...routes6.map((route) => ({ family: 'inet6', ...route }))]
  return { links, routes, rules, vlans, qdiscs, nftables, iptables: [iptables, ip6tables], sysctls: values }
}

/** Reads the host and all its containers, by container name. */
export async function observeHost(host: Host): Promise<Record<string, RawNamespace>> {
  const places: [string, Host | Container][] = [['host', host], ...host.containers.map(named)]
  return Object.fromEntries(
    await Promise.all(places.map(async ([name, place]) => [name, await observeNamespace(place)] as const)),
  )
}

const named = (container: Container): [string, Container] => [container.name, container]

/**
 * Every file below a directory of the host with its content, by relative path; empty when there is no directory.
 * Namespaces have names in the file system and no content.
 */
export function readFiles(host: Host, directory: string): Record<string, string> {
  const top = host.path(directory)
  if (!existsSync(top)) return {}
  const files = readdirSync(top, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const contents = files.map((file) => {
    const path = join(file.parentPath, file.name)
    const content = file.parentPath.endsWith('/netns') ? '' : readFileSync(path, 'utf8')
    return [path.slice(top.length + 1), content] as const
  })
  return Object.fromEntries(contents.sort(([a], [b]) => (a < b ? -1 : 1)))
}
