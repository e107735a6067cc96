import type { Reporter, TestModule, Vitest } from 'vitest/node'

/** Names every skipped test with its reason; the run's very last line is `N passed, N failed, N skipped`. */
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

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const counts = this.#counts
    counts.failed = unhandledErrors.length
    for (const module of modules) {
      counts.failed += module.errors().length
      for (const test of module.children.allTests()) {
        const result = test.result()
        counts[result.state === 'pending' ? 'failed' : result.state] += 1
        if (result.state === 'skipped') console.log(`SKIPPED ${test.fullName}: ${result.note ?? this.#otherwise}`)
      }
    }
  }
}
