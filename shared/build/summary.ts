import type { Reporter, TestModule } from 'vitest/node'

/** Names every skipped test with its reason, then prints `N passed, N failed, N skipped` as the very last line. */
export class Summary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const count = (state: string) => tests.filter((test) => test.result().state === state).length
    const brokenFiles = modules.filter((module) => module.errors().length > 0)
    const skipped = tests.filter((test) => test.result().state === 'skipped')
    const failed = count('failed') + count('pending') + brokenFiles.length + unhandledErrors.length

    for (const test of skipped) {
      const result = test.result()
      const reason = ('note' in result && result.note) || 'no reason given'
      console.log(`SKIPPED ${test.module.relativeModuleId}: ${test.fullName}: ${reason}`)
    }
    console.log(`${count('passed')} passed, ${failed} failed, ${skipped.length} skipped`)
    if (failed > 0 || count('passed') === 0) process.exitCode = 1
  }
}
