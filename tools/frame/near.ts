/** The word among those known that was probably meant: the one with the fewest edits, if they are few. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const lower = word.toLowerCase()
  const rated = known.map((one) => ({ one, edits: editsBetween(lower, one.toLowerCase()) }))
  const [best] = rated.sort((left, right) => left.edits - right.edits)
  if (!best || best.edits > Math.max(1, Math.floor(word.length / 3))) return undefined
  return best.one
}

// --- internal

/** Edits from one word to the other: a character more, less or another one, or two exchanged (Damerau). */
function editsBetween(left: string, right: string): number {
  let [before, row] = [[] as number[], Array.from({ length: right.length + 1 }, (_, index) => index)]
  for (let i = 1; i <= left.length; i++) {
    const next = [i]
    for (let j = 1; j <= right.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1)
      const isExchanged = i > 1 && j > 1 && left[i - 1] === right[j - 2] && left[i - 2] === right[j - 1]
      const exchanged = isExchanged ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY
      next[j] = Math.min(replaced, exchanged, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1)
    }
    before = row
    row = next
  }
  return row[right.length] ?? Number.POSITIVE_INFINITY
}
