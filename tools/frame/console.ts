import stringWidth from 'string-width'
import { visible, visibleJson } from './visible.js'

/** Where a program writes, and what it knows of who reads there. */
export interface Output {
  readonly writeOut: (text: string) => void
  readonly writeErr: (text: string) => void
  /** Whether standard output is a terminal that shows colours; absent: it does not. */
  readonly hasColors?: boolean
  /** Whether standard error is a terminal; absent: it is not. */
  readonly showsProgress?: boolean
}

/** What a command says to people and machines. Texts of its own are printed as they are; others' go through `cell`. */
export class Console {
  private readonly output: Output
  private readonly started = performance.now()
  private told = 0
  private isTelling = false

  constructor(output: Output) {
    this.output = output
  }

  /** Lines of the answer. */
  write(...lines: readonly string[]): void {
    this.endProgress()
    this.output.writeOut(lines.map((line) => `${line}\n`).join(''))
  }

  /** What could not be looked at: on standard error, beside the answer. */
  warn(text: string): void {
    this.endProgress()
    this.output.writeErr(`podwire: ${visible(text)}\n`)
  }

  /** The answer for machines: one object, of which `command` and `formatVersion` say how the rest is to be read. */
  json(command: string, value: object): void {
    const whole = { command, formatVersion: 1, ...value }
    this.write(visibleJson(JSON.stringify(whole, null, 2)))
  }

  /** Rows under headings, in columns two blanks apart. Every cell may be another's text. */
  table(headings: readonly string[], rows: readonly (readonly string[])[]): void {
    const cells = rows.map((row) => row.map((cell) => visible(cell) || '-'))
    const widths = headings.map((heading, at) =>
      Math.max(...[heading, ...cells.map((row) => row[at] ?? '')].map(width)),
    )
    const line = (row: readonly string[]) =>
      row
        .map((cell, at) => padded(cell, widths[at] ?? 0))
        .join('  ')
        .trimEnd()
    this.write(this.painted('bold', line(headings)), ...cells.map(line))
  }

  /** A text in a colour, where they are shown. */
  painted(color: keyof typeof paint, text: string): string {
    return this.output.hasColors ? `\x1b[${paint[color]}m${text}\x1b[0m` : text
  }

  /** Says on a terminal what the command is at, once it has taken a second; one line that the next one replaces. */
  progress(text: string): void {
    const now = performance.now()
    if (!this.output.showsProgress || now - this.started < 1000 || now - this.told < 100) return
    this.told = now
    this.isTelling = true
    this.output.writeErr(`\r\x1b[K${visible(text)}`)
  }

  endProgress(): void {
    if (this.isTelling) this.output.writeErr('\r\x1b[K')
    this.isTelling = false
  }
}

/** What the standard streams of this process are. */
export function standardOutput(): Output {
  const { stdout, stderr, env } = process
  return {
    writeOut: (text) => void stdout.write(text),
    writeErr: (text) => void stderr.write(text),
    hasColors: stdout.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb',
    showsProgress: stderr.isTTY === true && env['TERM'] !== 'dumb',
  }
}

// --- internal

const paint = { bold: 1, red: 31, green: 32, yellow: 33, dim: 2 } as const

function width(text: string): number {
  return stringWidth(text)
}

function padded(text: string, to: number): string {
  return text + ' '.repeat(Math.max(0, to - width(text)))
}
