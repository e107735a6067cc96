import { contains, networkOf, parseAddress, parseCidr } from '../../shared/values/address.js'
import type { Seen } from './look.js'
import { routeProtocol } from './routes.js'

// The pod ranges that a node had before: their pods keep their way out until they end. One is forgotten when nothing of
// it has been there for a while: an ADD that began with the configuration of before may still be at work.

/** Milliseconds. */
const quiet = 10 * 60_000
/** Milliseconds between two looks at what is on the disk. */
const every = 60_000

export interface FormerRangesOptions {
  /** Addresses of attachments and leases, with or without prefix lengths; asked for only where it decides. */
  readonly attached: () => readonly string[]
  /** Milliseconds, of a clock that nobody sets. */
  readonly now: () => number
}

export class FormerRanges {
  readonly #of: FormerRangesOptions
  /** By range, since when every look has found nothing of it. */
  #emptySince: ReadonlyMap<string, number> = new Map()
  #looked = Number.NEGATIVE_INFINITY

  constructor(of: FormerRangesOptions) {
    this.#of = of
  }

  /** Those that are to be kept: the same list where nothing is to be forgotten. */
  kept(ranges: readonly string[], seen: Seen): readonly string[] {
    const now = this.#of.now()
    if (ranges.length === 0 || now - this.#looked < every) return ranges
    this.#looked = now
    const attached = this.#of.attached()
    const empty = ranges.filter((range) => !livesIn(range, seen, attached))
    this.#emptySince = new Map(empty.map((range) => [range, this.#emptySince.get(range) ?? now]))
    const gone = empty.filter((range) => now - (this.#emptySince.get(range) ?? now) >= quiet)
    return gone.length === 0 ? ranges : ranges.filter((range) => !gone.includes(range))
  }
}

/** Whether something has an address of a range: an attachment, a lease, a link (a bridge), or a route leads there. */
export function livesIn(range: string, { links, routes }: Seen, attached: readonly string[]): boolean {
  const cidr = parseCidr(range)
  if (!cidr) return false
  const isIn = (text: string) => {
    const address = parseAddress(text.split('/')[0] ?? '')
    return address !== undefined && contains(cidr, address)
  }
  return (
    attached.some(isIn) ||
    links.some(({ addresses }) => addresses.some(isIn)) ||
    routes.some(({ destination, protocol }) => {
      const to = parseCidr(destination)
      // One of the agent's leads to another node, which has the range now.
      return (
        protocol !== routeProtocol &&
        to !== undefined &&
        to.prefix >= cidr.prefix &&
        contains(cidr, networkOf(to).address)
      )
    })
  )
}
