import type { Command, Outcome, Run } from './run.js'

/** A command among others; those `beside` run while the others do, because neither looks at what the other changes. */
export interface Part extends Pick<Command, 'argv' | 'stdin'> {
  readonly beside?: boolean
}

/** Parts one process can take: each needs two descriptors, and a POSIX shell's redirections know ten. */
export const mostParts = 3

/**
 * Runs several commands by one process of ours: forking Node costs more than all the shell does (bench/RESULTS.md). The shell's
 * text is made of numbers alone; every word and every input reaches it as data. Without `keepGoing` the first
 * failure ends the sequence.
 * @returns an outcome for each part, undefined for those not tried
 */
export function runTogether(run: Run, parts: readonly Part[], keepGoing: boolean): readonly (Outcome | undefined)[] {
  const words = parts.flatMap(({ argv }) => argv)
  const argv: [string, ...string[]] = ['sh', '-c', script(parts, keepGoing), 'sh', ...words]
  const pipes = parts.flatMap(({ stdin = '' }) => [stdin, null])
  const { stdout, extra = [], ...whole } = run({ argv, pipes, parts })
  const lines = stdout.split('\n').filter((line) => line !== '')
  const statuses = new Map(lines.map((line) => line.split(' ').map(Number) as [number, number]))
  if (stdout === '') return [whole.status === 0 ? undefined : { ...whole, stdout }]
  return parts.map((_, index) => {
    const status = statuses.get(index)
    if (status === undefined) return undefined
    const stderr = extra[index * 2 + 1] ?? ''
    return { status, signal: null, stdout: '', stderr, ...(status === 127 ? { failure: 'ENOENT' } : {}) }
  })
}

// --- internal

/** For example: { "$1" "$2" "$3" <&3 >&4 2>&4; echo "0 $?"; } & "$4" "$5" <&5 >&6 2>&6; s=$?; echo "1 $s"; [ $s = 0 ] || { wait; exit; }; wait */
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
