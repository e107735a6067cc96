import { ipams, names, plugins } from 'podwire:plugins'

import type { Host } from '../../shared/plan/host.js'
import type { AnyPlugin, Call } from '../../shared/program/plugin.js'
import { accept } from '../../shared/values/accept.js'
import type { Problem } from '../../shared/values/errors.js'
import type { Shape } from '../../shared/values/shape.js'
import { isVersion, type Version } from '../../shared/values/version.js'
import { nearest } from '../frame/near.js'
import { isTemplate, type Json, type Network, type PluginEntry } from './documents.js'
import type { Finding } from './finding.js'
import { shapeOf } from './shapes.js'

// One plugin's keys and values against what the plugin itself takes: its shape, and what it refuses by several keys.

/** Every plugin of this suite, loaded. */
export async function loadPlugins(): Promise<ReadonlyMap<string, AnyPlugin>> {
  const all = Object.entries(plugins).map(async ([name, load]) => [name, (await load()).default] as const)
  return new Map(await Promise.all(all))
}

/** What is wrong with the plugins of a network, one by one. */
export function pluginFindings(network: Network, known: ReadonlyMap<string, AnyPlugin>): Finding[] {
  return network.plugins.flatMap((entry) => {
    if (entry.type === '' || entry.type.includes('/')) {
      const message = entry.type === '' ? 'the plugin has no type' : `type "${entry.type}" is no name of a file`
      return [network.report('type', 'error', at(entry, 'type'), message, 'name the plugin, such as "bridge"')]
    }
    if (ipams.includes(entry.type) && network.plugins.length === 1) return []
    const own = known.get(entry.type)
    const spelling = own ? undefined : nearest(entry.type, names)
    if (!own)
      return spelling && spelling !== entry.type
        ? [misspelt(network, entry, spelling)]
        : ipamFindings(network, entry, known, true)
    return [...ownFindings(network, entry, own), ...ipamFindings(network, entry, known, false)]
  })
}

/** Bridges whose managers write the node's range into the file before a plugin reads it. */
export const managedBridges = ['kube-bridge']

// --- internal

function at({ path }: PluginEntry, key: string): string {
  return path === '' ? key : `${path}.${key}`
}

/** A foreign plugin's name may be near one of ours by chance, so it is no more than a note. */
function misspelt(network: Network, entry: PluginEntry, meant: string): Finding {
  const message = `no plugin of this suite is named "${entry.type}"; did you mean "${meant}"?`
  return network.report('type', 'note', at(entry, 'type'), message)
}

function ownFindings(network: Network, entry: PluginEntry, plugin: AnyPlugin): Finding[] {
  const shape = shapeOf(entry.type)
  if (!shape) return []
  return judged(
    network,
    entry,
    plugin,
    shape,
    entry.config,
    (path) => !path.startsWith('ipam.') && path !== 'cniVersion',
  )
}

/** The IPAM plugin's own keys; of another suite's main plugin, too, whose `ipam` names one of ours. */
function ipamFindings(
  network: Network,
  entry: PluginEntry,
  known: ReadonlyMap<string, AnyPlugin>,
  isForeign: boolean,
): Finding[] {
  const { ipam } = entry.config
  if (typeof ipam !== 'object' || ipam === null || Array.isArray(ipam)) return []
  const type = (ipam as Json)['type']
  if (typeof type !== 'string' || type === '') return []
  if (names.includes(type) && !ipams.includes(type)) {
    return [
      network.report(
        'value',
        'error',
        at(entry, 'ipam.type'),
        `${type} is no IPAM plugin`,
        `use ${ipams.join(' or ')}`,
      ),
    ]
  }
  const [plugin, shape] = [known.get(type), shapeOf(type)]
  if (!plugin || !shape || isForeign) return []
  return judged(network, entry, plugin, shape, entry.config, (path) => path.startsWith('ipam'))
}

function judged(
  network: Network,
  entry: PluginEntry,
  plugin: AnyPlugin,
  shape: Shape,
  config: Json,
  isOurs: (path: string) => boolean,
): Finding[] {
  const { value, problems, unknown } = accept({ ...config, name: network.name || 'network' }, shape)
  const refused = problems.length > 0 || value === undefined ? [] : refusals(plugin, value as Json, network)
  const wrong = [...problems, ...refused].filter((problem) => isOurs(problem.path) && !isTemplate(problem.value))
  const isIpam = ipams.includes(plugin.name)
  const strange = unknown.filter(({ path }) => (path === '(top level)' ? !isIpam : isOurs(path)))
  return [
    ...wrong.map((problem) => valueFinding(network, entry, problem)),
    ...strange.flatMap(({ path, key, known }) =>
      keyFinding(network, entry, plugin.name, path === '(top level)' ? '' : path, key, known),
    ),
  ]
}

function valueFinding(network: Network, entry: PluginEntry, { path, value, expected, fix }: Problem): Finding {
  const shown = value === undefined ? `${path} is missing` : `${path}: ${short(value)} is wrong`
  const isUnfilled = isLeftToManager(entry, path)
  return network.report('value', isUnfilled ? 'note' : 'error', at(entry, path), `${shown}; expected ${expected}`, fix)
}

function isLeftToManager({ config }: PluginEntry, path: string): boolean {
  return path === 'ipam.ranges' && managedBridges.includes(String(config['bridge']))
}

function short(value: unknown): string {
  const text = JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

/** Keys that lists give every plugin, and what people write for people. */
const harmless = /^(_|\/\/|\$)|^comments?$|^description$/i

function keyFinding(
  network: Network,
  entry: PluginEntry,
  plugin: string,
  path: string,
  key: string,
  known: readonly string[],
): Finding[] {
  if (harmless.test(key)) return []
  const place = at(entry, path === '' ? key : `${path}.${key}`)
  const meant = nearest(key, known)
  const ignored = `${plugin} does not know "${key}" and ignores it`
  if (meant)
    return [network.report('unknown-key', 'warning', place, `${ignored}; did you mean "${meant}"?`, `write "${meant}"`)]
  const owners = path === '' ? names.filter((name) => topKeys(name).includes(key.toLowerCase())) : []
  if (owners.length > 0 && key !== 'mtu') {
    return [network.report('other-plugins-key', 'warning', place, `${ignored}; it is a key of ${owners.join(', ')}`)]
  }
  return [network.report('unknown-key', 'note', place, ignored)]
}

function topKeys(name: string): readonly string[] {
  const shape = shapeOf(name)
  return shape?.is === 'object' ? Object.keys(shape.keys).map((key) => key.toLowerCase()) : []
}

/** What the plugin refuses by several keys together; what it would have to look at the host for is not asked here. */
function refusals(plugin: AnyPlugin, config: Json, network: Network): readonly Problem[] {
  const version = (isVersion(network.cniVersion) ? network.cniVersion : '1.1.0') as Version
  const call = {
    plugin: plugin.name,
    version,
    config,
    stdin: '',
    environment: {
      command: 'ADD',
      containerID: 'lint',
      netns: '',
      ifName: 'eth0',
      args: '',
      path: '',
      netnsOverride: false,
    },
    attachment: { network: network.name, containerID: 'lint', ifName: 'eth0' },
    args: new Map(),
    host: nobody,
  } as unknown as Call<unknown>
  try {
    return (plugin.refuse?.(call) ?? []).filter(({ path }) => !isOfRuntime(plugin, path, config))
  } catch (thrown) {
    if (thrown instanceof NeedsHost) return []
    throw thrown
  }
}

/** Addresses that a runtime may still name; the caller's variables; who else is installed. */
function isOfRuntime(plugin: AnyPlugin, path: string, config: Json): boolean {
  if (plugin.name === 'static' && path.startsWith('ipam')) {
    const { addresses = [] } = (config['ipam'] ?? {}) as { addresses?: readonly unknown[] }
    return addresses.length === 0
  }
  const { ipRanges } = (config['capabilities'] ?? {}) as { ipRanges?: unknown }
  if (path === 'ipam.ranges' && ipRanges === true) return true
  return path.startsWith('CNI_') || path.startsWith('runtimeConfig') || path.startsWith('prevResult')
}

class NeedsHost extends Error {}

/** There is no host to look at. */
const nobody = new Proxy({} as Host, {
  get() {
    throw new NeedsHost()
  },
})
