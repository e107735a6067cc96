import { someRecord } from '../../shared/exec/records.js'
import { hasRule, iptablesTool, savedRules } from '../../shared/net/iptables.js'
import type { Host } from '../../shared/plan/host.js'
import type { SavedRules } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { CniError, codes, type Problem } from '../../shared/values/errors.js'
import { attachmentHash } from '../../shared/values/names.js'
import { thingOf as addressThing, heldByOthers } from './admission.js'
import { exclusively, hold, othersHolding, release } from './holders.js'
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

type Tool = 'iptables' | 'ip6tables'

/**
 * The rules of the official plugin, in one look and one transaction for each family that has an address. Under a lock,
 * because iptables cannot say "unless it is there": parallel ADDs would double the shared rules.
 */
export function installRules(host: Host, attachment: Attachment, wanted: Wanted, adminChain: string): void {
  exclusively(host, () => {
    const plan = toolsFor(wanted.addresses).flatMap((tool) =>
      missingRules(requireRules(host, tool), tool, wanted, adminChain),
    )
    if (wanted.isolation) hold(host, thingOf(wanted.isolation), attachment)
    host.apply(plan)
  })
}

/**
 * Takes away what `installRules` made and nobody else wants; the shared chains stay, as the official plugin leaves
 * them.
 */
export function removeRules(host: Host, attachment: Attachment, { addresses, isolation }: Wanted): void {
  exclusively(host, () => {
    const held = heldByOthers(host, attachment, addresses)
    const free = addresses.filter((address) => !held.has(address))
    const plan = toolsFor(addresses).flatMap((tool) => {
      const saved = savedRules(host.observer, tool, 'filter')
      const isKept = !isolation || admitsOthers(host, saved, addresses, attachment)
      const shared = isKept ? [] : unwantedRules(host, isolation, attachment)
      return removePresent(saved, tool, [...ofTool(free, tool).flatMap(addressRules), ...shared])
    })
    host.sweep(plan)
    if (isolation) release(host, thingOf(isolation), attachment)
  })
}

/** What CHECK finds missing; it changes nothing. */
export function ruleDifferences(host: Host, wanted: Wanted, adminChain: string): readonly Problem[] {
  return toolsFor(wanted.addresses).flatMap((tool) =>
    problemsOf(missingRules(requireRules(host, tool), tool, wanted, adminChain), tool),
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
    fix: 'DEL and ADD the attachment: something flushed its rules',
  }))
}

function missingPolicy(saved: SavedRules, tool: Tool, isolation: Isolation): readonly Operation[] {
  return [...missingStages(saved, tool), ...bridgeRules(saved, tool, isolation)]
}

function toolsFor(addresses: readonly string[]): readonly Tool[] {
  return (['iptables', 'ip6tables'] as const).filter((tool) => addresses.some((one) => iptablesTool(one) === tool))
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

function requireRules(host: Host, tool: Tool): SavedRules {
  const saved = host.observer.savedRules(tool, 'filter')
  if (saved) return saved
  throw new CniError(codes.toolMissing, `cannot admit the container: the program "${tool}-save" is not installed`, {
    fix: 'install the package iptables, or leave out "backend"',
  })
}

/**
 * Whether addresses are admitted that no attachment of ours has: containers of the official plugin, which want their
 * bridge's policy, too. It is asked each time, because they come and go without telling.
 */
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
  host: Host,
  { bridge, policy }: Isolation,
  attachment: Attachment,
): readonly (readonly string[])[] {
  const isWanted = (one: IngressPolicy) => isWantedHere(host, attachment, { bridge, policy: one })
  const entries = [entryRule(bridge), oldEntryRule(bridge)]
  const isAnyWanted = (['same-bridge', 'isolated'] as const).some(isWanted)
  return [...(isWanted(policy) ? [] : policyRules(bridge, policy)), ...(isAnyWanted ? [] : entries)]
}

/**
 * The backends whose policies are made of these rules. The others' attachments, which hold a policy by the same name,
 * have rules of their own.
 */
const madeHere: readonly string[] = ['iptables']

/** Whether another attachment wants a policy to be kept by these rules. */
function isWantedHere(host: Host, attachment: Attachment, { bridge, policy }: Isolation): boolean {
  if (othersHolding(host, thingOf({ bridge, policy }), attachment) === 0) return false
  const own = attachmentHash(attachment)
  return someRecord<{ backend: string; isolation?: Isolation }>(host, 'firewall', ({ attachment: other, data }) => {
    const { backend, isolation } = data
    const isWanted = isolation?.bridge === bridge && isolation.policy === policy && madeHere.includes(backend)
    return isWanted && attachmentHash(other) !== own
  })
}
