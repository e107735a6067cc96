import { getHeapStatistics } from 'node:v8'

// V8 lets garbage be until there is half as much of it as of what is in use, and tens of megabytes outside of its heap,
// of which a netlink message has hundreds of pieces. Beside thousands of nodes that would be a third of the memory.

/** Bytes. */
const most = 6_000_000

let kept = 0

/**
 * Collects garbage where more than a little has come together since; called behind what makes much of it. The last
 * resort gives the pages back, too, of which V8 keeps megabytes for the next time.
 */
export function letGarbageGo(): void {
  const { gc } = globalThis
  if (gc === undefined || inUse() - kept < most) return
  gc({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  kept = inUse()
}

// --- internal

function inUse(): number {
  const { used_heap_size, external_memory } = getHeapStatistics()
  return used_heap_size + external_memory
}
