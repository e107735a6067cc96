import { renameSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { repository } from '../harness/locations.js'
import type { Finished } from '../harness/process.js'
import { begin, type Elsewhere, endingOf, type Logged, logged, logOf, testsOf, unrun } from './elsewhere.js'
import { reports } from './report.js'

const here = join(repository, 'conformance/vm')
const statusSkipped = 77
/** What the machine, not vitest, ends with: the limit was reached, or the guest gave no result. */
const brokenOff: readonly Finished['status'][] = [124, 125]
// Seconds, for the tests that need a full kernel and for all: several times what they take, for what hangs.
const limits = { some: 7_200, all: 43_200 }

/** What is to run, and where it must not run natively. */
export interface GuestRun {
  /** Which files, as vitest takes filters; none means all. */
  filters: readonly string[]
  /** Run in the machine even where this kernel could. */
  alwaysInMachine: boolean
}

/** The kernel features that this machine lacks (see `features`). */
export async function missingFeatures(): Promise<string[]> {
  const { status, stdout, stderr } = await begin([join(here, 'features')]).finished
  if (status !== 0) throw new Error(`the kernel's features cannot be found out: ${stderr}`)
  const lines = stdout.trim().split('\n')
  return lines.filter((line) => !line.endsWith(' yes')).map((line) => line.replace(/ no: .*/, ''))
}

/** Runs conformance tests natively on a full kernel and in virtual machines otherwise. Throws when that broke. */
export async function runConformance({ filters, alwaysInMachine }: GuestRun): Promise<Elsewhere> {
  const missing = await missingFeatures()
  const vitest = [join(here, 'vitest'), ...filters]
  if (missing.length === 0 && !alwaysInMachine) {
    return { where: 'natively: this kernel has every feature', tests: testsOf(await logged(vitest, 'vm')) }
  }
  const reason = missing.length > 0 ? `this kernel lacks ${missing.join(', ')}` : 'as asked'
  const runs = await inMachines(vitest, filters.length > 0 ? limits.some : limits.all)
  const told = runs.map(({ stderr }) => stderr.trim().split('\n').at(-1) ?? '')
  const where = `in the virtual machine: ${reason}; ${told.join('; ')}`
  const isSkipped = runs.every(({ status }) => status === statusSkipped)
  return { where, tests: isSkipped ? unrun(filters, told[0] ?? '') : runs.flatMap(testsOf) }
}

/**
 * Each machine has one processor. Beside native tests there is one of them, otherwise one for each processor here, up
 * to four.
 */
async function inMachines(vitest: readonly string[], limit: number): Promise<Logged[]> {
  const count = limit === limits.all ? Math.min(4, availableParallelism()) : 1
  const settled = await Promise.allSettled(
    Array.from({ length: count }, (_, index) => {
      const number = index + 1
      const lock = ['--lock', join(reports, `vm-${number}.lock`)]
      const machine = [join(here, 'run'), '--share', reports, '--limit', String(limit), ...(index > 0 ? lock : [])]
      return patiently([...machine, ...vitest, `--shard=${number}/${count}`], `vm-${number}`)
    }),
  )
  return settled.map((one) => {
    if (one.status === 'rejected') throw one.reason
    return one.value
  })
}

/** An emulated machine that breaks off says nothing of the tests: it gets a second chance, and the log says why. */
async function patiently(argv: readonly string[], name: string): Promise<Logged> {
  const first = await logged(argv, name)
  if (!brokenOff.includes(first.status)) return first
  const log = logOf(name)
  renameSync(log, `${log}.broken`)
  console.error(`the virtual machine broke off, and starts once more; see ${log}.broken:\n${endingOf(first)}`)
  return logged(argv, name)
}
