import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { nodeCommand, repository } from '../harness/locations.js'
import { run } from '../harness/process.js'
import { mostUnstable } from './patience.js'

// What the end of a log says, by runs of their own.

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'summary-'))
  symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'))
})

afterEach(() => rmSync(folder, { recursive: true }))

/** The end of a run of tests that pass at these tries, with one that never does for 0. */
async function endOf(tries: readonly number[]): Promise<{ status: number | null; lines: string[] }> {
  const tests = tries.map(
    (passing) => `{ let tries = 0; test('at ${passing}', () => expect(++tries).toBe(${passing})) }\n`,
  )
  writeFileSync(join(folder, 'some.test.ts'), `import { expect, test } from 'vitest'\n${tests.join('')}`)
  const config = `import { retry } from '${repository}/conformance/runner/patience.js'
    import { Summary } from '${repository}/conformance/runner/summary.js'
    export default { test: { include: ['*.test.ts'], retry, reporters: [new Summary()] } }`
  writeFileSync(join(folder, 'vitest.config.ts'), config)
  const argv = [...nodeCommand, join(repository, 'node_modules/vitest/vitest.mjs'), 'run', '--root', folder]
  const { status, stdout } = await run(argv)
  return { status, lines: stdout.trim().split('\n') }
}

const unstable = 'UNSTABLE some.test.ts > at 2: expected 1 to be 2 // Object.is equality'

test('what passed at its second try is told of, and passed', async () => {
  expect(await endOf([1, 2])).toEqual({ status: 0, lines: [unstable, '2 passed, 0 failed, 0 skipped'] })
})

test('what fails twice is a failure', async () => {
  const { status, lines } = await endOf([1, 0])
  const failed = 'FAILED some.test.ts > at 0: expected 1 to be +0 // Object.is equality'
  expect({ status, lines }).toEqual({ status: 1, lines: [failed, '1 passed, 1 failed, 0 skipped'] })
})

test('many that passed at their second try are a failure', async () => {
  const many = Array.from({ length: mostUnstable + 1 }, () => 2)
  const { status, lines } = await endOf(many)
  expect(status).toBe(1)
  expect(lines).toEqual([
    ...many.map(() => unstable),
    `FAILED outside of the tests: ${many.length} tests passed at their second try`,
    `${many.length} passed, 1 failed, 0 skipped`,
  ])
})
