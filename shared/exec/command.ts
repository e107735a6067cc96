/** One process to run: tokens only, never a shell's text. */
export interface Command {
  readonly argv: readonly [string, ...string[]]
  readonly stdin?: string
  /** Pipes the child gets as 3, 4, ...: a text is one to read it from, null one whose output comes back in `extra`. */
  readonly pipes?: readonly (string | null)[]
  /** Descriptors it gets behind those. */
  readonly fds?: readonly number[]
  /** An open file that it has besides, behind all others, as long as it runs (tool-lock.ts). */
  readonly lock?: number
  /** For the trace: the commands this one runs in turn. */
  readonly parts?: readonly Pick<Command, 'argv' | 'stdin'>[]
  /** The child's whole environment; absent means the small fixed one that tools get. */
  readonly env?: Readonly<Record<string, string>>
  /**
   * How long it may take: then it is killed with all that it started. Absent: as long as tools get, and a program with
   * its own `env` any time.
   */
  readonly seconds?: number
}

/** What became of a process. `failure` is an errno name (ENOENT, EACCES, ...) when it could not be started at all. */
export interface Outcome {
  readonly status: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  readonly failure?: string
  /** It was killed because it ran for too long or printed too much; stderr begins with the sentence that says so. */
  readonly exceeded?: boolean
  /** What came out of each of `pipes`; empty for those it read. */
  readonly extra?: readonly string[]
}

/** The one seam below everything: tests put a fake here, production the runner below. */
export type Run = (command: Command) => Outcome
