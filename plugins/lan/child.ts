import type { Call } from '../../shared/program/plugin.js'
import type { NetworkConfiguration } from '../../shared/values/config.schema.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import type { Result } from '../../shared/values/result.js'
import type { ChildLinkConfiguration } from './child-link.schema.js'
import type { MasterChoice } from './master.js'

export type ChildCall = Call<ChildLinkConfiguration & NetworkConfiguration>

/** What tells one kind of child from another. */
export interface ChildLink {
  readonly kind: 'macvlan' | 'ipvlan' | 'vlan'
  /** What `ip link add ... type KIND` takes behind the kind, and CHECK finds again under these names. */
  readonly attributes: Readonly<Record<string, string | number>>
  /** Its own MAC address; absent: it has its master's. */
  readonly mac?: string | undefined
  /** It has neither neighbours nor a gateway: its master routes what it sends. */
  readonly isRouted?: boolean
  /**
   * Refuses a master on which it cannot be; told the namespace of one in the container. Nothing has been made by then.
   */
  readonly admit?: (master: ObservedLink, netns: string | undefined) => void
  /** How a refusal because something exists is to be understood, where it may not be the name. */
  readonly taken?: string
  /** Where its master is, other than in the configuration. */
  readonly choice?: MasterChoice
  /** Where its addresses come from, other than from IPAM. */
  readonly addresses?: Result
}
