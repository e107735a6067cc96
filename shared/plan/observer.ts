import type { Address } from '../values/address.js'
import type {
  NumberedRoute,
  ObservedLink,
  ObservedQdisc,
  ObservedRoute,
  ObservedRule,
} from '../values/observe.schema.js'
import type { Element } from './element.js'

/**
 * Everything a call asks of the machine, each question in one place. Netlink answers (netlink/driver.ts); where the kernel cannot be asked or
 * does not tell, tools and the kernel's files do (tools/observer.ts). Which, is decided where the program starts.
 */
export interface Observer {
  /** One link with its addresses and kind; undefined when there is none of that name. */
  readonly link: (name: string, netns?: string) => ObservedLink | undefined
  /** The same of the host where the link may well be absent: then no process is started. */
  readonly linkIfThere: (name: string) => ObservedLink | undefined
  /** Whether the host has a link of that very name: one look, however many there are. "all" and "default" are no link's. */
  readonly hasLink: (name: string) => boolean
  /** Every link of a namespace with its addresses. */
  readonly links: (netns?: string) => readonly ObservedLink[]
  /** The link by which the host reaches an IPv4 address itself; undefined where a gateway is between, or nothing leads there. */
  readonly linkTo: (address: Address) => string | undefined
  /** The routes of every table, both families; the default route of either is "default". */
  readonly routes: (netns?: string) => readonly (ObservedRoute & { readonly family: 4 | 6 })[]
  /** The rules and the routes of every table, both families, with numbers for the names of tables, protocols and scopes. */
  readonly routing: (netns: string) => Routing
  /** The queueing disciplines of a link of the host, or undefined when there is none of that name; sizes in bytes, rates in bytes a second. */
  readonly qdiscs: (link: string) => readonly ObservedQdisc[] | undefined
  /** The links that what comes in at a link of the host is redirected to. */
  readonly redirects: (link: string) => readonly string[]
  /** The texts of a namespace's settings by their paths, such as net/ipv4/ip_forward, without those that cannot be read. */
  readonly settings: (netns: string, paths: readonly string[]) => ReadonlyMap<string, string>
  /** The sockets of the host that wait for whoever comes; of SCTP those of both families, one for each address. */
  readonly listening: (of: { family: 4 | 6; protocol: 'tcp' | 'udp' | 'sctp' }) => readonly ListeningSocket[]
  /** Every chain of nftables there is, without its rules. */
  readonly chains: () => readonly ListedChain[]
  /** Whether our maps and sets of nftables hold elements as these say; of one without a value or a comment any will do. */
  readonly holds: (wanted: readonly Element[]) => readonly boolean[]
  /** The same, asked of the kernel alone; undefined where it does not tell. */
  readonly holdsDirectly: (wanted: readonly Element[]) => readonly boolean[] | undefined
  /** The host's own addresses of a family, in canonical text. */
  readonly localAddresses: (family: 4 | 6) => ReadonlySet<string>
  /**
   * Whether a link of the host has its MAC address from somebody who set it (NET_ADDR_SET in linux/netdevice.h); only sysfs tells. It may be
   * another namespace's that is mounted, and has to know the link by its number, too.
   */
  readonly hasFixedAddress: (link: ObservedLink) => boolean
  /** Whether the kernel has IPv6 (the module is in and not disabled at boot). */
  readonly hasIPv6: () => boolean
  /** Identifies this boot of this machine: the kernel's random boot ID. */
  readonly bootID: () => string
  /** What a network namespace alone has, in this boot; undefined where the kernel does not tell. */
  readonly cookie: (netns: string) => string | undefined
  /** The number that links of a namespace have for the host's (link_netnsid); undefined where it has none, or the kernel does not tell. */
  readonly hostNumberIn: (netns: string) => number | undefined
  /** Takes flock(2) LOCK_EX on an open file if nobody else has it, as far as that can be done without waiting. */
  readonly tryLock: (fd: number) => boolean
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

/** A socket that waits for whoever comes. */
export interface ListeningSocket {
  readonly address: string
  readonly port: number
  readonly inode: string
  /** Bound to "::", it takes no IPv4. */
  readonly isIPv6Only: boolean
}
