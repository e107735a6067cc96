import path from 'node:path'
import type { AnyPlugin } from '../../shared/program/plugin.js'
import { isIdentifier } from '../../shared/values/environment.js'
import { isVersion, versions, versionsSince } from '../../shared/values/version.js'
import { nearest } from '../frame/near.js'
import { isOnlyInlined, isTemplate, type Json, type Network, type PluginEntry, switchIn } from './documents.js'
import type { Finding } from './finding.js'
import { managedBridges } from './plugins.js'
import { shapeOf } from './shapes.js'

// What only the list as a whole shows: its name and version, capabilities, and what follows on what.

/** What is wrong with a network beyond its single plugins. */
export function chainFindings(network: Network, known: ReadonlyMap<string, AnyPlugin>): Finding[] {
  return [
    ...nameFindings(network),
    ...listKeyFindings(network),
    ...switchFindings(network),
    ...folderFindings(network),
    ...versionFindings(network, known),
    ...network.plugins.flatMap((entry) => capabilityFindings(network, entry, known)),
    ...orderFindings(network, known),
    ...hairpinFindings(network),
  ]
}

// --- internal

function nameFindings({ name, plugins, config, isFile, report }: Network): Finding[] {
  if (plugins.length === 0) return [report('value', 'error', 'plugins', 'the list has no plugin: no runtime takes it')]
  if (isTemplate(name)) return []
  if (config['name'] !== undefined && typeof config['name'] !== 'string') {
    return [report('name', 'error', 'name', 'the name is no text')]
  }
  if (name === '') return isFile ? [report('name', 'error', '', 'the network has no name', 'add "name"')] : []
  if (isIdentifier(name)) return []
  const fix = 'use letters, digits, ".", "_" and "-", the first one a letter or digit'
  return [report('name', 'error', 'name', `"${name}" is no name for a network`, fix)]
}

const listKeys = [
  'cniVersion',
  'cniVersions',
  'name',
  'disableCheck',
  'disableGC',
  'loadOnlyInlinedPlugins',
  'plugins',
  'args',
]

/** Keys beside "plugins": nobody hands them to a plugin. */
function listKeyFindings({ isList, config, plugins, report }: Network): Finding[] {
  if (!isList) return []
  return Object.keys(config).flatMap((key) => {
    if (listKeys.includes(key)) return []
    const meant = nearest(key, listKeys)
    if (meant) return [report('unknown-key', 'warning', key, `a list has no key "${key}"; did you mean "${meant}"?`)]
    const isKeyOf = ({ type }: PluginEntry) => Object.keys(keysOf(type)).includes(key)
    const owner = plugins.find(isKeyOf)
    if (!owner) return []
    const message = `"${key}" stands beside "plugins", where no plugin sees it; ${owner.type} has a key of that name`
    return [report('other-plugins-key', 'warning', key, message, `put it into ${owner.path}`)]
  })
}

/** Switches of a list that libcni cannot read, so that it refuses the list. */
function switchFindings({ isList, config, report }: Network): Finding[] {
  if (!isList) return []
  return ['disableCheck', 'disableGC', 'loadOnlyInlinedPlugins']
    .filter((key) => switchIn(config, key) === undefined && !isTemplate(config[key]))
    .map((key) => report('value', 'error', key, `${key} is neither true nor false: libcni refuses the list`))
}

/** The folder of the network's name beside its file. */
function folderFindings({ config, folder, report }: Network): Finding[] {
  const names = folder.map((file) => path.basename(file)).join(', ')
  if (names === '') return []
  const where = `the folder "${config['name']}" beside this file (${names})`
  if (isOnlyInlined(config)) {
    const message = `nobody loads what is in ${where}: only the plugins in this file count`
    return [report('plugin-folder', 'note', 'loadOnlyInlinedPlugins', message)]
  }
  const message = `libcni from 1.3 on appends the plugins in ${where}; before it, so in Podman 4 and containerd 1.x, not`
  const fix = 'write them into "plugins", and "loadOnlyInlinedPlugins": true'
  return [report('plugin-folder', 'note', 'plugins', message, fix)]
}

const newer = 'keep it for newer runtimes, which ask for STATUS and GC with it; else "1.0.0"'

function versionFindings(
  { cniVersion, config, plugins, isFile, report }: Network,
  known: ReadonlyMap<string, AnyPlugin>,
): Finding[] {
  if (config['cniVersion'] !== undefined && typeof config['cniVersion'] !== 'string') {
    return [report('cni-version', 'error', 'cniVersion', 'cniVersion is no text', 'put it in quotes')]
  }
  if (isTemplate(cniVersion)) return []
  const place = config['cniVersions'] === undefined ? 'cniVersion' : 'cniVersions'
  if (cniVersion === '') {
    const message = 'without cniVersion it is 0.1.0, whose results cannot say what later plugins need'
    return isFile ? [report('cni-version', 'note', '', message, 'add "cniVersion": "1.0.0"')] : []
  }
  if (!isVersion(cniVersion)) {
    const message = `there is no CNI version "${cniVersion}"`
    return [report('cni-version', 'error', place, message, `one of ${versions.join(', ')}`)]
  }
  const unable = plugins.filter(({ type }) => {
    const plugin = known.get(type)
    return plugin && !versionsSince(plugin.since).includes(cniVersion)
  })
  const isOld = versions.indexOf(cniVersion) < versions.indexOf('1.1.0')
  const needing = [
    ...(config['disableGC'] !== undefined ? ['disableGC'] : []),
    ...plugins.flatMap(({ path, config: { ipam } }) =>
      (ipam as Json | undefined)?.['statusOnFullRange'] === true
        ? [path === '' ? 'ipam.statusOnFullRange' : `${path}.ipam.statusOnFullRange`]
        : [],
    ),
  ]
  const tooNew = 'containerd before 2.0 and Podman 4 fail with results of 1.1.0: they know CNI up to 1.0.0'
  return [
    ...(isFile && config['cniVersion'] === '1.1.0' ? [report('cni-version', 'note', 'cniVersion', tooNew, newer)] : []),
    ...unable.map(({ type, path }) =>
      report(
        'cni-version',
        'error',
        path === '' ? 'type' : `${path}.type`,
        `${type} does not know cniVersion ${cniVersion}`,
      ),
    ),
    ...(isOld ? needing : []).map((key) =>
      report(
        'version-needed',
        'warning',
        key,
        `runtimes ask for STATUS and GC only from cniVersion 1.1.0 on, not with ${cniVersion}: this key has no effect`,
      ),
    ),
  ]
}

/** The capabilities of the specification's conventions. */
const conventions = [
  'portMappings',
  'ipRanges',
  'bandwidth',
  'dns',
  'ips',
  'mac',
  'infinibandGUID',
  'deviceID',
  'aliases',
  'cgroupPath',
]

function capabilityFindings({ report }: Network, entry: PluginEntry, known: ReadonlyMap<string, AnyPlugin>): Finding[] {
  const { type, path, config } = entry
  if (!known.has(type) || type === 'chain') return []
  const declared = Object.entries((config['capabilities'] ?? {}) as Json).flatMap(([name, on]) =>
    on === true ? [name] : [],
  )
  const place = path === '' ? 'capabilities' : `${path}.capabilities`
  const taken = takenBy(entry)
  const untaken = declared.filter(
    (name) => conventions.includes(name) && name !== 'dns' && taken && !taken.includes(name),
  )
  const misspelt = declared.flatMap((name) => {
    const meant = conventions.includes(name) || name.includes('.') ? undefined : nearest(name, conventions)
    return meant
      ? [
          report(
            'capability',
            'warning',
            `${place}.${name}`,
            `no runtime knows the capability "${name}"; did you mean "${meant}"?`,
          ),
        ]
      : []
  })
  const needed = needs[type]
  const isMissing = needed && !declared.includes(needed.capability) && !needed.isGiven(config)
  return [
    ...untaken.map((name) => {
      const message = `${type} does not take the capability "${name}": what the runtime gives is lost`
      return report(
        'capability',
        'warning',
        `${place}.${name}`,
        message,
        `declare it at the plugin that takes it${ownerOf(name)}`,
      )
    }),
    ...misspelt,
    ...(isMissing
      ? [
          report(
            'capability',
            'warning',
            path === '' ? 'type' : `${path}.type`,
            needed.message,
            `add "capabilities": {"${needed.capability}": true}`,
          ),
        ]
      : []),
  ]
}

/** Plugins that do nothing without what the runtime gives. */
const needs: Readonly<Record<string, { capability: string; message: string; isGiven: (config: Json) => boolean }>> = {
  portmap: {
    capability: 'portMappings',
    message: 'nobody declares portMappings: portmap gets no ports to publish',
    isGiven: ({ runtimeConfig }) => runtimeConfig !== undefined,
  },
  bandwidth: {
    capability: 'bandwidth',
    message: 'without rates and without the capability "bandwidth" nothing is limited',
    isGiven: ({ ingressRate, egressRate, runtimeConfig }) =>
      [ingressRate, egressRate, runtimeConfig].some((one) => one !== undefined),
  },
}

function ownerOf(capability: string): string {
  const owner = Object.entries(needs).find(([, { capability: own }]) => own === capability)
  return owner ? ` (${owner[0]})` : ''
}

/** What a plugin of ours and its IPAM plugin read of runtimeConfig; undefined where the IPAM plugin is another's. */
function takenBy({ type, config }: PluginEntry): readonly string[] | undefined {
  const { ipam } = config
  const ipamType = typeof ipam === 'object' && ipam !== null ? (ipam as Json)['type'] : undefined
  const own = runtimeKeys(type)
  if (typeof ipamType !== 'string' || ipamType === '') return own
  const ofIpam = runtimeKeys(ipamType)
  // portMappings and bandwidth are no IPAM plugin's.
  return ofIpam.length > 0
    ? [...own, ...ofIpam]
    : [...own, ...conventions.filter((one) => !['portMappings', 'bandwidth'].includes(one))]
}

function runtimeKeys(type: string): readonly string[] {
  const runtimeConfig = keysOf(type)['runtimeConfig']
  return runtimeConfig?.is === 'object' ? Object.keys(runtimeConfig.keys) : []
}

function keysOf(type: string) {
  const shape = shapeOf(type)
  return shape?.is === 'object' ? shape.keys : {}
}

const makers = ['bridge', 'ptp', 'macvlan', 'ipvlan', 'vlan', 'host-device', 'dummy', 'tap', 'flannel']

function orderFindings(network: Network, known: ReadonlyMap<string, AnyPlugin>): Finding[] {
  const { report } = network
  const plugins = network.plugins.filter(({ type }) => type !== 'chain')
  const isChained = ({ type }: PluginEntry) => known.get(type)?.prevResult?.ADD === 'required'
  return plugins.flatMap((entry, index) => {
    const place = entry.path === '' ? 'type' : `${entry.path}.type`
    const before = plugins.slice(0, index)
    if (isChained(entry) && before.every(isChained)) {
      const later = plugins.slice(index + 1).find((one) => !isChained(one))
      const where = later ? `${later.type}, which makes it, comes later` : 'no plugin makes it'
      return [
        report(
          'order',
          'error',
          place,
          `${entry.type} works on an interface, and ${where}`,
          'put the plugin that makes the interface first',
        ),
      ]
    }
    const policy = entry.type === 'firewall' ? entry.config['ingressPolicy'] : undefined
    const isOfBridge = policy === 'same-bridge' || policy === 'isolated'
    if (isOfBridge && before.every(({ type }) => type !== 'bridge' && known.has(type))) {
      const message = `ingressPolicy "${policy}" is for containers on a bridge, and no bridge comes before`
      return [report('order', 'error', `${entry.path}.ingressPolicy`, message)]
    }
    const first = before.find(({ type }) => makers.includes(type))
    if (first && makers.includes(entry.type)) {
      return [
        report(
          'order',
          'error',
          place,
          `${first.type} has made the interface already: ${entry.type} finds the name taken`,
          'make two networks of it',
        ),
      ]
    }
    return []
  })
}

function hairpinFindings({ plugins, report }: Network): Finding[] {
  if (!plugins.some(({ type }) => type === 'portmap')) return []
  return plugins.flatMap(({ type, path, config }) => {
    const isOff = type === 'bridge' && config['hairpinMode'] !== true && config['promiscMode'] !== true
    if (!isOff || managedBridges.includes(String(config['bridge']))) return []
    const message = 'behind portmap, without hairpinMode a container does not reach its own published ports'
    return [report('hairpin', 'warning', path === '' ? 'type' : `${path}.type`, message, 'add "hairpinMode": true')]
  })
}
