import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Reporter, TestCase, TestModule } from 'vitest/node'
import type { RecordedCall } from '../harness/calls.js'
import { firstTry } from '../runner/summary.js'

const repository = fileURLToPath(new URL('../..', import.meta.url))

/** The directory of reports and logs. */
export const reports = fileURLToPath(new URL('../../dist/reports', import.meta.url))

/** One test that ran elsewhere; a file that could not be loaded stands as a failed test of its own. */
export interface ReportedTest {
  file: string
  name: string
  state: 'passed' | 'failed' | 'skipped'
  /** Why it was skipped, or how it failed. */
  note: string
  calls?: RecordedCall[] | undefined
  /** How its first try failed, when it passed at the second. */
  unstable?: string | undefined
}

/**
 * Writes what became of every test to $PODWIRE_REPORT or dist/reports/vm.json, at the end of the run and not before.
 */
export class ReportFile implements Reporter {
  readonly #path = process.env['PODWIRE_REPORT'] ?? join(reports, 'vm.json')

  onInit(): void {
    mkdirSync(reports, { recursive: true })
    rmSync(this.#path, { force: true })
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly { message: string; stack?: string }[]): void {
    const tests = modules.flatMap((module) => {
      const file = relative(repository, module.moduleId)
      const broken = module.errors().map((error) => failure(file, 'loading the file', error))
      return [...broken, ...[...module.children.allTests()].map((test) => reported(file, test))]
    })
    const errors = unhandled.map((error) => failure('conformance/vm/vitest', 'unhandled error', error))
    writeFileSync(this.#path, JSON.stringify([...tests, ...errors], undefined, 2))
  }
}

function reported(file: string, test: TestCase): ReportedTest {
  const { state, ...result } = test.result()
  const name = test.fullName
  if (state === 'passed') return { file, name, state, note: '', calls: test.meta().calls, unstable: firstTry(test) }
  if (state === 'skipped') return { file, name, state, note: ('note' in result && result.note) || 'no reason given' }
  const errors = 'errors' in result && result.errors ? result.errors : [{ message: 'the test never ended' }]
  return { file, name, state: 'failed', note: errors.map(text).join('\n') }
}

function failure(file: string, name: string, error: { message: string; stack?: string }): ReportedTest {
  return { file, name, state: 'failed', note: text(error) }
}

function text({ message, stack }: { message: string; stack?: string }): string {
  return stack?.includes(message) ? stack : [message, stack].filter(Boolean).join('\n')
}

/** Reads a report; throws when there is none. */
export function readReport(path: string): ReportedTest[] {
  return JSON.parse(readFileSync(path, 'utf8')) as ReportedTest[]
}
