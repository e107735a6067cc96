import { ipams, names, plugins } from 'podwire:plugins'
import { type Host, throwTogether } from '../../shared/plan/host.js'
import { type Delegates, invoke, readRequest } from '../../shared/program/invoke.js'
import type { AnyPlugin } from '../../shared/program/plugin.js'
import { isIdentifier } from '../../shared/values/environment.js'
import { asCniError, type CniError } from '../../shared/values/errors.js'
import { isObject } from '../../shared/values/object.js'
import { flat, type KnownAttachment } from './node.js'
import { objectsIn, textIn } from './reader.js'
import { release, removeUnchanged } from './release.js'
import type { CachedResult } from './results.js'

// What `podwire gc` takes from a dead attachment: what a DEL of its chain would, plugin by plugin, by this suite's
// plugins, which take away what the official ones leave, too.

type Json = Readonly<Record<string, unknown>>

/** What belongs to an attachment that gc would take. */
export interface Belongings {
  readonly attachment: KnownAttachment
  readonly leases: readonly string[]
  readonly records: readonly string[]
  /** Cached results; none where a plugin of another suite has yet to be asked by the runtime. */
  readonly results: readonly string[]
  /** The plugins whose rules and links go. */
  readonly plugins: readonly string[]
  /** Types in its chain of another suite, which only the runtime asks. */
  readonly foreign: readonly string[]
}

/** What would be taken of an attachment; undefined where that is nothing. */
export function belongingsOf(attachment: KnownAttachment): Belongings | undefined {
  const { network, containerID, results, records, leases } = attachment
  if (!isIdentifier(network) || !isIdentifier(containerID)) return undefined
  const foreign = foreignTypes(attachment)
  const isOwn = foreign.length === 0
  if (!isOwn && records.length === 0 && leases.length === 0) return undefined
  return {
    attachment,
    leases: leases.map(({ file }) => file),
    records: records.map(({ file }) => file),
    results: isOwn ? results.map(({ file }) => file) : [],
    plugins: callsOf(attachment).map(({ name }) => name),
    foreign,
  }
}

/** Every plugin of this suite, loaded: verbs are synchronous. */
export async function loadPlugins(): Promise<ReadonlyMap<string, AnyPlugin>> {
  const all = Object.entries(plugins).map(async ([name, load]) => [name, (await load()).default] as const)
  return new Map(await Promise.all(all))
}

/**
 * Takes what belongs to a dead attachment; the cached result last, so that what failed is found again.
 * @returns words for what is gone
 * @throws CniError when something is left
 */
export function collect(
  host: Host,
  { attachment, foreign }: Belongings,
  { loaded, bin }: { loaded: ReadonlyMap<string, AnyPlugin>; bin: string },
): readonly string[] {
  const taken: string[] = []
  const failures: CniError[] = []
  const attempt = (what: string, body: () => boolean) => {
    try {
      if (body()) taken.push(what)
    } catch (thrown) {
      failures.push(asCniError(thrown))
    }
  }
  for (const { name, config, args } of callsOf(attachment)) {
    const plugin = loaded.get(name)
    attempt(`rules and links of ${name}`, () => {
      if (!plugin) return false
      invoke(plugin, requestOf(attachment, { config, args, bin }), host, delegatesOf(loaded, attachment))
      return true
    })
  }
  for (const lease of attachment.leases) {
    attempt(lease.file, () => {
      release(host, lease)
      return true
    })
  }
  if (failures.length === 0) {
    for (const record of attachment.records) attempt(record.file, () => removeUnchanged(record) || true)
    for (const result of foreign.length > 0 ? [] : attachment.results)
      attempt(result.file, () => removeUnchanged(result))
  }
  throwTogether(failures)
  return taken
}

// --- internal

/** One DEL. */
interface PluginCall {
  readonly name: string
  readonly config: Json
  readonly args: string
}

/** Which plugin removes what a kind of record tells of. */
const removers: Readonly<Record<string, string>> = { masquerade: 'bridge', 'host-access': 'macvlan', ipam: '' }

/** The types of the chain, and its sources of addresses, that are of no suite we know how to take away. */
function foreignTypes({ results, records }: KnownAttachment): readonly string[] {
  const types = results.flatMap(({ plugins }) =>
    flat(plugins).flatMap((one) => [textIn(one, 'type'), textIn(one['ipam'], 'type')]),
  )
  const sources = records.flatMap(({ data }) => objectsIn(data['sources']).map((source) => textIn(source, 'type')))
  return [...new Set([...types, ...sources])].filter((type) => type !== '' && !names.includes(type))
}

/** The DELs of an attachment, the chain's last plugin first, then of what only records tell of. */
function callsOf({ results, records, network }: KnownAttachment): readonly PluginCall[] {
  const chains = results.flatMap((result) => {
    const { list, args } = result
    const version = textIn(list, 'cniVersion') || '0.4.0'
    return flat(result.plugins)
      .toReversed()
      .filter((one) => isRemover(textIn(one, 'type')))
      .map((one) => ({
        name: textIn(one, 'type'),
        args,
        config: configOf(one, version, result),
      }))
  })
  const called = new Set(chains.map(({ name }) => name))
  const hasMain = called.has('bridge') || called.has('ptp')
  const kinds = new Set(records.map(({ kind }) => (kind === 'masquerade' && hasMain ? '' : (removers[kind] ?? kind))))
  const others = [...kinds].filter((name) => isRemover(name) && !called.has(name))
  const minimal = { cniVersion: '1.0.0', name: network }
  return [...others.map((name) => ({ name, args: '', config: { ...minimal, type: name } })), ...chains]
}

function isRemover(type: string): boolean {
  return names.includes(type) && !ipams.includes(type) && type !== 'chain'
}

/** What libcni would give a plugin, without IPAM: leases are released by themselves. */
function configOf(plugin: Json, version: string, { network, capabilities, result }: CachedResult): Json {
  const { ipam: _, ...config } = plugin
  const declared = isObject(plugin['capabilities']) ? plugin['capabilities'] : {}
  const runtimeConfig = Object.fromEntries(Object.entries(capabilities).filter(([key]) => declared[key] === true))
  return {
    ...config,
    cniVersion: version,
    name: network,
    ...(Object.keys(runtimeConfig).length > 0 ? { runtimeConfig } : {}),
    ...(textIn(result, 'cniVersion') === version ? { prevResult: result } : {}),
  }
}

function requestOf(
  { containerID, ifName }: KnownAttachment,
  { config, args, bin }: { config: Json; args: string; bin: string },
) {
  const environment = { command: 'DEL', containerID, ifName, args, path: bin, netns: '', netnsOverride: false }
  return readRequest(environment, JSON.stringify(config))
}

/** Where addresses came from is on record, and with the record they go back: by host-local of this suite. */
function delegatesOf(loaded: ReadonlyMap<string, AnyPlugin>, { records }: KnownAttachment): Delegates {
  const hostLocal = records.some(({ kind }) => kind === 'ipam') ? loaded.get('host-local') : undefined
  return hostLocal ? { hostLocal } : {}
}
