import { createWriteStream, globSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'vitest'
import { commandPath, repository } from '../harness/locations.js'
import { type Finished, type Started, start } from '../harness/process.js'
import { wholeFile } from '../runner/coverage.js'
import { type ReportedTest, readReport, reports } from './report.js'

// A deadline behind each run's own limit, which leaves time to wait for another machine.
const deadline = 90_000_000

/** Tests that ran in another place than this process's own. */
export interface Elsewhere {
  /** Where the tests ran and why there, for people. */
  where: string
  tests: ReportedTest[]
}

/** A run of vitest that wrote a report and a log under its name. */
export interface Logged extends Finished {
  name: string
}

/** Runs tests to their end, which leaves the files NAME.json and NAME.log; the log shows how far it is. */
export async function logged(argv: readonly string[], name: string): Promise<Logged> {
  mkdirSync(reports, { recursive: true })
  const report = join(reports, `${name}.json`)
  rmSync(report, { force: true })
  const log = createWriteStream(logOf(name))
  const { child, finished } = begin(argv, { PODWIRE_REPORT: report })
  for (const stream of [child.stdout, child.stderr]) stream?.pipe(log, { end: false })
  const ended = await finished.finally(() => log.end())
  return { ...ended, name }
}

/** Starts a command with the PODWIRE_* variables of this process. */
export function begin(argv: readonly string[], more: Record<string, string> = {}): Started {
  const passed = Object.entries(process.env).filter(([name]) => name.startsWith('PODWIRE_'))
  const env = { PATH: commandPath, ...(Object.fromEntries(passed) as Record<string, string>), ...more }
  return start(argv, { env, deadline })
}

/**
 * What became of the tests of a run. A status without a failed test to explain it is a broken run, and an error: nobody
 * knows what it did not run.
 */
export function testsOf(run: Logged): ReportedTest[] {
  const { name, status, signal } = run
  const ending = endingOf(run)
  if (status !== 0 && status !== 1)
    throw new Error(`the run broke off (${status ?? signal}), see ${logOf(name)}: ${ending}`)
  const tests = readReport(join(reports, `${name}.json`))
  const failed = tests.some(({ state }) => state === 'failed')
  if (tests.length === 0 || failed !== (status === 1)) throw new Error(`the report is not of this run: ${ending}`)
  return tests
}

/** Path of a run's log. */
export function logOf(name: string): string {
  return join(reports, `${name}.log`)
}

/** The last a run said. */
export function endingOf({ stdout, stderr }: Finished): string {
  return `${stderr.slice(-8_000)}\n${stdout.slice(-1_000)}`
}

/** A skipped test for every file of these filters, because none of them ran. */
export function unrun(filters: readonly string[], note: string): ReportedTest[] {
  const files = globSync('conformance/**/*.test.ts', {
    cwd: repository,
    exclude: ['conformance/{vm/guest,roots/*,arm64/*}.test.ts'],
  })
  const wanted = files.filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
  return wanted.map((file) => ({ file, name: wholeFile, state: 'skipped', note }))
}

/** Declares a test for each that ran elsewhere, so that this run's counts have them. */
export function declareTests(title: string, { where, tests }: Elsewhere): void {
  console.log(`${tests.length} conformance tests ${where}`)
  describe(title, () => {
    for (const { file, name, state, note, calls = [], unstable } of tests) {
      test(`${file} > ${name}`, ({ skip, task }) => {
        task.meta.calls = calls
        if (unstable !== undefined) task.meta.unstable = unstable
        if (state === 'skipped') skip(note)
        if (state === 'failed') throw new Error(note)
      })
    }
  })
}
