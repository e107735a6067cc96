import type { Address } from '../values/address.js'
import type { ObservedLink } from '../values/observe.schema.js'
import type { Chain, Element, NftFamily, NftObject } from './element.js'
import type { RequestPlan } from './machine.js'
import type { Flow, ListedChain, ListedElement, ListeningSocket, Routing, UnusedChains } from './observer.js'

/** What a look cannot tell by itself: a tool must be asked. */
export type Unknown = 'unknown'

/**
 * The kernel spoken to without a process in between, for what calls do most: a process costs 2 to 5 ms, the same
 * request a tenth of one. It decides nothing and explains nothing: what it does not know, and what is refused, is left
 * to the tools, whose words the user gets, and the kernel's reason where these have another.
 */
export interface Netlink {
  readonly run: RequestPlan
  /** Whether the host has a link of that name. */
  readonly has: (link: string) => boolean | Unknown
  /** One link with its addresses, or undefined when there is none of that name. */
  readonly look: (link: string, netns?: string) => ObservedLink | undefined | Unknown
  /** Every link of a namespace with its addresses. */
  readonly links: (netns?: string) => readonly ObservedLink[] | Unknown
  /** The rules and the routes of every table, of these families, with numbers for all names. */
  readonly routing: (families: readonly (4 | 6)[], netns?: string) => Routing | Unknown
  /** The link by which the host sends to an IPv4 address itself; undefined where a gateway is between. */
  readonly linkTo: (address: Address) => string | undefined | Unknown
  /**
   * The texts of a namespace's settings by their paths, such as net/ipv4/ip_forward, without those that cannot be read;
   * undefined when it cannot be entered.
   */
  readonly settings: (netns: string, paths: readonly string[]) => ReadonlyMap<string, string> | undefined
  /** The sockets that wait for whoever comes; undefined where the kernel cannot say. */
  readonly listening: (of: {
    family: 4 | 6
    protocol: 'tcp' | 'udp'
    netns?: string
  }) => readonly ListeningSocket[] | undefined
  /** Every chain of nftables; undefined where the kernel cannot say. */
  readonly chains: () => readonly ListedChain[] | undefined
  /**
   * What a network namespace alone has, in this boot; undefined where the kernel does not tell, or it cannot be
   * entered.
   */
  readonly cookie: (netns: string) => string | undefined
  /**
   * Whether our maps and sets of nftables hold elements as these say, and whether tables, chains and sets are there;
   * undefined where the kernel cannot say.
   */
  readonly held: (wanted: readonly (Element | NftObject)[]) => readonly boolean[] | undefined
  /** The bytes of each rule of a table or chain as a latin1 text; undefined where the kernel cannot say. */
  readonly ruleTexts: (of: NftObject) => readonly string[] | undefined
  /**
   * The chains of our tables with such names that no rule and no element leads to; of those without rules nothing is
   * told. And which of the chains `along` are there, in the same request. Undefined where the kernel cannot say.
   */
  readonly unusedChains: (isAsked: (name: string) => boolean, along: readonly Chain[]) => UnusedChains | undefined
  /**
   * The number that links of a namespace have for the host's (link_netnsid); undefined where there is none, or the
   * kernel cannot say.
   */
  readonly hostNumberIn: (netns: string) => number | undefined
  /** The elements of all our maps and sets in a family, or of one; undefined where the kernel cannot say. */
  readonly elements: (family: NftFamily, of?: { readonly name: string }) => readonly ListedElement[] | undefined
  /** The UDP flows that are tracked in a family; undefined where the kernel cannot say. */
  readonly udpFlows: (family: 'ip' | 'ip6') => readonly Flow[] | undefined
  /** Takes flock(2) LOCK_EX on an open file if nobody else has it, or LOCK_SH. */
  readonly tryLock: (fd: number, kind?: 'shared') => boolean
  /**
   * Runs `body` in a network namespace made for it, where processes that it starts are, too, and the driver it gets
   * works; undefined where there can be none. What is made there goes with this process.
   */
  readonly inNewNamespace: <T>(body: (netlink: Netlink) => T) => T | undefined
}
