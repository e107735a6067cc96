import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { createRunner } from '../../shared/exec/run.js'
import { stateRoot } from '../../shared/exec/state.js'
import { messageOf } from '../../shared/values/errno.js'
import { Ended, wrong } from '../frame/command.js'
import { removeIfEmpty } from './files.js'

// All of podwire's rules on this host that no other suite's DEL would take away, and the records of them: the tables
// podwire, the chains PODWIRE-*, and what lets containers through other chains. What the iptables backends publish and
// masquerade is in the official suite's own chains, and its DEL removes it. Links, addresses and leases stay.

/** One change of the rules: a program and what it reads. */
export interface RuleChange {
  readonly what: string
  readonly argv: readonly [string, ...string[]]
  readonly stdin: string
}

/** What would take the rules away; nothing where there are none. @throws Ended where it cannot look */
export function ruleChanges(run = runner()): readonly RuleChange[] {
  return [...savers.filter(isAsked).flatMap(({ tool }) => iptablesChanges(run, tool)), ...nftChanges(run)]
}

/** @throws Ended with what has failed */
export function applyRuleChanges(changes: readonly RuleChange[], run = runner()): void {
  for (const { argv, stdin, what } of changes) {
    const { status, stderr, failure } = run({ argv, stdin })
    if (status !== 0) throw new Ended(wrong, `${what}: ${stderr.split('\n')[0] || failure}`)
  }
}

/** The records of rules that are there, and counts of errors. */
export function ruleRecords(): readonly string[] {
  return kinds.map((kind) => `${stateRoot}/${kind}`).filter((folder) => existsSync(folder))
}

/** Removes records of rules, and of the folders of all records those that are empty. */
export function removeRuleRecords(): void {
  for (const folder of ruleRecords()) rmSync(folder, { recursive: true })
  if (!existsSync(stateRoot)) return
  const folders = readdirSync(stateRoot, { recursive: true, withFileTypes: true }).filter((one) => one.isDirectory())
  const paths = folders.map(({ parentPath, name }) => path.join(parentPath, name))
  for (const folder of paths.sort((one, other) => other.length - one.length)) removeIfEmpty(folder)
  removeIfEmpty(stateRoot)
}

/** What iptables-restore reads to take away our chains and the jumps to them, of what iptables-save printed. */
export function withoutChains(saved: string): string {
  const tables = new Map<string, { jumps: string[]; chains: string[] }>()
  let table = { jumps: [] as string[], chains: [] as string[] }
  for (const line of saved.split('\n')) {
    if (line.startsWith('*')) {
      table = { jumps: [], chains: [] }
      tables.set(line, table)
    }
    const chain = /^:(PODWIRE-(?:ADMITTED|GUARD)) /.exec(line)?.[1]
    if (chain !== undefined) table.chains.push(`-F ${chain}`, `-X ${chain}`)
    if (/^-A .*-j PODWIRE-(ADMITTED|GUARD)$/.test(line)) table.jumps.push(line.replace('-A', '-D'))
  }
  return [...tables]
    .filter(([, { chains, jumps }]) => chains.length + jumps.length > 0)
    .map(([name, { jumps, chains }]) => `${[name, ...jumps, ...chains, 'COMMIT'].join('\n')}\n`)
    .join('')
}

/** The commands of nft that take away our tables and our rules in others' chains, of what it lists of both. */
export function withoutTables(tables: string, ruleset: string): string {
  const own = tables.split('\n').filter((line) => /^table (ip|ip6|bridge) podwire$/.test(line))
  const rules: string[] = []
  let [table, chain] = ['', '']
  for (const line of ruleset.split('\n')) {
    const words = line.trim().split(/\s+/)
    if (words[0] === 'table') table = `${words[1]} ${words[2]}`
    if (words[0] === 'chain') chain = words[1] ?? ''
    const isOwn = line.includes(`comment "${comment}" # handle`) && !own.includes(`table ${table}`)
    if (isOwn) rules.push(`delete rule ${table} ${chain} handle ${words.at(-1)}\n`)
  }
  return [...own.map((line) => `delete ${line}\n`), ...rules].join('')
}

// --- internal

const comment = 'podwire: admitted by the firewall plugin'
const kinds = ['portmap', 'portmap-special', 'masquerade', 'firewall', 'firewall-holders', 'errors']

const savers = [
  { tool: 'iptables', names: '' },
  { tool: 'ip6tables', names: '' },
  { tool: 'iptables-legacy', names: '/proc/net/ip_tables_names' },
  { tool: 'ip6tables-legacy', names: '/proc/net/ip6_tables_names' },
] as const

/** The older kind is only asked where it is in use: asking brings it there. */
function isAsked({ names }: (typeof savers)[number]): boolean {
  try {
    return names === '' || (existsSync(names) && readFileSync(names, 'latin1') !== '')
  } catch (thrown) {
    throw new Ended(wrong, `only root may look at the rules: ${messageOf(thrown)}`)
  }
}

type Runner = ReturnType<typeof createRunner>

function runner(): Runner {
  const { env } = process
  return createRunner(env['PATH'] ? { callerPath: env['PATH'] } : {})
}

function iptablesChanges(run: Runner, tool: string): readonly RuleChange[] {
  const saved = answer(run, [`${tool}-save`])
  const stdin = saved === undefined ? '' : withoutChains(saved)
  return stdin === ''
    ? []
    : [{ what: `chains PODWIRE-* of ${tool}`, argv: [`${tool}-restore`, '--noflush', '--wait'], stdin }]
}

function nftChanges(run: Runner): readonly RuleChange[] {
  const tables = answer(run, ['nft', 'list', 'tables'])
  if (tables === undefined || tables === '') return []
  const stdin = withoutTables(tables, answer(run, ['nft', '-a', 'list', 'ruleset']) ?? '')
  return stdin === '' ? [] : [{ what: 'tables and rules of podwire in nftables', argv: ['nft', '-f', '-'], stdin }]
}

/** Undefined where the program is not installed, or the kernel has none of it. */
function answer(run: Runner, argv: readonly [string, ...string[]]): string | undefined {
  const { status, stdout, stderr, failure } = run({ argv })
  if (status === 0) return stdout
  if (failure === 'ENOENT' || stderr.includes('not supported')) return undefined
  throw new Ended(wrong, `${argv.join(' ')}: ${stderr.split('\n')[0] || failure || `status ${status}`}`)
}
