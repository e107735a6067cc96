import type { Garbage, Taken } from '../node/garbage.js'
import { keyOf } from '../node/node.js'

// What dead pods left on the node: taken when two looks some time apart say so, by proof of the kernel's, and when the
// runtime knows nothing of the pod at either.

/** The node at one moment. */
export interface GarbageLook {
  /** The IDs of all sandboxes that the runtimes know. */
  readonly sandboxes: ReadonlySet<string>
  /** What is provably dead, whatever a runtime says: it knows no other runtime's containers, nor pods in the making. */
  readonly garbage: Garbage
  /** Why some of it cannot be judged; undefined where all can. */
  readonly unproven?: string | undefined
}

export interface Collecting {
  /** @throws Error that says why the node cannot be looked at */
  readonly look: () => Promise<GarbageLook>
  readonly take: (garbage: Garbage) => Promise<readonly Taken[]>
  /** Milliseconds, of a clock that nobody sets. */
  readonly now: () => number
  /** Milliseconds that two looks are apart at the least. */
  readonly apart: number
}

export interface Collected {
  readonly taken: readonly Taken[]
  /** What is wrong, for people; those of before hold no longer. */
  readonly faults: readonly string[]
}

export class Collector {
  readonly #of: Collecting
  /** By attachment, since when every look has seen it dead and unknown to the runtimes. */
  #seen: ReadonlyMap<string, number> = new Map()

  constructor(of: Collecting) {
    this.#of = of
  }

  /** Looks once, and takes what was there at an earlier look, too. Never throws. */
  async collect(): Promise<Collected> {
    try {
      const { look, take, now, apart } = this.#of
      const { sandboxes, garbage, unproven } = await look()
      const at = now()
      const absent = garbage.all.filter(({ attachment }) => !sandboxes.has(attachment.containerID))
      this.#seen = new Map(
        absent.map(({ attachment }) => {
          const key = keyOf(attachment)
          return [key, this.#seen.get(key) ?? at]
        }),
      )
      const all = absent.filter(({ attachment }) => at - (this.#seen.get(keyOf(attachment)) ?? at) >= apart)
      const taken = await take({ ...garbage, all })
      const kept = taken.flatMap(({ belongings: { attachment }, kept: why }) =>
        why === '' ? [] : [`${attachment.network}/${attachment.containerID}/${attachment.ifName} is kept: ${why}`],
      )
      return { taken: taken.filter((one) => one.kept === ''), faults: [...(unproven ? [unproven] : []), ...kept] }
    } catch (thrown) {
      return { taken: [], faults: [thrown instanceof Error ? thrown.message : String(thrown)] }
    }
  }
}
