/**
 * A text that came from a file, a kernel object or a container, as it may be printed: one line without control
 * characters, and without those that turn, hide or join what stands around them (Unicode's Bidi_Control, zero width,
 * private and unassigned ones of `Other`). Each becomes `\u{hex}`.
 */
export function visible(text: string): string {
  return text.toWellFormed().replace(unseen, escaped)
}

/** The same for JSON text, which stays the same JSON value: JSON itself leaves most of them as they are. */
export function visibleJson(text: string): string {
  return text.replace(unseen, (char) => (char === '\n' ? char : unitsOf(char)))
}

/** The same for SARIF and Markdown, where brackets, backticks and the like would be markup. */
export function withoutMarkup(text: string): string {
  return visible(text).replace(/[\\`*_[\]<>|#]/g, (char) => `\\${char}`)
}

// --- internal

/** Control, format, surrogate, private use, unassigned; line and paragraph separators; spaces but the plain one. */
const unseen = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu

function escaped(char: string): string {
  return `\\u{${char.codePointAt(0)?.toString(16)}}`
}

function unitsOf(char: string): string {
  return Array.from({ length: char.length }, (_, at) => char.charCodeAt(at).toString(16).padStart(4, '0'))
    .map((hex) => `\\u${hex}`)
    .join('')
}
