import { createWriteStream, globSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { commandPath, repository } from '../harness/locations.js'
import { type Finished, type Started, start } from '../harness/process.js'
import { type ReportedTest, readReport, reports } from './report.js'

const here = join(repository, 'conformance/vm')
const statusSkipped = 77
/** What the machine, not vitest, ends with: the limit was reached, or the guest gave no result. */
const brokenOff: readonly Finished['status'][] = [124, 125]
// Seconds, for the tests that need a full kernel and for all; the deadline behind leaves time to wait for another machine.
const limits = { some: 2_400, all: 14_400 }
const deadline = 20_000_000

/** What is to run, and where it must not run natively. */
export interface GuestRun {
  /** Which files, as vitest takes filters; none means all. */
  filters: readonly string[]
  /** Run in the machine even where this kernel could. */
  alwaysInMachine: boolean
}

export interface GuestResult {
  /** Where the tests ran and why there, for people. */
  where: string
  tests: ReportedTest[]
}

/** The kernel features that this machine lacks (see `features`). */
export async function missingFeatures(): Promise<string[]> {
  const { status, stdout, stderr } = await begin([join(here, 'features')]).finished
  if (status !== 0) throw new Error(`the kernel's features cannot be found out: ${stderr}`)
  const lines = stdout.trim().split('\n')
  return lines.filter((line) => !line.endsWith(' yes')).map((line) => line.replace(/ no: .*/, ''))
}

/** Runs conformance tests natively on a full kernel and in virtual machines otherwise. Throws when that broke. */
export async function runConformance({ filters, alwaysInMachine }: GuestRun): Promise<GuestResult> {
  const missing = await missingFeatures()
  const vitest = [join(here, 'vitest'), ...filters]
  if (missing.length === 0 && !alwaysInMachine) {
    return { where: 'natively: this kernel has every feature', tests: testsOf(await logged(vitest)) }
  }
  const reason = missing.length > 0 ? `this kernel lacks ${missing.join(', ')}` : 'as asked'
  const runs = await inMachines(vitest, filters.length > 0 ? limits.some : limits.all)
  const told = runs.map(({ stderr }) => stderr.trim().split('\n').at(-1) ?? '')
  const where = `in the virtual machine: ${reason}; ${told.join('; ')}`
  const isSkipped = runs.every(({ status }) => status === statusSkipped)
  return { where, tests: isSkipped ? unrun(filters, told[0] ?? '') : runs.flatMap(testsOf) }
}

/** Each machine has one processor. Beside native tests there is one of them, otherwise one for each processor here, up to four. */
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

interface Logged extends Finished {
  name: string
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

/** Runs tests to their end, which leaves the files NAME.json and NAME.log; the log shows how far it is. */
async function logged(argv: readonly string[], name = 'vm'): Promise<Logged> {
  mkdirSync(reports, { recursive: true })
  const report = join(reports, `${name}.json`)
  rmSync(report, { force: true })
  const log = createWriteStream(logOf(name))
  const { child, finished } = begin(argv, { PODWIRE_REPORT: report })
  for (const stream of [child.stdout, child.stderr]) stream?.pipe(log, { end: false })
  const ended = await finished.finally(() => log.end())
  return { ...ended, name }
}

function begin(argv: readonly string[], more: Record<string, string> = {}): Started {
  const passed = Object.entries(process.env).filter(([name]) => name.startsWith('PODWIRE_'))
  const env = { PATH: commandPath, ...(Object.fromEntries(passed) as Record<string, string>), ...more }
  return start(argv, { env, deadline })
}

// A status without a failed test to explain it is a broken run: nobody knows what it did not run.
function testsOf(run: Logged): ReportedTest[] {
  const { name, status, signal } = run
  const ending = endingOf(run)
  if (status !== 0 && status !== 1)
    throw new Error(`the run broke off (${status ?? signal}), see ${logOf(name)}: ${ending}`)
  const tests = readReport(join(reports, `${name}.json`))
  const failed = tests.some(({ state }) => state === 'failed')
  if (tests.length === 0 || failed !== (status === 1)) throw new Error(`the report is not of this run: ${ending}`)
  return tests
}

function logOf(name: string): string {
  return join(reports, `${name}.log`)
}

function endingOf({ stdout, stderr }: Finished): string {
  return `${stderr.slice(-8_000)}\n${stdout.slice(-1_000)}`
}

/** A skipped test for every file, because none of them ran. */
function unrun(filters: readonly string[], note: string): ReportedTest[] {
  const files = globSync('conformance/**/*.test.ts', { cwd: repository, exclude: ['conformance/vm/guest.test.ts'] })
  const wanted = files.filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
  return wanted.map((file) => ({ file, name: 'every test of the file', state: 'skipped', note }))
}
