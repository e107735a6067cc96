import type { Attachment } from '../../shared/values/attachment.js'
import { officialComment, officialName } from '../../shared/values/names.js'
import { quoted } from '../../shared/values/token.js'
import type { Port, Publication, Published } from './publication.js'

/** A rule of one of the official plugin's chains. */
export interface Rule {
  readonly chain: string
  /** The rule as it is written, its chain in front. */
  readonly words: readonly string[]
  /** Before all others of its chain. */
  readonly first?: true
}

/** Names that must never change: tools know them. */
export const names = {
  dnat: 'CNI-HOSTPORT-DNAT',
  mark: 'CNI-HOSTPORT-SETMARK',
  masquerade: 'CNI-HOSTPORT-MASQ',
} as const

/** What all containers share: it stays when one goes. */
export function sharedRules({ masquerade }: Publication, mark: Published['mark']): readonly Rule[] {
  const toDnat = ['-m', 'addrtype', '--dst-type', 'LOCAL', '-j', names.dnat]
  const capture = ['PREROUTING', 'OUTPUT'].map((chain) => rule(chain, toDnat))
  if (masquerade === 'none' || (mark && 'chain' in mark)) return capture
  const value = `0x${(2 ** (mark?.bit ?? defaultBit)).toString(16)}`
  const marks = [
    '-m',
    'comment',
    '--comment',
    '"CNI portfwd masquerade mark"',
    '-j',
    'MARK',
    '--set-xmark',
    `${value}/${value}`,
  ]
  const requiring = ['-m', 'comment', '--comment', '"CNI portfwd requiring masquerade"', '-j', names.masquerade]
  return [
    rule(names.mark, marks),
    rule(names.masquerade, ['-m', 'mark', '--mark', `${value}/${value}`, '-j', 'MASQUERADE']),
    { ...rule('POSTROUTING', requiring), first: true },
    ...capture,
  ]
}

/** The container's chain, first what it leaves to listeners of the host, and what leads into it. */
export function ownRules(attachment: Attachment, publication: Publication, mark: Published['mark']): readonly Rule[] {
  const chain = officialName('CNI-DN-', attachment, 28)
  const setMark = mark && 'chain' in mark ? mark.chain : names.mark
  const { ports, conditions, spared = [] } = publication
  const left = spared.map((port) => rule(chain, [...matchOf(port), '-j', 'RETURN']))
  const inChain = ports.flatMap((port) => {
    const match = matchOf(port)
    const target = `${targetOf(publication)}:${port.container}`
    const marked = sources(publication).map((source) => [...match, '-s', source, '-j', setMark])
    return [...marked, [...match, '-j', 'DNAT', '--to-destination', target]].map((words) => rule(chain, words))
  })
  const comment = ['-m', 'comment', '--comment', quoted(cut(`dnat ${officialComment(attachment)}`))]
  const entries = chunks(ports).map(({ protocol, numbers }) => {
    const match = ['-m', 'multiport', '-p', protocol, '--destination-ports', numbers.join(',')]
    return rule(names.dnat, [...comment, ...match, ...conditions, '-j', chain])
  })
  return [...left, ...inChain, ...entries]
}

/** A container's address as it stands before a port. */
export function targetOf({ family, address }: Publication): string {
  return family === 'ip6' ? `[${address}]` : address
}

// --- internal

const defaultBit = 13

function rule(chain: string, words: readonly string[]): Rule {
  return { chain, words: [chain, ...words] }
}

function matchOf({ protocol, host, address }: Port): readonly string[] {
  return ['-p', protocol, '--dport', String(host), ...(address ? ['-d', address] : [])]
}

/** Whose packets are masqueraded: the container's own network's and the host's loopback, or everybody's. */
function sources({ family, cidr, masquerade }: Publication): readonly string[] {
  if (masquerade === 'none') return []
  if (masquerade === 'all') return [family === 'ip' ? '0.0.0.0/0' : '::/0']
  return [cidr, ...(family === 'ip' ? ['127.0.0.1'] : [])]
}

/** Comments have at most 255 bytes; names and IDs are ASCII. */
function cut(comment: string): string {
  return comment.length <= 255 ? comment : `${comment.slice(0, 253)}...`
}

/** The ports of each protocol, at most 15 at a time, which is what multiport takes. */
function chunks(ports: readonly Port[]): readonly { protocol: string; numbers: readonly number[] }[] {
  return ['sctp', 'tcp', 'udp'].flatMap((protocol) => {
    const numbers = ports.filter((port) => port.protocol === protocol).map(({ host }) => host)
    const starts = Array.from({ length: Math.ceil(numbers.length / 15) }, (_, index) => index * 15)
    return starts.map((start) => ({ protocol, numbers: numbers.slice(start, start + 15) }))
  })
}
