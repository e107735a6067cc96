import { existsSync, readFileSync } from 'node:fs'
import type { Host } from './host.js'

/** A line of a trace (PODWIRE_TRACE): a process, or a change asked of the kernel by netlink. */
export interface Step {
  time: string
  ms?: number
  argv: string[]
  stdin: string
  netlink?: boolean
  /** In the line of a chain's member, which says how long that took; of the others it has `time` and `ms`. */
  member?: string
}

/** What traced calls of a host did, in order; nothing where none wrote a line. */
export function readTrace(host: Host, file: string): Step[] {
  if (!existsSync(host.path(file))) return []
  const lines = readFileSync(host.path(file), 'utf8').split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Step)
}

/** The programs of a trace; those in a container's namespace as "in NAME". */
export function programsOf(steps: readonly Step[]): string[] {
  const processes = steps.filter(({ netlink, member }) => !netlink && member === undefined)
  return processes.map(({ argv }) => (argv[0] === 'nsenter' ? `in ${argv[2]}` : String(argv[0])))
}
