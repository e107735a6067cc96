import type { Host } from '../../shared/plan/host.js'
import type { ObservedLink } from '../../shared/values/observe.schema.js'
import type { Attributes } from './originals.js'
import { type Setting, singleSpaced } from './sysctls.js'

/** What is there now. */
export interface Present {
  /** Undefined when there is no such link. */
  readonly link?: Required<Attributes>
  /** The same as it was seen. */
  readonly observed?: ObservedLink
  /** path -> value; what cannot be read is not in it. */
  readonly sysctls: ReadonlyMap<string, string>
}

/** Looks at a link and at settings of its namespace. */
export function look(host: Host, netns: string, ifName: string, settings: readonly Setting[]): Present {
  const paths = settings.map(({ path }) => path)
  const read = paths.length === 0 ? new Map<string, string>() : host.observer.settings(netns, paths)
  const sysctls = new Map([...read].map(([path, text]) => [path, singleSpaced(text.split('\n')[0] ?? '')]))
  const link = host.observer.link(ifName, netns)
  return { ...(link ? { link: describe(link), observed: link } : {}), sysctls }
}

// --- internal

function describe(link: ObservedLink): Required<Attributes> {
  return {
    mac: link.address ?? '',
    promisc: link.flags.includes('PROMISC'),
    mtu: link.mtu,
    allmulti: link.flags.includes('ALLMULTI'),
    txQLen: link.txqlen ?? 0,
  }
}
