/** Where each key and each entry of an array stands in a JSON text, by its path as `plugins[0].ipam.type`. */
export interface Positions {
  /** The offset; undefined for what is not there. */
  readonly of: (path: string) => number | undefined
  /** Keys that stand twice in one object. */
  readonly duplicates: readonly string[]
}

/** A text that is no JSON, and where it stops being it. */
export class JsonFault extends Error {
  readonly offset: number

  constructor(message: string, offset: number) {
    super(message)
    this.offset = offset
  }
}

/** Goes through a JSON text (RFC 8259). @throws JsonFault */
export function positionsOf(text: string): Positions {
  const scanner = new Scanner(text)
  scanner.whole()
  return { of: (path) => scanner.found.get(path), duplicates: scanner.duplicates }
}

// --- internal

/** Nobody's configuration is deeper, and a planted one must not take the whole stack. */
const deepest = 200

class Scanner {
  readonly found = new Map<string, number>()
  readonly duplicates: string[] = []
  private readonly text: string
  private at = 0
  private depth = 0

  constructor(text: string) {
    this.text = text
  }

  whole(): void {
    if (this.text.startsWith('\ufeff')) this.fail('a byte order mark stands before it')
    this.value('')
    this.blank()
    if (this.at < this.text.length) this.fail('something stands behind it')
  }

  private value(path: string): void {
    this.blank()
    if (path === '' || path.endsWith(']')) this.found.set(path, this.at)
    const char = this.text[this.at]
    if (char === '{') this.within(() => this.object(path))
    else if (char === '[') this.within(() => this.array(path))
    else if (char === '"') this.string()
    else this.literal()
  }

  private within(body: () => void): void {
    if (++this.depth > deepest) this.fail(`it is more than ${deepest} levels deep`)
    this.at++
    this.blank()
    body()
    this.at++
    this.depth--
  }

  private object(path: string): void {
    for (let isFirst = true; this.text[this.at] !== '}'; isFirst = false) {
      if (!isFirst) this.comma('}')
      if (this.text[this.at] !== '"') this.fail('expected a key in double quotes')
      const start = this.at
      const key = this.string()
      const own = path === '' ? key : `${path}.${key}`
      if (this.found.has(own)) this.duplicates.push(own)
      this.found.set(own, start)
      this.blank()
      if (this.text[this.at] !== ':') this.fail('expected ":" behind the key')
      this.at++
      this.value(own)
      this.blank()
    }
  }

  private array(path: string): void {
    for (let index = 0; this.text[this.at] !== ']'; index++) {
      if (index > 0) this.comma(']')
      this.value(`${path}[${index}]`)
      this.blank()
    }
  }

  /** Between two entries; what follows is one. */
  private comma(end: string): void {
    if (this.text[this.at] !== ',') this.fail(`expected "," or "${end}"`)
    this.at++
    this.blank()
    if (this.text[this.at] === end) this.fail(`a comma stands before "${end}"`)
  }

  private string(): string {
    const start = this.at++
    while (this.text[this.at] !== '"') {
      const char = this.text[this.at]
      if (char === undefined) this.fail('a text has no end')
      if (char < ' ') this.fail('a text has a line break, a tab or another control character')
      if (char === '\\' && !/^\\(["\\/bfnrt]|u[0-9a-fA-F]{4})/.test(this.text.slice(this.at, this.at + 6))) {
        this.fail('a text has "\\" before a character that needs none')
      }
      this.at += char === '\\' ? 2 : 1
    }
    this.at++
    return JSON.parse(this.text.slice(start, this.at)) as string
  }

  private literal(): void {
    const [word = ''] = /^[^\s,:{}[\]"]*/.exec(this.text.slice(this.at, this.at + 64)) ?? []
    if (!/^(true|false|null|-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?)$/.test(word)) {
      this.fail(this.at >= this.text.length ? 'it ends too early' : 'expected a value')
    }
    this.at += word.length
  }

  private blank(): void {
    for (let char = this.text[this.at]; char !== undefined && ' \t\r\n'.includes(char); char = this.text[this.at])
      this.at++
  }

  private fail(message: string): never {
    throw new JsonFault(this.at >= this.text.length ? 'it ends too early' : message, this.at)
  }
}
