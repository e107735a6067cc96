import { names, plugins } from 'podwire:plugins'
import { differences } from '../../conformance/oracle/differences.js'

// What differs from the official suite, from the table that the comparison with it uses.

export interface PluginDifference {
  readonly what: string
  readonly reason: string
  /** Whom it concerns beside the plugin; absent where it is the plugin's own. */
  readonly group?: string
}

/** The differences of one plugin: its own, then those it shares with all of its kind. */
export async function differencesOf(name: string): Promise<readonly PluginDifference[]> {
  const rows = await Promise.all(
    differences.map(async (row) => ({ ...row, concerned: await concernedBy(row.plugins) })),
  )
  const ofPlugin = rows.filter(({ concerned }) => concerned.has(name))
  const own = ofPlugin.filter((row) => !isGroup(row.plugins)).map(({ what, reason }) => ({ what, reason }))
  const shared = ofPlugin
    .filter((row) => isGroup(row.plugins))
    .map(({ plugins: group, what, reason }) => ({ what, reason, group }))
  return [...own, ...shared]
}

/** Those that concern the same plugins, by whom: groups first, then plugins by name. */
export function differencesByPlugins(): ReadonlyMap<string, readonly PluginDifference[]> {
  const all = [...new Set(differences.map((row) => row.plugins))]
  const ofGroups = Object.keys(groups).filter((one) => all.includes(one))
  const order = [...ofGroups, ...all.filter((one) => !isGroup(one)).sort()]
  return new Map(order.map((one) => [one, differences.filter((row) => row.plugins === one)]))
}

/** The plugins that a row speaks of. @throws for words that are none of ours */
export async function concernedBy(who: string): Promise<ReadonlySet<string>> {
  if (groups[who]) return new Set(await groups[who]())
  const listed = who.split(', ')
  const unknown = listed.find((one) => !names.includes(one))
  if (unknown !== undefined) throw new Error(`the table of differences has a row of "${who}"`)
  return new Set(listed)
}

// --- internal

const groups: Readonly<Record<string, () => Promise<readonly string[]>>> = {
  all: async () => names,
  'all that make links': withAddresses,
  'all with addresses': withAddresses,
  'host-local, and all that use it': async () => ['host-local', ...(await withAddresses())],
}

function isGroup(who: string): boolean {
  return who in groups
}

async function withAddresses(): Promise<readonly string[]> {
  const loaded = await Promise.all(Object.entries(plugins).map(async ([name, load]) => ({ name, ...(await load()) })))
  return loaded.flatMap(({ name, default: plugin }) => (plugin.delegates ? [name] : []))
}
