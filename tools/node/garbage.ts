import { type Belongings, belongingsOf, collect, loadPlugins } from './collect.js'
import type { Kernel } from './kernel.js'
import type { EmptyLease } from './leases.js'
import type { KnownAttachment, Node } from './node.js'
import { isYoung, reprieve, takeFrom } from './release.js'

// What `podwire gc` and the agent's `gc` take from a node: what provably belongs to nobody.

export interface Garbage {
  readonly all: readonly Belongings[]
  /** Leases that name nobody. */
  readonly empty: readonly EmptyLease[]
  /** Dead, but left for now, and why. */
  readonly waiting: readonly { readonly attachment: KnownAttachment; readonly why: string }[]
}

/** What became of what belonged to one attachment. */
export interface Taken {
  readonly belongings: Belongings
  readonly taken: readonly string[]
  /** Why it is kept after all; "" where it is gone. */
  readonly kept: string
}

export function garbageOn({ attachments, emptyLeases }: Node, kernel: Kernel): Garbage {
  const dead = attachments.filter(({ life }) => life.state === 'dead')
  const waiting = dead.flatMap((attachment) => {
    const why = reprieve(attachment, kernel)
    return why === undefined ? [] : [{ attachment, why }]
  })
  const spared = new Set(waiting.map(({ attachment }) => attachment))
  return {
    all: dead.flatMap((attachment) => (spared.has(attachment) ? [] : (belongingsOf(attachment) ?? []))),
    empty: emptyLeases.filter(({ modified }) => !isYoung(modified)),
    waiting,
  }
}

/**
 * Takes it, each attachment after its death is proven again with the locks held.
 * @param means `bin` is the folder of the plugins, `began` hears how many were at work on before a batch
 */
export async function takeGarbage(
  all: readonly Belongings[],
  { bin, warn, began }: { bin: string; warn: (text: string) => void; began?: (at: number) => void },
): Promise<readonly Taken[]> {
  if (all.length === 0) return []
  const means = { loaded: await loadPlugins(), bin }
  const outcomes: Taken[] = []
  for (let at = 0; at < all.length; at += batch) {
    began?.(at)
    const some = all.slice(at, at + batch)
    const byAttachment = new Map(some.map((one) => [one.attachment, one]))
    const done = takeFrom([...byAttachment.keys()], warn, (host, attachment) =>
      collect(host, byAttachment.get(attachment) as Belongings, means),
    )
    for (const [index, belongings] of some.entries()) {
      const outcome = done[index]
      const isTaken = outcome !== undefined && 'taken' in outcome
      outcomes.push({ belongings, taken: isTaken ? outcome.taken : [], kept: isTaken ? '' : (outcome?.kept ?? '') })
    }
  }
  return outcomes
}

// --- internal

/** Attachments whose locks are held together: each batch looks at all namespaces once more. */
const batch = 50
