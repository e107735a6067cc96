import { podwire } from '../podwire.js'

/** What a command line of the program `podwire` prints, and how it ends. */
export interface Answer {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs one command line, as if standard output were a terminal or not. */
export async function command(words: readonly string[], { hasColors = false } = {}): Promise<Answer> {
  let [stdout, stderr] = ['', '']
  const status = await podwire(words, {
    writeOut: (text) => {
      stdout += text
    },
    writeErr: (text) => {
      stderr += text
    },
    hasColors,
  })
  return { status, stdout, stderr }
}
