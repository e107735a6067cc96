import type { ObservedLink } from '../values/observe.schema.js'
import type { Observer } from './observer.js'
import type { Operation } from './operation.js'
import { isTolerated, type Report, refusal, together } from './refusal.js'

// A tool may end without saying how far it came: killed, out of time or memory, at a word it cannot read, in another
// version's words. Then it may have done nothing, some, or all of what it was given: what can be looked at is looked
// at, and the rest is taken back by operations that name only what is the attachment's own. A link's name alone does
// not say whose it is; that there was none of it before does.

/**
 * The operations that would make a link of a name that is there already, and that none of those before them removes: it
 * is another's.
 */
export function takenNames(plan: readonly Operation[], observer: Observer): ReadonlySet<Operation> {
  const taken = new Set<Operation>()
  for (const [index, operation] of plan.entries()) {
    const { shownBy: made, undo } = operation
    if (!made?.exists || !undo) continue
    const isFreed = plan.slice(0, index).some(({ shownBy: gone }) => {
      return gone?.exists === false && gone.link === made.link && gone.netns === made.netns
    })
    if (!isFreed && isThere(observer, made)) taken.add(operation)
  }
  return taken
}

/** Whether something of an operation that may have run is there to be taken back. */
export function mayHaveRun(operation: Operation, taken: ReadonlySet<Operation>, observer: Observer): boolean {
  const { shownBy, undo } = operation
  if (undo === undefined || taken.has(operation)) return false
  if (!shownBy?.exists) return true
  try {
    const link = observer.link(shownBy.link, shownBy.netns)
    return link !== undefined && isAsMade(link, operation)
  } catch {
    // Nobody can be asked; before there was none of the name.
    return true
  }
}

/** The operation as one that may not have run: what would take it back may find nothing to take. */
export function asPossible(operation: Operation): Operation {
  const undo = operation.undo?.map((one) => ({ ...one, tolerate: [...(one.tolerate ?? []), 'absent' as const] }))
  return { ...operation, ...(undo ? { undo } : {}) }
}

/**
 * A report without what is unclear, of operations that remove: each is tried once more by itself, as what is gone does
 * no harm. What stays unclear counts as refused, unless a look shows it; so does all behind a tool that needs too long.
 */
export function repeated(report: Report, observer: Observer, runAlone: (operation: Operation) => Report): Report {
  const again = (report.unclear ?? []).flatMap(({ operations, outcome }) => {
    let last = outcome
    return operations.map((operation): Report => {
      const alone = last.exceeded ? undefined : runAlone(operation)
      const [unclear] = alone?.unclear ?? []
      if (alone && !unclear) return alone
      last = unclear?.outcome ?? last
      if (isGone(operation, observer)) return { ran: [operation], refused: [] }
      const refused = refusal(operation, last)
      return { ran: [], refused: [isTolerated(refused) ? { ...refused, reason: 'other' } : refused] }
    })
  })
  return together([{ ran: report.ran, refused: report.refused }, ...again])
}

// --- internal

type Shown = NonNullable<Operation['shownBy']>

function isThere(observer: Observer, { link, netns }: Shown): boolean {
  return netns === undefined ? observer.hasLink(link) : observer.link(link, netns) !== undefined
}

function isGone({ shownBy }: Operation, observer: Observer): boolean {
  if (shownBy?.exists !== false) return false
  try {
    return !isThere(observer, shownBy)
  } catch {
    return false
  }
}

/**
 * A new link has the kind and the address that were asked for; one that another made under the name in that moment does
 * not.
 */
function isAsMade({ address, linkinfo }: ObservedLink, { argv }: Operation): boolean {
  if (argv[0] !== 'link' || argv[1] !== 'add') return true
  const [mac, kind] = ['address', 'type'].map((word) => argv[argv.indexOf(word) + 1])
  return (!argv.includes('address') || mac?.toLowerCase() === address) && kind === linkinfo?.info_kind
}
