/** A text as one quoted token for nft and iptables-restore. @throws when it could end the quotes or the line */
export function quoted(text: string): string {
  const token = `"${text.replaceAll('"', '\\"')}"`
  assertToken(token)
  return token
}

/**
 * Refuses a token that a batch file could read as anything but one word: white space, control characters, comments,
 * escapes, quotes that are not a whole quoted token, and nft's separators inside a word.
 * @throws Error: a defect of ours, for names from outside are refused at the edge (checks.ts)
 */
export function assertToken(token: string): void {
  const fault = faultOf(token)
  if (fault) throw new Error(`unsafe token ${JSON.stringify(token)}: ${fault}`)
}

/** Whether assertToken takes it: for words that come back from a file. */
export function isToken(token: string): boolean {
  return faultOf(token) === undefined
}

/** The text a token stands for. */
export function unquoted(token: string): string {
  return token.startsWith('"') ? token.slice(1, -1).replaceAll('\\"', '"') : token
}

// --- internal

/** Character codes that end a word, or begin something else, in a batch file of ip, nft or iptables-restore. */
const separators = new Set(['"', "'", '\\', '#', ';', '{', '}', '`'].map((char) => char.charCodeAt(0)))

function faultOf(token: string): string | undefined {
  return token.startsWith('"') ? quotedFault(token) : wordFault(token)
}

function wordFault(token: string): string | undefined {
  if (token === '') return 'it is empty'
  if (token === ';' || token === '{' || token === '}') return undefined
  for (let at = 0; at < token.length; at++) {
    const code = token.charCodeAt(at)
    if (code <= 0x20 || code === 0x7f || code === 0x85) return 'white space or a control character'
    if (separators.has(code)) return `the character ${token[at]}`
  }
  return undefined
}

function quotedFault(token: string): string | undefined {
  const last = token.length - 1
  if (last < 1 || token.charCodeAt(last) !== quote) return 'its quotes are not closed'
  for (let at = 1; at < last; at++) {
    const code = token.charCodeAt(at)
    if (code < 0x20 || code === 0x7f) return 'a control character'
    if (code === quote) return 'quotes within quotes'
    if (code === backslash && (++at >= last || token.charCodeAt(at) !== quote)) return 'an escape'
  }
  return undefined
}

const quote = 0x22
const backslash = 0x5c
