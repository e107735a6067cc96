import type { Command, Outcome, Run } from './command.js'

/** A command among others; those `beside` run while the others do, because neither looks at what the other changes. */
export interface Part extends Pick<Command, 'argv' | 'stdin'> {
  readonly beside?: boolean
}

/** Parts one process can take: each needs two descriptors, and a POSIX shell's redirections know ten. */
export const mostParts = 3

/**
 * Runs several commands by one process of ours: forking Node costs more than all the shell does (bench/RESULTS.md). The
 * shell's text is made of numbers alone; every word and every input reaches it as data. Without `keepGoing` the first
 * failure ends the sequence.
 * @returns an outcome for each part, undefined for those not tried, and none at all when the shell could not make a
 * process. When the shell itself does not get to its end (killed, no more processes to be had), those of which it did
 * not tell have its own outcome: they may have run
 */
export function runTogether(run: Run, parts: readonly Part[], keepGoing: boolean): readonly (Outcome | undefined)[] {
  const words = parts.flatMap(({ argv }) => argv)
  const argv: [string, ...string[]] = ['sh', '-c', script(parts, keepGoing), 'sh', ...words]
  const pipes = parts.flatMap(({ stdin = '' }) => [stdin, null])
  const { stdout, extra = [], ...whole } = run({ argv, pipes, parts })
  if (whole.failure !== undefined) return [{ ...whole, stdout }]
  const lines = stdout.split('\n').filter((line) => line !== '')
  const statuses = new Map(lines.map((line) => line.split(' ').map(Number) as [number, number]))
  const couldNotFork = [whole.stderr, ...extra].some((text) => text.includes('fork'))
  if (stdout === '' && whole.signal === null && whole.status !== 0 && couldNotFork) return []
  const failed = parts.findIndex(({ beside }, index) => !beside && (statuses.get(index) ?? 0) !== 0)
  return parts.map(({ beside = false }, index) => {
    const status = statuses.get(index)
    const stderr = extra[index * 2 + 1] ?? ''
    if (status !== undefined) return { ...endOf(status, stderr), stdout: '', stderr }
    const isTried = beside || keepGoing || failed < 0 || index < failed
    return isTried && whole.status !== 0 ? { ...whole, stdout: '', stderr: whole.stderr + stderr } : undefined
  })
}

// --- internal

/** How a command ended, by the status a shell gives it. A tool may end with 127 of itself: the shell's words tell. */
function endOf(status: number, stderr: string): Pick<Outcome, 'status' | 'signal' | 'failure'> {
  if (status === 127 && stderr.includes('not found')) return { status, signal: null, failure: 'ENOENT' }
  const signal = status - 128
  return signal > 0 && signal <= 64 ? { status: null, signal: `signal ${signal}` } : { status, signal: null }
}

/**
 * For example: { "$1" "$2" "$3" <&3 >&4 2>&4; echo "0 $?"; } & "$4" "$5" <&5 >&6 2>&6; s=$?; echo "1 $s"; [ $s = 0 ] ||
 * { wait; exit; }; wait
 */
function script(parts: readonly Part[], keepGoing: boolean): string {
  const lines: { text: string; beside: boolean }[] = []
  let word = 1
  for (const [index, { argv, beside = false }] of parts.entries()) {
    const [input, output] = [3 + index * 2, 4 + index * 2]
    const command = argv.map(() => `"\${${word++}}"`).join(' ')
    const redirected = `${command} <&${input} >&${output} 2>&${output}`
    const stop = keepGoing ? '' : '; [ $s = 0 ] || { wait; exit; }'
    const text = beside ? `{ ${redirected}; echo "${index} $?"; } &` : `${redirected}; s=$?; echo "${index} $s"${stop}`
    lines.push({ text, beside })
  }
  const first = lines.filter(({ beside }) => beside)
  const then = lines.filter(({ beside }) => !beside)
  return [...first, ...then]
    .map(({ text }) => text)
    .concat('wait')
    .join('\n')
}
