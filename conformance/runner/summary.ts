import type { Reporter, SerializedError, TestCase, TestModule, Vitest } from 'vitest/node'
import { mostUnstable } from './patience.js'

/**
 * Names every skipped test with its reason, then what passed at its second try only, then every failure, so that the
 * end of a log has all that is wrong; the run's very last line is `N passed, N failed, N skipped`.
 */
export class Summary implements Reporter {
  readonly #counts = { passed: 0, failed: 0, skipped: 0 }
  #otherwise = 'no reason given'

  /** Vitest reports some errors after its last call to a reporter, so the line waits for the end of the process. */
  onInit({ config }: Vitest): void {
    if (config.testNamePattern) this.#otherwise = 'its name was not asked for'
    process.once('exit', (status) => {
      const counts = this.#counts
      if (counts.failed === 0 && (status !== 0 || counts.passed === 0)) counts.failed = 1
      if (counts.failed > 0) process.exitCode = 1
      console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
    })
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly Failure[]): void {
    const counts = this.#counts
    const failures = unhandledErrors.map((error) => failed('outside of the tests', error))
    const unstable: string[] = []
    for (const module of modules) {
      failures.push(...module.errors().map((error) => failed(module.relativeModuleId, error)))
      for (const test of module.children.allTests()) {
        const result = test.result()
        const first = firstTry(test)
        if (first !== undefined) unstable.push(`UNSTABLE ${module.relativeModuleId} > ${test.fullName}: ${first}`)
        if (result.state === 'passed') counts.passed += 1
        else if (result.state === 'skipped') {
          counts.skipped += 1
          console.log(`SKIPPED ${test.fullName}: ${result.note ?? this.#otherwise}`)
        } else failures.push(failed(`${module.relativeModuleId} > ${test.fullName}`, result.errors?.[0]))
      }
    }
    for (const text of unstable) console.log(text)
    if (unstable.length > mostUnstable) {
      failures.push(failed('outside of the tests', { message: `${unstable.length} tests passed at their second try` }))
    }
    counts.failed = failures.length
    for (const text of failures) console.log(text)
  }
}

/** How the first try of a test failed that passed at its second, here or where it ran instead. */
export function firstTry(test: TestCase): string | undefined {
  if (test.diagnostic()?.flaky !== true) return test.meta().unstable
  return test.result().errors?.[0]?.message ?? 'no error given'
}

type Failure = Pick<SerializedError, 'message'>

function failed(what: string, error: Failure | undefined): string {
  return `FAILED ${what}: ${error?.message ?? 'it never ended'}`
}
