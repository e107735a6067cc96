import type { Address } from '../values/address.js'
import type { NumberedRoute, ObservedLink, ObservedQdisc, ObservedRule } from '../values/observe.schema.js'
import type { Chain, Element, NftFamily, NftObject } from './element.js'

/**
 * Everything a call asks of the machine, each question in one place. Netlink answers (netlink/driver.ts); where the
 * kernel cannot be asked or does not tell, tools and the kernel's files do (tools/observer.ts). Which, is decided where
 * the program starts.
 */
export interface Observer {
  /** One link with its addresses and kind; undefined when there is none of that name. */
  readonly link: (name: string, netns?: string) => ObservedLink | undefined
  /** The same of the host where the link may well be absent: then no process is started. */
  readonly linkIfThere: (name: string) => ObservedLink | undefined
  /**
   * Whether the host has a link of that very name: one look, however many there are. "all" and "default" are no link's.
   */
  readonly hasLink: (name: string) => boolean
  /** Every link of a namespace with its addresses. */
  readonly links: (netns?: string) => readonly ObservedLink[]
  /**
   * The link by which the host reaches an IPv4 address itself; undefined where a gateway is between, or nothing leads
   * there.
   */
  readonly linkTo: (address: Address) => string | undefined
  /**
   * The rules and the routes of every table, both families, with numbers for the names of tables, protocols and scopes;
   * the default route of either family is "default".
   */
  readonly routing: (netns?: string) => Routing
  /**
   * The queueing disciplines of a link of the host, or undefined when there is none of that name; sizes in bytes, rates
   * in bytes a second.
   */
  readonly qdiscs: (link: string) => readonly ObservedQdisc[] | undefined
  /** The links that what comes in at a link of the host is redirected to. */
  readonly redirects: (link: string) => readonly string[]
  /**
   * The texts of a namespace's settings by their paths, such as net/ipv4/ip_forward, without those that cannot be read.
   */
  readonly settings: (netns: string, paths: readonly string[]) => ReadonlyMap<string, string>
  /** The sockets of the host that wait for whoever comes; of SCTP those of both families, one for each address. */
  readonly listening: (of: { family: 4 | 6; protocol: 'tcp' | 'udp' | 'sctp' }) => readonly ListeningSocket[]
  /** Every chain of nftables there is, without its rules. */
  readonly chains: () => readonly ListedChain[]
  /**
   * The bytes of each rule of a table or chain of nftables as a latin1 text, in which names, comments and addresses can
   * be looked for without a process; undefined where the kernel does not tell.
   */
  readonly ruleTexts: (of: NftObject) => readonly string[] | undefined
  /**
   * The chains of our tables with such names that nothing leads to, without base chains; where the kernel does not
   * tell, all of the name. What is asked `along` needs no request of its own.
   */
  readonly unusedChains: (isAsked: (name: string) => boolean, along?: readonly Chain[]) => UnusedChains
  /** The rules of a table of nftables, or of one of its chains, whoever made them; none where it is absent. */
  readonly rules: (of: { family: string; table: string; chain?: string }) => readonly ListedRule[]
  /** The elements of all our maps and sets in a family, or of one; none where our table, or that one, is absent. */
  readonly elements: (family: NftFamily, of?: { kind: 'map' | 'set'; name: string }) => readonly ListedElement[]
  /**
   * A table's rules as iptables-save has them; undefined where the tool is not installed, empty where the table is
   * absent.
   */
  readonly savedRules: (tool: IptablesTool, table: string) => SavedRules | undefined
  /** Whether the older of the kernel's two interfaces to iptables has a table of that name. */
  readonly hasLegacyTable: (family: 'ip' | 'ip6', table: string) => boolean
  /** The UDP flows the kernel tracks in a family. */
  readonly udpFlows: (family: 'ip' | 'ip6') => readonly Flow[]
  /** The first and the last port that the kernel gives to clients of its own accord. */
  readonly clientPorts: () => readonly [first: number, last: number]
  /** Whether somebody beyond a link answers ARP requests for an address. */
  readonly answersArp: (address: string, link: string, netns?: string) => boolean
  /**
   * Whether our maps and sets of nftables hold elements as these say; of one without a value or a comment any will do.
   */
  readonly holds: (wanted: readonly Element[]) => readonly boolean[]
  /**
   * The same, and whether tables, chains and sets are there, asked of the kernel alone, in one request; undefined where
   * it does not tell.
   */
  readonly holdsDirectly: (wanted: readonly (Element | NftObject)[]) => readonly boolean[] | undefined
  /** The host's own addresses of a family, in canonical text. */
  readonly localAddresses: (family: 4 | 6) => ReadonlySet<string>
  /**
   * Whether a link of the host has its MAC address from somebody who set it (NET_ADDR_SET in linux/netdevice.h); only
   * sysfs tells. It may be another namespace's that is mounted, and has to know the link by its number, too.
   */
  readonly hasFixedAddress: (link: ObservedLink) => boolean
  /** Whether the kernel has IPv6 (the module is in and not disabled at boot). */
  readonly hasIPv6: () => boolean
  /** Identifies this boot of this machine: the kernel's random boot ID. */
  readonly bootID: () => string
  /** What a network namespace alone has, in this boot; undefined where the kernel does not tell. */
  readonly cookie: (netns: string) => string | undefined
  /**
   * The number that links of a namespace have for the host's (link_netnsid); undefined where it has none, or the kernel
   * does not tell.
   */
  readonly hostNumberIn: (netns: string) => number | undefined
  /**
   * Takes flock(2) LOCK_EX on an open file if nobody else has it, or LOCK_SH, as far as that can be done without
   * waiting.
   */
  readonly tryLock: (fd: number, kind?: 'shared') => boolean
}

/** How a namespace routes. */
export interface Routing {
  readonly rules: readonly ObservedRule[]
  readonly routes: readonly NumberedRoute[]
}

/** A chain of nftables, whoever made it; `hook` and `policy` are a base chain's. */
export interface ListedChain {
  readonly family: string
  readonly table: string
  readonly name: string
  readonly hook?: string
  readonly policy?: string
}

export interface UnusedChains {
  readonly unused: readonly ListedChain[]
  /** Which of the chains that were asked for along with them are there; undefined where the kernel does not tell. */
  readonly along: readonly boolean[] | undefined
}

/** A socket that waits for whoever comes. */
export interface ListeningSocket {
  readonly address: string
  readonly port: number
  readonly inode: string
  /** Bound to "::", it takes no IPv4. */
  readonly isIPv6Only: boolean
}

/** A rule of nftables, as far as it is read. */
export interface ListedRule {
  readonly chain: string
  readonly handle: number
  readonly comment?: string
  /** What it compares with a value; of a field in a header with the header's protocol and the field's name. */
  readonly matches: readonly { readonly protocol?: string; readonly field?: string; readonly value: string }[]
  /** The address that it sends packets to instead, and the port where it says one. */
  readonly target?: string
  readonly targetPort?: number
  /** The chain that packets go through next. */
  readonly jump?: string
}

/** An element of one of our maps or sets: the parts of its key without quotes, a range as "FIRST-LAST". */
export interface ListedElement {
  readonly collection: string
  readonly key: readonly string[]
  readonly comment?: string
}

/** The `-legacy` ones name the older of two kernel interfaces where the plain ones speak to the newer. */
export type IptablesTool = 'iptables' | 'ip6tables' | 'iptables-legacy' | 'ip6tables-legacy'

/**
 * The chains and rules of a table as iptables-save writes them, each split into words (a quoted text with its quotes is
 * one).
 */
export type SavedRules = readonly (readonly string[])[]

/** A tracked flow: where its first packet was sent, and who answers: somebody else when the destination was changed. */
export interface Flow {
  readonly destination: string
  readonly destinationPort: number
  readonly answerer: string
  readonly answererPort: number
}
