import { someOtherRecord } from '../../shared/exec/records.js'
import { hasRule, iptablesTool, plainTools, savedRules } from '../../shared/net/iptables.js'
import type { Host } from '../../shared/plan/host.js'
import type { Observer, SavedRules } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { CniError, codes, type Problem } from '../../shared/values/errors.js'
import { unquoted } from '../../shared/values/token.js'
import { thingOf as addressThing, heldByOthers } from './admission.js'
import { othersHolding } from './holders.js'
import { type Isolation, thingOf } from './isolation.js'
import {
  addressRules,
  admittedBy,
  entryRule,
  type IngressPolicy,
  inNewWords,
  missingAddressRules,
  missingFirst,
  missingSkeleton,
  missingStages,
  oldEntryRule,
  policyRules,
  removeRule,
} from './rules.js'

/** What an attachment wants under the iptables backend. `addresses` are without prefix lengths. */
export interface Wanted {
  readonly addresses: readonly string[]
  readonly isolation?: Isolation
}

type Tool = (typeof plainTools)[keyof typeof plainTools]

/** Each family's rules, by the tool that has them. */
export type RulesSeen = ReadonlyMap<Tool, SavedRules>

/** What an ADD has to see. @throws code 101 where iptables is not installed */
export function lookToInstall({ observer }: Host, { addresses }: Wanted): RulesSeen {
  return new Map(toolsFor(addresses).map((tool) => [tool, requireRules(observer, tool)]))
}

/** The rules of the official plugin, in one transaction for each family that has an address. */
export function installRules(wanted: Wanted, adminChain: string, seen: RulesSeen): readonly Operation[] {
  return [...seen].flatMap(([tool, saved]) => missingRules(saved, tool, wanted, adminChain))
}

/** What a DEL has to see. */
export interface RemovalSeen {
  readonly rules: RulesSeen
  /** Addresses that others have been given since. */
  readonly held: ReadonlySet<string>
  /**
   * The tools whose rules admit addresses that no attachment of ours has: containers of the official plugin, which want
   * their bridge's policy, too. It is asked each time, because they come and go without telling.
   */
  readonly admittingOthers: ReadonlySet<Tool>
  /** The policies of the bridge that others want to be kept by these rules. */
  readonly wanted: readonly IngressPolicy[]
}

/** @param made by the backend that it names */
export function lookToRemove(
  host: Host,
  attachment: Attachment,
  { addresses, isolation, backend }: Wanted & { readonly backend: string },
): RemovalSeen {
  const rules = new Map(toolsFor(addresses).map((tool) => [tool, savedRules(host.observer, tool, 'filter')]))
  const held = heldByOthers(host, attachment, addresses)
  if (!isolation) return { rules, held, admittingOthers: new Set(), wanted: [] }
  const admitting = [...rules].filter(([, saved]) => admitsOthers(host, saved, addresses, attachment))
  return {
    rules,
    held,
    admittingOthers: new Set(admitting.map(([tool]) => tool)),
    wanted: policies.filter((policy) => isWantedBy(backend, host, attachment, { ...isolation, policy })),
  }
}

/**
 * Takes away what `installRules` made and nobody else wants; the shared chains stay, as the official plugin leaves
 * them.
 */
export function removeRules({ addresses, isolation }: Wanted, seen: RemovalSeen): readonly Operation[] {
  const free = addresses.filter((address) => !seen.held.has(address))
  return [...seen.rules].flatMap(([tool, saved]) => {
    const isKept = !isolation || seen.admittingOthers.has(tool)
    const shared = isKept ? [] : unwantedRules(isolation, seen.wanted)
    return removePresent(saved, tool, [...ofTool(free, tool).flatMap(addressRules), ...shared])
  })
}

/** What CHECK finds missing; it changes nothing. */
export function ruleDifferences(host: Host, wanted: Wanted, adminChain: string): readonly Problem[] {
  return [...lookToInstall(host, wanted)].flatMap(([tool, saved]) =>
    problemsOf(missingRules(saved, tool, wanted, adminChain), tool),
  )
}

/** The same of what the official plugin made; undefined where iptables is not installed, so that it cannot have. */
export function officialDifferences(host: Host, wanted: Wanted, adminChain: string): readonly Problem[] | undefined {
  return inTables(host, wanted, (saved, tool) => missingRules(saved, tool, wanted, adminChain))
}

/** The same of a bridge's policy alone. */
export function officialPolicy(host: Host, wanted: Required<Wanted>): readonly Problem[] | undefined {
  return inTables(host, wanted, (saved, tool) => missingPolicy(saved, tool, wanted.isolation))
}

// --- internal

function inTables(
  host: Host,
  { addresses }: Wanted,
  missing: (saved: SavedRules, tool: Tool) => readonly Operation[],
): readonly Problem[] | undefined {
  const tables = toolsFor(addresses).map((tool) => ({ tool, saved: host.observer.savedRules(tool, 'filter') }))
  if (tables.some(({ saved }) => saved === undefined)) return undefined
  return tables.flatMap(({ tool, saved = [] }) => problemsOf(missing(inNewWords(saved), tool), tool))
}

function problemsOf(missing: readonly Operation[], tool: Tool): readonly Problem[] {
  return missing.map(({ argv }) => ({
    path: `${tool} filter`,
    value: 'no rule',
    expected: argv.slice(2).join(' '),
    official: missingText(argv.slice(2)),
    fix: 'DEL and ADD the attachment: something flushed its rules',
  }))
}

/** What the official CHECK says of a rule that is to be added; of a chain nothing. */
function missingText([verb, chain = '', ...words]: readonly string[]): string | undefined {
  if (verb !== '-A' && verb !== '-I') return undefined
  const rule = words.map(unquoted)
  const leads = chain === 'FORWARD' || (chain === 'CNI-FORWARD' && rule[0] === '-m')
  return `expected ${leads ? `${chain} rule` : 'rule'} [${rule.join(' ')}] not found`
}

function missingPolicy(saved: SavedRules, tool: Tool, isolation: Isolation): readonly Operation[] {
  return [...missingStages(saved, tool), ...bridgeRules(saved, tool, isolation)]
}

function toolsFor(addresses: readonly string[]): readonly Tool[] {
  return Object.values(plainTools).filter((tool) => addresses.some((one) => iptablesTool(one) === tool))
}

function ofTool(addresses: readonly string[], tool: Tool): readonly string[] {
  return addresses.filter((address) => iptablesTool(address) === tool)
}

/** Adds what is wanted and not there. */
function missingRules(
  saved: SavedRules,
  tool: Tool,
  { addresses, isolation }: Wanted,
  adminChain: string,
): readonly Operation[] {
  return [
    ...missingSkeleton(saved, tool, adminChain),
    ...ofTool(addresses, tool).flatMap((address) => missingAddressRules(saved, tool, address)),
    ...(isolation ? missingPolicy(saved, tool, isolation) : []),
  ]
}

/** Removes those of the rules that are there. */
function removePresent(saved: SavedRules, tool: Tool, rules: readonly (readonly string[])[]): readonly Operation[] {
  return rules.filter((rule) => hasRule(saved, rule)).map((rule) => removeRule(tool, rule))
}

function requireRules(observer: Observer, tool: Tool): SavedRules {
  const saved = observer.savedRules(tool, 'filter')
  if (saved) return saved
  throw new CniError(codes.toolMissing, `cannot admit the container: the program "${tool}-save" is not installed`, {
    fix: 'install the package iptables, or leave out "backend"',
  })
}

function admitsOthers(host: Host, saved: SavedRules, addresses: readonly string[], attachment: Attachment): boolean {
  return admittedBy(saved).some(
    (address) => !addresses.includes(address) && othersHolding(host, addressThing(address), attachment) === 0,
  )
}

function bridgeRules(saved: SavedRules, tool: Tool, { bridge, policy }: Isolation): readonly Operation[] {
  return [...policyRules(bridge, policy), entryRule(bridge)].flatMap((rule) => missingFirst(saved, tool, rule))
}

/** A policy's rules go with the last attachment that wants it, the entry rule with the last that wants any. */
function unwantedRules(
  { bridge, policy }: Isolation,
  wanted: readonly IngressPolicy[],
): readonly (readonly string[])[] {
  const entries = [entryRule(bridge), oldEntryRule(bridge)]
  return [...(wanted.includes(policy) ? [] : policyRules(bridge, policy)), ...(wanted.length > 0 ? [] : entries)]
}

const policies: readonly IngressPolicy[] = ['same-bridge', 'isolated']

/**
 * Whether another attachment of a backend wants a policy. Those of other backends, which hold a policy by the same
 * name, have rules of their own; one whose record says nothing may be of this one.
 */
function isWantedBy(backend: string, host: Host, attachment: Attachment, { bridge, policy }: Isolation): boolean {
  if (othersHolding(host, thingOf({ bridge, policy }), attachment) === 0) return false
  return someOtherRecord<{ backend: string; isolation?: Isolation }>(host, 'firewall', attachment, (other) => {
    const { isolation } = other
    return isolation?.bridge === bridge && isolation.policy === policy && other.backend === backend
  })
}
