import { cases, seen, told } from 'podwire:differences'
import { names, plugins } from 'podwire:plugins'

// What differs from the official suite, as the README and the comparison with the official suite have it.

export interface PluginDifference {
  readonly what: string
  readonly reason: string
  /** Whom it concerns beside the plugin, as README says it; absent where it is the plugin's own. */
  readonly group?: string
}

/** The differences of one plugin: its own, then those it shares with all of its kind. */
export async function differencesOf(name: string): Promise<readonly PluginDifference[]> {
  const rows = await Promise.all(told.map(async (row) => ({ ...row, concerned: await concernedBy(row.who) })))
  const ofTable = rows.filter(({ concerned }) => concerned.has(name))
  const ofCases = seen.filter((row) => row.test === undefined && row.cases !== undefined && concerns(row.cases, name))
  const own = ofTable.filter(({ who }) => !isGroup(who)).map(({ what, reason }) => ({ what, reason }))
  const shared = ofTable
    .filter(({ who }) => isGroup(who))
    .map(({ who, what, reason }) => ({ what, reason, group: who }))
  return [...own, ...ofCases.map(({ what, reason }) => ({ what, reason })), ...shared]
}

/** The plugins that a first cell of the table speaks of. @throws for words that are none of ours */
export async function concernedBy(who: string): Promise<ReadonlySet<string>> {
  if (groups[who]) return new Set(await groups[who]())
  const listed = who.split(', ')
  const unknown = listed.find((one) => !names.includes(one))
  if (unknown !== undefined) throw new Error(`README's table of differences has a row of "${who}"`)
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

/** Whether a row appears in the configurations of a plugin, whose names begin with its name. */
function concerns(pattern: RegExp, name: string): boolean {
  const own = cases.filter((one) => pluginOfCase(one) === name)
  const matching = cases.filter((one) => pattern.test(one))
  return own.some((one) => matching.includes(one))
}

function pluginOfCase(one: string): string | undefined {
  const fitting = names.filter((name) => one === name || one.startsWith(`${name}-`))
  return fitting.sort((left, right) => right.length - left.length)[0]
}
