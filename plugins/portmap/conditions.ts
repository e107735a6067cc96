import {
  type Address,
  compareAddress,
  lastOf,
  networkOf,
  parseAddress,
  parseCidr,
} from '../../shared/values/address.js'
import type { Problem } from '../../shared/values/errors.js'
import { isToken } from '../../shared/values/token.js'
import type { Backend } from './portmap.schema.js'
import { nftWords } from './words.js'

/** The backend that matches are written for. */
export function languageOf(words: readonly string[] = []): Backend | undefined {
  const [first = ''] = words
  return first === '' ? undefined : backendNames.find((one) => languages[one].begins(first))
}

/** The first backend that understands all that a configuration says, else the last. */
export function understandingBackend(
  marksByChain: boolean,
  conditions: readonly (readonly string[] | undefined)[],
): Backend {
  const spoken = conditions.map(languageOf)
  const understands = (one: Backend) =>
    (hasMarkChains(one) || !marksByChain) && spoken.every((other) => other === undefined || other === one)
  return backendNames.find(understands) ?? (backendNames.at(-1) as Backend)
}

/** A configuration's matches as a backend's rules have them. */
export function conditionWords(words: readonly string[], backend: Backend): readonly string[] {
  return languageOf(words) === undefined ? [] : languages[backend].write(words)
}

/** What is wrong with a configuration's matches in the words of a backend. */
export function wordProblems(path: string, words: readonly string[], backend: Backend): readonly Problem[] {
  return languages[backend].problems(path, words)
}

export function otherBackend(backend: Backend): Backend {
  return backendNames.find((one) => one !== backend) as Backend
}

/** A word as one argument in iptables-restore's input. */
function argumentOf(word: string): string {
  return word.includes(' ') ? `"${word.replaceAll('"', '')}"` : word
}

/** Whether a backend can leave it to a chain of somebody else to mark packets for masquerade. */
export function hasMarkChains(backend: Backend): boolean {
  return languages[backend].hasMarkChains
}

/**
 * Whether conditions keep packets to an address of the host from being published: one of their matches of the
 * destination (`! -d 169.254.170.23`, `ip daddr != 169.254.170.23`) can be read and excludes it. What cannot be read
 * excludes nothing.
 * @param words of iptables or nftables, as a publication holds them
 */
export function excludes(words: readonly string[], address: string): boolean {
  const [parsed, language] = [parseAddress(address), languageOf(words)]
  if (!parsed || !language) return false
  return languages[language].destinations(words).some(({ isNegated, ranges }) => {
    const isKnown = ranges.length > 0 && !ranges.includes(undefined)
    const holds = ranges.some((range) => range !== undefined && isWithin(range, parsed))
    return isNegated ? holds : isKnown && !holds
  })
}

// --- internal

interface Match {
  readonly isNegated: boolean
  /** Undefined: an address that cannot be read, such as a host name or the name of a set. */
  readonly ranges: readonly (Range | undefined)[]
}

interface Range {
  readonly first: Address
  readonly last: Address
}

/** What the configuration says in a backend's own words. */
const languages: Readonly<
  Record<
    Backend,
    {
      /** Whether matches that begin with such a word are in its words. */
      readonly begins: (first: string) => boolean
      readonly hasMarkChains: boolean
      /** What is wrong with the words at a path. */
      readonly problems: (path: string, words: readonly string[]) => readonly Problem[]
      readonly write: (words: readonly string[]) => readonly string[]
      /** The matches of the destination. */
      readonly destinations: (words: readonly string[]) => readonly Match[]
    }
  >
> = {
  // nft takes the words joined by spaces.
  nftables: {
    begins: (first) => !isOption(first),
    hasMarkChains: false,
    problems: (path, words) => {
      const read = nftWords(words)
      return 'fault' in read ? [{ path, value: words, expected: `words of one match; at ${read.fault}` }] : []
    },
    write: (words) => {
      const read = nftWords(words)
      return 'words' in read ? read.words : []
    },
    destinations: ofNftables,
  },
  // Each is one argument.
  iptables: {
    begins: isOption,
    hasMarkChains: true,
    problems: argumentProblems,
    write: (words) => words.map(argumentOf),
    destinations: ofIptables,
  },
}

/** In the order in which they are taken. */
const backendNames = Object.keys(languages) as readonly Backend[]

function isOption(word: string): boolean {
  return word.startsWith('-') || word.startsWith('!')
}

function argumentProblems(path: string, words: readonly string[]): readonly Problem[] {
  const expected =
    'words of one match, each one argument, without quotes, ";", "#", "{", "}", "\\", "`" and control characters'
  return words.flatMap((value, index) => {
    const isTogether = value.startsWith('-') && value.includes(' ')
    if (isToken(argumentOf(value)) && !isTogether) return []
    const problem = { path: `${path}[${index}]`, value, expected }
    return [isTogether ? { ...problem, fix: 'give each word a string of its own' } : problem]
  })
}

const destinationOptions = ['-d', '--dst', '--destination', '--dst-range']

/** "! -d ADDRESS[/MASK][,...]", and "--dst-range FIRST-LAST" of the match iprange. */
function ofIptables(words: readonly string[]): readonly Match[] {
  return words.flatMap((word, at) => {
    if (!destinationOptions.includes(word)) return []
    return [{ isNegated: words[at - 1] === '!', ranges: (words[at + 1] ?? '').split(',').map(rangeOf) }]
  })
}

/** "ip daddr [!=] ADDRESS | ADDRESS/PREFIX | FIRST-LAST | { ... }", in the family's own words, quoted or not. */
function ofNftables(words: readonly string[]): readonly Match[] {
  const spaced = words
    .flatMap((word) => ['{', '}', ','].reduce((text, sign) => text.replaceAll(sign, ` ${sign} `), word).split(' '))
    .filter((word) => word !== '')
  const all = spaced.join(' ').replaceAll('"', '').replaceAll(' - ', '-').split(' ')
  return all.flatMap((word, at) => {
    if (word !== 'daddr' || !['ip', 'ip6'].includes(all[at - 1] ?? '')) return []
    const operator = all[at + 1] ?? ''
    const isNegated = operator === '!=' || operator === 'ne'
    const start = isNegated || operator === '==' || operator === 'eq' ? at + 2 : at + 1
    const end = all[start] === '{' ? all.indexOf('}', start) : start + 1
    const values = end < 0 ? [''] : all.slice(start, end).filter((one) => one !== '{' && one !== ',')
    return [{ isNegated, ranges: values.map(rangeOf) }]
  })
}

/** An address, one with a prefix length or a mask in dots, or "FIRST-LAST". */
function rangeOf(text: string): Range | undefined {
  const [from = '', to] = text.split('-')
  if (to !== undefined) {
    const [first, last] = [parseAddress(from), parseAddress(to)]
    return first && last && { first, last }
  }
  const [address = '', mask] = text.split('/')
  if (mask === undefined) {
    const first = parseAddress(address)
    return first && { first, last: first }
  }
  const cidr = parseCidr(`${address}/${mask.includes('.') ? prefixOf(mask) : mask}`)
  return cidr && { first: networkOf(cidr).address, last: lastOf(cidr) }
}

/** 24 of "255.255.255.0"; "" of a mask with holes. */
function prefixOf(mask: string): string {
  const bits = parseAddress(mask)?.value.toString(2).padStart(32, '0') ?? ''
  const ones = bits.indexOf('0')
  if (ones < 0) return '32'
  return bits.includes('1', ones) ? '' : String(ones)
}

function isWithin({ first, last }: Range, address: Address): boolean {
  return compareAddress(first, address) <= 0 && compareAddress(address, last) <= 0
}
