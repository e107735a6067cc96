/**
 * The keys that a top-level member of a JSON text has more than once, each as often as it is repeated. The text must be
 * valid JSON; the member's own name is matched without regard to case, as Go does.
 */
export function duplicateKeys(json: string, member: string): readonly string[] {
  const repeated: string[] = []
  let seen = new Set<string>()
  let [depth, isInside] = [0, false]
  for (let at = 0; at < json.length; at++) {
    const char = json[at]
    if (char === '{' || char === '[') depth++
    else if (char === '}' || char === ']') depth--
    if (char !== '"') continue
    const end = endOfString(json, at)
    const key = keyAt(json, at, end)
    at = end
    if (key === undefined) continue
    if (depth === 1) {
      isInside = key.toLowerCase() === member
      seen = new Set()
    } else if (depth === 2 && isInside) {
      if (seen.has(key)) repeated.push(key)
      seen.add(key)
    }
  }
  return repeated
}

// --- internal

/** Where the string that begins at `from` ends: the place of its closing quote. */
function endOfString(json: string, from: number): number {
  let at = from + 1
  while (json[at] !== '"' && at < json.length) at += json[at] === '\\' ? 2 : 1
  return at
}

/** The string as a key; undefined when no colon follows, so that it is a value. */
function keyAt(json: string, from: number, end: number): string | undefined {
  let at = end + 1
  while (' \t\r\n'.includes(json[at] ?? 'x')) at++
  return json[at] === ':' ? JSON.parse(json.slice(from, end + 1)) : undefined
}
