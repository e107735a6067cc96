import { plainTools } from '../../shared/net/iptables.js'
import { mayMention } from '../../shared/net/leftovers.js'
import { bothFamilies, type Chain, type NftObject, ownTable } from '../../shared/plan/element.js'
import type { IptablesTool, Observer, UnusedChains } from '../../shared/plan/observer.js'
import type { Attachment } from '../../shared/values/attachment.js'
import { officialName } from '../../shared/values/names.js'
import { names } from './chains.js'
import { ownerKey, owners } from './elements.js'
import { chainPrefixes } from './iptables.js'
import { table as officialTable } from './official.js'
import type { Family } from './publication.js'
import { isShared } from './tables.js'

/** Where there may be something of an attachment that no record tells of. */
export interface Left {
  /** Families of our elements. */
  readonly own: readonly Family[]
  /** Families of the official plugin's table. */
  readonly official: readonly Family[]
  /** What shows chains. */
  readonly tools: readonly IptablesTool[]
}

/**
 * Asks the kernel for its name: its mark of ownership, its chains, rules that bear it.
 * @param isUnknown somebody has taken records away: who took the mark, too, has not taken the rest
 */
export function leftOf(observer: Observer, attachment: Attachment, isUnknown: boolean): Left {
  const chains = chainPrefixes.map((prefix) => officialName(prefix, attachment, 28))
  const questions = bothFamilies.map((family) => [
    isUnknown ? { ...ownObject(family), set: owners } : { family, collection: owners, key: [ownerKey(attachment)] },
    { family, table: officialTable },
    ...chains.map((chain) => ({ family, table: 'nat', chain })),
  ])
  const held = observer.holdsDirectly(questions.flat())
  const answers = bothFamilies.map((family, index) => {
    const width = questions[0]?.length ?? 0
    const [own = true, official = true, ...chains] = held?.slice(index * width, (index + 1) * width) ?? []
    return { family, own, official, hasChain: held === undefined || chains.includes(true) }
  })
  return {
    own: answers.filter(({ own }) => own).map(({ family }) => family),
    official: answers
      .filter(({ family, official }) => official && isNamed(observer, family, attachment))
      .map(({ family }) => family),
    tools: answers
      .filter(({ family, hasChain }) => hasChain || observer.hasLegacyTable(family, 'nat'))
      .map(({ family }) => plainTools[family]),
  }
}

export function isNothing({ own, official, tools }: Left): boolean {
  return own.length === 0 && official.length === 0 && tools.length === 0
}

/** Where there may be something of ours whatever it is called. */
export function anyOfOurs(observer: Observer): Left {
  const held = observer.holdsDirectly(bothFamilies.map(ownObject))
  const own = bothFamilies.filter((_, index) => held?.[index] ?? true)
  return { own, official: [], tools: Object.values(plainTools) }
}

/** The network of a GC, and its containers that are valid. */
export interface Collected {
  readonly network: string
  readonly valid: ReadonlySet<string>
}

/** What may be nobody's, in one look for all: chains of ours that nothing leads to, and those with everyone's jumps. */
export function unusedAndEntries(observer: Observer): UnusedChains {
  return observer.unusedChains(isShared, entries())
}

/**
 * What shows chains of a network whose container is not valid, as far as there may be some.
 * @param held whether there are the chains with everyone's jumps; undefined where the kernel does not tell
 */
export function staleTools(
  observer: Observer,
  { network, valid }: Collected,
  held: UnusedChains['along'],
): readonly IptablesTool[] {
  const isStale = (entry: NftObject) => {
    const rules = observer.ruleTexts(entry)
    return rules?.some((rule) => idsIn(rule, network).some((id) => !valid.has(id))) ?? true
  }
  return entries()
    .filter(
      (entry, index) => ((held?.[index] ?? true) && isStale(entry)) || observer.hasLegacyTable(entry.family, 'nat'),
    )
    .map(({ family }) => plainTools[family])
}

// --- internal

/** The chains that jump to each container's. */
function entries(): readonly (Chain & { readonly family: Family })[] {
  return bothFamilies.map((family) => ({ family, table: 'nat', chain: names.dnat }))
}

function ownObject(family: Family): NftObject {
  return { family, table: ownTable }
}

function isNamed(observer: Observer, family: Family, { containerID }: Attachment): boolean {
  return mayMention(observer, { family, table: officialTable }, [containerID])
}

/** The container in a rule's comment; none where the comment is another network's. */
function idsIn(rule: string, network: string): readonly string[] {
  const start = `dnat name: "${network}" id: "`
  const at = rule.indexOf(start)
  if (at < 0) return []
  const end = rule.indexOf('"', at + start.length)
  return [rule.slice(at + start.length, end < 0 ? undefined : end)]
}
