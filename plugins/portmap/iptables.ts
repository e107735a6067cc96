import { hasChain, iptables, iptablesTool, removeChain, savedRules } from '../../shared/net/iptables.js'
import type { Host } from '../../shared/plan/host.js'
import type { IptablesTool, SavedRules } from '../../shared/plan/observer.js'
import type { Operation } from '../../shared/plan/operation.js'
import { formatCidr, networkOf, parseCidr } from '../../shared/values/address.js'
import type { Attachment } from '../../shared/values/attachment.js'
import type { Problem } from '../../shared/values/errors.js'
import { officialName } from '../../shared/values/names.js'
import { ownRules, type Rule, sharedRules } from './chains.js'
import { heldByChains, refuseHeld } from './held.js'
import { type Port, type Published, portText } from './publication.js'

// The chains, rules, marks and comments of the official plugin, as tools know them (nerdctl reads CNI-HOSTPORT-DNAT and
// CNI-DN-* to see which ports are taken): what is missing is found in one iptables-save and made in one
// iptables-restore a family. The caller holds the lock, so that what all share is made once.

/** Makes the chains of what is not waiting. @throws code 106 when chains of the official plugin have a port */
export function publishChains(host: Host, attachment: Attachment, { publications, mark }: Published): void {
  const made = publications.filter(({ waiting }) => !waiting)
  for (const publication of made) {
    const tool = iptablesTool(publication.address)
    const saved = savedRules(host.observer, tool, 'nat')
    refuseHeld(heldByChains(saved), attachment, publication)
    const own = ownRules(attachment, publication, mark)
    const why = `publish ${portText(publication.ports[0] as Port)} as ${publication.address}`
    host.apply(
      withUndo(
        missingRules(saved, tool, [...sharedRules(publication, mark), ...own], why),
        removal(tool, attachment, own),
      ),
    )
  }
  if (made.some(({ family, masquerade }) => family === 'ip' && masquerade !== 'none')) host.apply(guard(host))
}

/** Removes the chains of a network's container, ours or the official plugin's, with what leads into them. */
export function unpublishChains(host: Host, attachment: Attachment): void {
  for (const tool of ['iptables', 'ip6tables'] as const) {
    const saved = savedRules(host.observer, tool, 'nat')
    // CNI-SN chains are what versions before 0.6 of the official plugin made for masquerade.
    host.apply(
      ['CNI-DN-', 'CNI-SN-'].flatMap((prefix) => {
        return removeChain(saved, { tool, table: 'nat', chain: officialName(prefix, attachment, 28) })
      }),
    )
  }
}

/** What CHECK finds missing of the chains: every rule, also of the shared ones. */
export function chainProblems(
  host: Host,
  attachment: Attachment,
  { publications, mark }: Published,
): readonly Problem[] {
  return publications
    .filter(({ waiting }) => !waiting)
    .flatMap((publication) => {
      const tool = iptablesTool(publication.address)
      const saved = savedRules(host.observer, tool, 'nat')
      const isThere = findIn(saved)
      const rules = [...sharedRules(publication, mark), ...ownRules(attachment, publication, mark)]
      return rules
        .filter((rule) => !isThere(rule))
        .map(({ words }) => ({
          path: `${tool} table nat`,
          value: 'no such rule',
          expected: words.join(' '),
          fix: 'DEL and ADD the attachment: something flushed or changed its rules',
        }))
    })
}

/** The attachments of a network that have chains of the official plugin, and are not among the valid. */
export function staleChains(host: Host, network: string, valid: ReadonlySet<string>): readonly string[] {
  const start = `"dnat name: \\"${network}\\" id: \\"`
  const comments = (['iptables', 'ip6tables'] as const).flatMap((tool) =>
    savedRules(host.observer, tool, 'nat').flatMap((rule) => rule.filter((token) => token.startsWith(start))),
  )
  const ids = comments.map((comment) => comment.slice(start.length, comment.indexOf('\\"', start.length)))
  return [...new Set(ids)].filter((id) => id !== '' && !valid.has(id))
}

// --- internal

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
    ...chains.map((chain) => iptables(tool, 'nat', ['-N', chain], why)),
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
  const entries = own.filter((one) => one.chain !== chain).map(({ words }) => ['-D', ...words])
  const remove = [...entries, ['-F', chain], ['-X', chain]]
  const tolerate = ['absent'] as const
  return remove.map((words) => ({ ...iptables(tool, 'nat', words, `remove the chain ${chain}`), tolerate }))
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

/** Drops packets to and from 127/8 that did not come from lo, which `route_localnet` would let in (CVE-2020-8558). */
function guard({ observer }: Host): readonly Operation[] {
  const saved = savedRules(observer, 'iptables', 'raw')
  const chain = 'PODWIRE-GUARD'
  if (hasChain(saved, chain)) return []
  const why = 'guard 127.0.0.0/8 against packets from outside'
  const rules = [
    ...['-d', '-s'].map((side) => ['-A', chain, '!', '-i', 'lo', side, '127.0.0.0/8', '-j', 'DROP']),
    ['-A', 'PREROUTING', '-j', chain],
  ]
  return [['-N', chain], ...rules].map((words) => iptables('iptables', 'raw', words, why))
}
