import {
  hasChain,
  iptables,
  iptablesTool,
  newChain,
  plainTools,
  removeChain,
  type SavedTables,
  savedRules,
  savedTables,
} from '../../shared/net/iptables.js'
import type { IptablesTool, Observer, SavedRules } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import { formatCidr, networkOf, parseCidr } from '../../shared/values/address.js'
import type { Attachment } from '../../shared/values/attachment.js'
import type { Problem } from '../../shared/values/errors.js'
import { officialName } from '../../shared/values/names.js'
import { names, ownRules, type Rule, sharedRules, targetOf } from './chains.js'
import { heldByChains, refuseHeld } from './held.js'
import { type Port, type Publication, type Published, portText } from './publication.js'

// The chains, rules, marks and comments of the official plugin, as tools know them (nerdctl reads CNI-HOSTPORT-DNAT and
// CNI-DN-* to see which ports are taken): what is missing is found in one iptables-save and made in one
// iptables-restore a family. The caller holds the lock, so that what all share is made once.

/** The tables that the chains are planned from. */
export interface Saved {
  readonly nat: SavedTables
  /** The guard of 127/8 is in iptables' alone. */
  readonly raw: SavedRules
}

/** What has to be seen before these publications get chains. */
export function seenForChains(observer: Observer, publications: readonly Publication[]): Saved {
  const raw = publications.some(isGuarded) ? savedRules(observer, plainTools.ip, 'raw') : []
  const tools = publications.map(({ address }) => iptablesTool(address))
  return { nat: savedTables(observer, tools, 'nat'), raw }
}

/** What has to be seen before chains are removed, whatever was published. */
export function seenOfChains(observer: Observer, tools: readonly IptablesTool[] = Object.values(plainTools)): Saved {
  return { nat: savedTables(observer, tools, 'nat'), raw: [] }
}

/** CNI-SN chains are what versions before 0.6 of the official plugin made for masquerade. */
export const chainPrefixes = ['CNI-DN-', 'CNI-SN-']

/** Makes the chains. @throws code 106 when chains of the official plugin have a port */
export function publishChains(
  attachment: Attachment,
  { publications, mark }: Published,
  { nat, raw }: Saved,
): readonly Operation[] {
  const chains = publications.flatMap((publication) => {
    const tool = iptablesTool(publication.address)
    const saved = nat.get(tool) ?? []
    refuseHeld(heldByChains(saved), attachment, publication)
    const own = ownRules(attachment, publication, mark)
    const why = `publish ${portText(publication.ports[0] as Port)} as ${publication.address}`
    return withUndo(
      missingRules(saved, tool, [...sharedRules(publication, mark), ...own], why),
      removal(tool, attachment, own),
    )
  })
  return [...chains, ...(publications.some(isGuarded) ? guard(raw) : [])]
}

/** Removes the chains of a network's container, ours or the official plugin's, with what leads into them. */
export function unpublishChains(attachment: Attachment, { nat }: Saved): readonly Operation[] {
  return [...nat].flatMap(([tool, saved]) =>
    chainPrefixes.flatMap((prefix) =>
      removeChain(saved, { tool, table: 'nat', chain: officialName(prefix, attachment, 28) }),
    ),
  )
}

/**
 * The same of one interface: those of a container have their chain together, and it stays as long as another one's
 * ports are in it.
 */
export function withdrawChains(
  attachment: Attachment,
  { publications, mark }: Published,
  { nat }: Saved,
): readonly Operation[] {
  if (publications.length === 0) return []
  const chain = officialName('CNI-DN-', attachment, 28)
  const own = publications.map((one) => `${targetOf(one)}:`)
  return [...nat].flatMap(([tool, saved]) => {
    const targets = saved.flatMap((rule) => (rule[1] === chain && rule.includes('DNAT') ? [rule.at(-1) ?? ''] : []))
    if (targets.every((target) => own.some((start) => target.startsWith(start)))) {
      return unpublishChains(attachment, { nat: new Map([[tool, saved]]), raw: [] })
    }
    const rules = publications.filter((one) => iptablesTool(one.address) === tool)
    return rules.flatMap((one) => withoutRules(tool, chain, ownRules(attachment, one, mark)))
  })
}

/** What CHECK finds missing of the chains: every rule, also of the shared ones. */
export function chainProblems(
  observer: Observer,
  attachment: Attachment,
  { publications, mark }: Published,
): readonly Problem[] {
  return publications.flatMap((publication) => {
    const tool = iptablesTool(publication.address)
    const rules = [...sharedRules(publication, mark), ...ownRules(attachment, publication, mark)]
    const saved = savedRules(observer, tool, 'nat')
    const missing = missingOf(rules, findIn(saved), tool)
    if (hasChain(saved, officialName('CNI-DN-', attachment, 28))) return missing
    return missing.map((problem) => ({ ...problem, official: absentText(attachment, publication) }))
  })
}

/** What the official CHECK says where nothing of an address is published. */
export function absentText(attachment: Attachment, { family }: Publication): string {
  const chain = officialName('CNI-DN-', attachment, 28)
  return `could not check ${family === 'ip' ? 'ipv4' : 'ipv6'} dnat: chain ${chain} not found in iptables table nat`
}

/**
 * The same of the official plugin's chains; undefined where the container has none in its address's family. The rules
 * that lead into the chain have the ports of both families, also those that only the other one publishes.
 */
export function officialChainProblems(
  observer: Observer,
  attachment: Attachment,
  { publication, mark }: { publication: Publication } & Pick<Published, 'mark'>,
): readonly Problem[] | undefined {
  const tool = iptablesTool(publication.address)
  const saved = savedRules(observer, tool, 'nat')
  const chain = officialName('CNI-DN-', attachment, 28)
  if (!hasChain(saved, chain)) return undefined
  const own = ownRules(attachment, publication, mark)
  const [inside, entries] = [own.filter((one) => one.chain === chain), own.filter((one) => one.chain !== chain)]
  const led = portsInto(saved, chain, publication.conditions)
  const isLed = ({ words }: Rule) => portsOf(words, '--destination-ports').every((port) => led.has(port))
  return [
    ...missingOf([...sharedRules(publication, mark), ...inside], findIn(saved), tool),
    ...missingOf(entries, isLed, tool),
  ]
}

/**
 * Removes the chains of the official plugin whose comments name this network and a container that is no longer valid.
 */
export function removeStaleChains(saved: Saved, network: string, valid: ReadonlySet<string>): readonly Operation[] {
  const start = `"dnat name: \\"${network}\\" id: \\"`
  const comments = [...saved.nat.values()].flatMap((rules) =>
    rules.flatMap((rule) => rule.filter((token) => token.startsWith(start))),
  )
  const ids = comments.map((comment) => comment.slice(start.length, comment.indexOf('\\"', start.length)))
  const stale = [...new Set(ids)].filter((id) => id !== '' && !valid.has(id))
  return stale.flatMap((containerID) => unpublishChains({ network, containerID, ifName: '' }, saved))
}

// --- internal

function missingOf(rules: readonly Rule[], isThere: (rule: Rule) => boolean, tool: IptablesTool): readonly Problem[] {
  return rules
    .filter((rule) => !isThere(rule))
    .map(({ words }) => ({
      path: `${tool} table nat`,
      value: 'no such rule',
      expected: words.join(' '),
      fix: 'DEL and ADD the attachment: something flushed or changed its rules',
    }))
}

/** The ports that are led into a chain under these conditions. */
function portsInto(saved: SavedRules, chain: string, conditions: readonly string[]): ReadonlySet<string> {
  const shown = shownWords(conditions)
  const entries = saved.filter(
    (rule) => rule[1] === names.dnat && rule.at(-1) === chain && shown.every((one) => rule.includes(one)),
  )
  return new Set(entries.flatMap((rule) => portsOf(rule, '--dports')))
}

/** What a rule says behind an option, as "tcp 8080". */
function portsOf(rule: readonly string[], option: string): readonly string[] {
  const after = (word: string) => rule[rule.indexOf(word) + 1] ?? ''
  return after(option)
    .split(',')
    .map((port) => `${after('-p')} ${port}`)
}

/** iptables-save does not show them before the table is used. */
const builtIn = ['PREROUTING', 'OUTPUT', 'POSTROUTING']

/** The chains and rules that are not there yet, as one transaction. */
function missingRules(
  saved: SavedRules,
  tool: IptablesTool,
  rules: readonly Rule[],
  why: string,
): readonly Operation[] {
  const named = rules.map(({ chain }) => chain).filter((chain) => !builtIn.includes(chain))
  const chains = [...new Set(named)].filter((chain) => !hasChain(saved, chain))
  const isThere = findIn(saved)
  const absent = rules.filter((one) => !isThere(one))
  return [
    ...chains.map((chain) => newChain(tool, 'nat', chain, why)),
    ...absent.map(({ words, first }) => {
      const [chain = '', ...rest] = words
      return iptables(tool, 'nat', first ? ['-I', chain, '1', ...rest] : ['-A', ...words], why)
    }),
  ]
}

/** The whole transaction is taken back by what takes back its first part. */
function withUndo(plan: readonly Operation[], undo: readonly Operation[]): readonly Operation[] {
  return plan.map((operation, index) => (index === 0 ? { ...operation, undo } : operation))
}

function removal(tool: IptablesTool, attachment: Attachment, own: readonly Rule[]): readonly Operation[] {
  const chain = officialName('CNI-DN-', attachment, 28)
  const rest = [
    ['-F', chain],
    ['-X', chain],
  ]
  return [
    ...withoutRules(
      tool,
      chain,
      own.filter((one) => one.chain !== chain),
    ),
    ...without(tool, chain, rest),
  ]
}

function withoutRules(tool: IptablesTool, chain: string, rules: readonly Rule[]): readonly Operation[] {
  return without(
    tool,
    chain,
    rules.map(({ words }) => ['-D', ...words]),
  )
}

function without(tool: IptablesTool, chain: string, lines: readonly (readonly string[])[]): readonly Operation[] {
  const tolerate = ['absent'] as const
  return lines.map((words) => ({ ...iptables(tool, 'nat', words, `remove the chain ${chain}`), tolerate }))
}

/**
 * Whether a rule is there: iptables-save writes its words in an order and a form of its own. Only those for the same
 * ports are compared.
 */
function findIn(saved: SavedRules): (rule: Rule) => boolean {
  const placeOf = (words: readonly string[]) =>
    [words[0], words.find((_, index) => words[index - 1]?.startsWith('--dport'))].join(' ')
  const rules = saved.filter(([dash]) => dash === '-A').map(([, ...rule]) => rule)
  const byPlace = Map.groupBy(rules, placeOf)
  return ({ words }) => {
    const shown = shownWords(words)
    return (byPlace.get(placeOf(shown)) ?? []).some((rule) => shown.every((one) => rule.includes(one)))
  }
}

function shownWords(words: readonly string[]): readonly string[] {
  return words
    .flatMap((word, index) => {
      const option = words[index - 1]
      if (word === '--destination-ports') return ['--dports']
      if (option !== '-s' && option !== '-d') return [word]
      const cidr = parseCidr(word.includes('/') ? word : `${word}/${word.includes(':') ? 128 : 32}`)
      if (!cidr || cidr.prefix === 0) return []
      return [formatCidr(networkOf(cidr))]
    })
    .filter((word, index, all) => !(word === '-s' && all[index + 1] === '-j'))
}

function isGuarded({ family, masquerade }: Publication): boolean {
  return family === 'ip' && masquerade !== 'none'
}

/** Drops packets to and from 127/8 that did not come from lo, which `route_localnet` would let in (CVE-2020-8558). */
function guard(raw: SavedRules): readonly Operation[] {
  const chain = 'PODWIRE-GUARD'
  if (hasChain(raw, chain)) return []
  const why = 'guard 127.0.0.0/8 against packets from outside'
  const rules = [
    ...['-d', '-s'].map((side) => ['-A', chain, '!', '-i', 'lo', side, '127.0.0.0/8', '-j', 'DROP']),
    ['-A', 'PREROUTING', '-j', chain],
  ]
  return [['-N', chain], ...rules].map((words) => iptables(plainTools.ip, 'raw', words, why))
}
