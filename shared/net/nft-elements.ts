import type { Element } from '../plan/element.js'
import type { Machine } from '../plan/machine.js'

/** The elements that are absent, or other than they say; of one without a value or a comment any will do. */
export function missingElements(
  { observer }: Pick<Machine, 'observer'>,
  wanted: readonly Element[],
): readonly Element[] {
  const held = observer.holds(wanted)
  return wanted.filter((_, index) => !held[index])
}
