import { globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { commandPath, repository } from '../harness/locations.js'
import { type Finished, run } from '../harness/process.js'
import { type ReportedTest, readReport, reportPath } from './report.js'

const here = join(repository, 'conformance/vm')
const logPath = join(dirname(reportPath), 'vm.log')
const statusSkipped = 77
// Seconds, for the tests that need a full kernel and for all; the deadline behind leaves time to wait for another machine.
const limits = { some: 3_600, all: 14_400 }
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
  const { status, stdout, stderr } = await call([join(here, 'features')])
  if (status !== 0) throw new Error(`the kernel's features cannot be found out: ${stderr}`)
  const lines = stdout.trim().split('\n')
  return lines.filter((line) => !line.endsWith(' yes')).map((line) => line.replace(/ no: .*/, ''))
}

/** Runs conformance tests natively on a full kernel and in the virtual machine otherwise. Throws when that broke. */
export async function runConformance({ filters, alwaysInMachine }: GuestRun): Promise<GuestResult> {
  const missing = await missingFeatures()
  const vitest = [join(here, 'vitest'), ...filters]
  if (missing.length === 0 && !alwaysInMachine) {
    return { where: 'natively: this kernel has every feature', tests: testsOf(await logged(vitest)) }
  }
  const reason = missing.length > 0 ? `this kernel lacks ${missing.join(', ')}` : 'as asked'
  const limit = filters.length > 0 ? limits.some : limits.all
  const machine = [join(here, 'run'), '--share', dirname(reportPath), '--limit', String(limit)]
  const finished = await logged([...machine, ...vitest])
  const told = finished.stderr.trim().split('\n').at(-1) ?? ''
  const where = `in the virtual machine: ${reason}; ${told}`
  return { where, tests: finished.status === statusSkipped ? unrun(filters, told) : testsOf(finished) }
}

async function logged(argv: readonly string[]): Promise<Finished> {
  mkdirSync(dirname(reportPath), { recursive: true })
  rmSync(reportPath, { force: true })
  const finished = await call(argv)
  writeFileSync(logPath, `${finished.stdout}\n${finished.stderr}`)
  return finished
}

function call(argv: readonly string[]): Promise<Finished> {
  const passed = Object.entries(process.env).filter(([name]) => name.startsWith('PODWIRE_'))
  return run(argv, { env: { PATH: commandPath, ...(Object.fromEntries(passed) as Record<string, string>) }, deadline })
}

// A status without a failed test to explain it is a broken run: nobody knows what it did not run.
function testsOf({ status, signal, stdout, stderr }: Finished): ReportedTest[] {
  const ending = `${stdout.slice(-2_000)}\n${stderr.slice(-4_000)}`
  if (status !== 0 && status !== 1)
    throw new Error(`the run broke off (${status ?? signal}), see ${logPath}: ${ending}`)
  const tests = readReport()
  const failed = tests.some(({ state }) => state === 'failed')
  if (tests.length === 0 || failed !== (status === 1)) throw new Error(`the report is not of this run: ${ending}`)
  return tests
}

/** A skipped test for every file, because none of them ran. */
function unrun(filters: readonly string[], note: string): ReportedTest[] {
  const files = globSync('conformance/**/*.test.ts', { cwd: repository, exclude: ['conformance/vm/guest.test.ts'] })
  const wanted = files.filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
  return wanted.map((file) => ({ file, name: 'every test of the file', state: 'skipped', note }))
}
