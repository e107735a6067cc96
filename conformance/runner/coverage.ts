import type { Reporter, TestCase, TestModule, TestRunEndReason, TestSpecification, Vitest } from 'vitest/node'
import { listPlugins } from '../../shared/bundling/plugins.js'
import { verbs } from '../../shared/values/environment.js'
import type { RecordedCall } from '../harness/calls.js'
import { repository } from '../harness/locations.js'

/**
 * Judges the end of a run of all conformance tests: each verb of each plugin must have been called as a built binary,
 * by a test that passed, and have succeeded; ADD must have been refused as well. What is missing fails the run. A run
 * of some tests is not judged, and where whole files were skipped, because the machine has no place for them, what they
 * might have called is only told of.
 */
export class Coverage implements Reporter {
  #vitest: Vitest | undefined
  #isWhole = false

  onInit(vitest: Vitest): void {
    this.#vitest = vitest
  }

  async onTestRunStart(specifications: readonly TestSpecification[]): Promise<void> {
    const all = (await this.#vitest?.globTestSpecifications()) ?? []
    const wanted = conformanceFiles(all)
    const running = new Set(conformanceFiles(specifications))
    const isEvery = wanted.length > 0 && wanted.every((file) => running.has(file))
    this.#isWhole = isEvery && this.#vitest?.config.testNamePattern === undefined
  }

  onTestRunEnd(modules: readonly TestModule[], _errors: readonly unknown[], reason: TestRunEndReason): void {
    if (!this.#isWhole || reason === 'interrupted') return
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const missing = missingCells(
      listPlugins(repository).map(({ name }) => name),
      tests.filter(isPassed).flatMap((test) => test.meta().calls ?? []),
    )
    for (const cell of missing) console.log(`NEVER CALLED ${cell}`)
    if (missing.length > 0 && !tests.some(isFileSkipped)) process.exitCode = 1
  }
}

/** What of plugin x verb the calls do not show, such as "bridge GC with success". */
export function missingCells(plugins: readonly string[], calls: readonly RecordedCall[]): string[] {
  const seen = new Set(calls.map(({ plugin, verb, status }) => `${plugin} ${verb} ${status}`))
  const lacks = (call: string) => !seen.has(call)
  return plugins.flatMap((plugin) => [
    ...verbs.filter((verb) => lacks(`${plugin} ${verb} 0`)).map((verb) => `${plugin} ${verb} with success`),
    ...(lacks(`${plugin} ADD 1`) ? [`${plugin} ADD that is refused`] : []),
  ])
}

/** What stands for the tests of a file none of which could run (vm/elsewhere.ts). */
export const wholeFile = 'every test of the file'

// --- internal

function conformanceFiles(specifications: readonly TestSpecification[]): string[] {
  return specifications.filter(({ project }) => project.name === 'conformance').map(({ moduleId }) => moduleId)
}

function isPassed(test: TestCase): boolean {
  return test.result().state === 'passed'
}

function isFileSkipped(test: TestCase): boolean {
  return test.result().state === 'skipped' && test.name.endsWith(wholeFile)
}
