/** As deep as Go's decoder goes. */
const deepest = 10_000

/**
 * Why a text is no JSON, in the words of Go's decoder (encoding/json), which callers know; undefined where it is.
 * Only asked when something is wrong: it is slower than JSON.parse.
 */
export function jsonFault(text: string): string | undefined {
  const scanner = new Scanner(Buffer.from(text))
  try {
    scanner.value()
    scanner.end()
    return undefined
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown.message
    throw thrown
  }
}

/** True where brackets may stand deeper than Go's decoder goes: only then it is worth to look. */
export function mayBeTooDeep(text: string): boolean {
  return text.length > 2 * deepest
}

/**
 * What Go says of a value that is of another type than its place (`of`) takes; `where` as `struct field NetConf.mtu`.
 */
export function typeFault(value: unknown, where: string, of: string): string {
  return `json: cannot unmarshal ${kindOf(value, of)} into Go ${where} of type ${of}`
}

// --- internal

/** A number that an integer cannot hold is named. */
function kindOf(value: unknown, of: string): string {
  if (Array.isArray(value)) return 'array'
  switch (typeof value) {
    case 'number':
      return of.startsWith('int') || of.startsWith('uint') ? `number ${value}` : 'number'
    case 'boolean':
      return 'bool'
    default:
      return typeof value
  }
}

class Fault extends Error {}

/** Goes through the bytes without recursion: where it stands is a stack of open brackets. */
class Scanner {
  private readonly bytes: Uint8Array
  private at = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  value(): void {
    const open: ('{' | '[')[] = []
    for (;;) {
      const opened = this.beginning()
      if (opened === undefined) {
        if (this.closeAll(open)) return
        continue
      }
      open.push(opened)
      if (open.length > deepest) throw new Fault('exceeded max depth')
      this.spaces()
      if (this.peek() === (opened === '{' ? '}' : ']')) {
        this.at++
        open.pop()
        if (this.closeAll(open)) return
      } else if (opened === '{') this.key()
    }
  }

  end(): void {
    this.spaces()
    if (this.at < this.bytes.length) this.refuse('after top-level value')
  }

  /** Behind a value: true where it was the outermost one, else the place is the beginning of the next one. */
  private closeAll(open: ('{' | '[')[]): boolean {
    for (;;) {
      const inside = open.at(-1)
      if (inside === undefined) return true
      this.spaces()
      const char = this.next()
      if (char === ',') {
        if (inside === '{') {
          this.spaces()
          this.key()
        }
        return false
      }
      if (char !== (inside === '{' ? '}' : ']')) {
        this.refuseBefore(inside === '{' ? 'after object key:value pair' : 'after array element')
      }
      open.pop()
    }
  }

  private key(): void {
    if (this.next() !== '"') this.refuseBefore('looking for beginning of object key string')
    this.string()
    this.spaces()
    if (this.next() !== ':') this.refuseBefore('after object key')
  }

  /** A bracket that opens; undefined behind a whole value. */
  private beginning(): '{' | '[' | undefined {
    this.spaces()
    const char = this.next()
    if (char === '{' || char === '[') return char
    if (char === '"') this.string()
    else if (char === '-' || isDigit(char)) this.number(char)
    else if (char === 't') this.literal('true')
    else if (char === 'f') this.literal('false')
    else if (char === 'n') this.literal('null')
    else this.refuseBefore('looking for beginning of value')
    return undefined
  }

  private string(): void {
    for (;;) {
      const char = this.next()
      if (char === '"') return
      if (char < ' ') this.refuseBefore('in string literal')
      if (char !== '\\') continue
      const escaped = this.nextInside()
      if (escaped === 'u') {
        for (let count = 0; count < 4; count++) {
          if (!'0123456789abcdefABCDEF'.includes(this.nextInside())) {
            this.refuseBefore('in \\u hexadecimal character escape')
          }
        }
      } else if (!'bfnrt\\/"'.includes(escaped)) this.refuseBefore('in string escape code')
    }
  }

  private number(first: string): void {
    const digit = first === '-' ? this.digit('in numeric literal') : first
    if (digit !== '0') this.digits()
    if (this.peek() === '.') {
      this.at++
      this.digit('after decimal point in numeric literal')
      this.digits()
    }
    if (this.peek() === 'e' || this.peek() === 'E') {
      this.at++
      if (this.peek() === '+' || this.peek() === '-') this.at++
      this.digit('in exponent of numeric literal')
      this.digits()
    }
  }

  private digit(where: string): string {
    const char = this.nextInside()
    if (!isDigit(char)) this.refuseBefore(where)
    return char
  }

  private digits(): void {
    while (isDigit(this.peek())) this.at++
  }

  private literal(word: string): void {
    for (const wanted of word.slice(1)) {
      if (this.nextInside() !== wanted) this.refuseBefore(`in literal ${word} (expecting '${wanted}')`)
    }
  }

  private spaces(): void {
    for (let char = this.peek(); char === ' ' || char === '\t' || char === '\r' || char === '\n'; char = this.peek()) {
      this.at++
    }
  }

  /** The byte here as a character; "" at the end. */
  private peek(): string {
    const byte = this.bytes[this.at]
    return byte === undefined ? '' : String.fromCharCode(byte)
  }

  private next(): string {
    const char = this.peek()
    if (char === '') throw new Fault('unexpected end of JSON input')
    this.at++
    return char
  }

  /** The next character inside a number, a word or an escape: Go reads a space behind the end to finish these. */
  private nextInside(): string {
    const char = this.peek() || ' '
    this.at++
    return char
  }

  private refuseBefore(where: string): never {
    this.at--
    this.refuse(where)
  }

  private refuse(where: string): never {
    throw new Fault(`invalid character ${quoted(this.peek() || ' ')} ${where}`)
  }
}

function isDigit(char: string): boolean {
  return char !== '' && char >= '0' && char <= '9'
}

const named: Record<string, string> = {
  "'": "\\'",
  '"': '"',
  '\\': '\\\\',
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
}

/** A byte as Go quotes the character of that number. */
function quoted(char: string): string {
  const code = char.charCodeAt(0)
  const hex = code.toString(16)
  const text = named[char] ?? (code < 32 || code === 127 ? `\\x${hex.padStart(2, '0')}` : char)
  return `'${code >= 0x80 && (code <= 0xa0 || code === 0xad) ? `\\u${hex.padStart(4, '0')}` : text}'`
}
