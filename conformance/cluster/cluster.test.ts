import { join } from 'node:path'
import { expect, test } from 'vitest'
import { commandPath, repository, suites } from '../harness/locations.js'
import { run } from '../harness/process.js'

// One node of a real Kubernetes, where its programs are in the cache; `make test-cluster` builds them, and tries the
// rest.

const deadline = 240_000
const skipped = 75

test('pods of a node reach what they shall, and leave nothing', { timeout: deadline }, async ({ skip }) => {
  const { HOME = '/root', XDG_CACHE_HOME = '', PODWIRE_CLUSTER_CACHE = '' } = process.env
  const env = {
    PATH: commandPath,
    ...{ HOME, XDG_CACHE_HOME, PODWIRE_CLUSTER_CACHE },
    ...{ PODWIRE_BIN: suites.podwire, PODWIRE_CLUSTER_SHORT: '1', PODWIRE_CLUSTER_PODS: '10' },
  }
  const finished = await run([join(repository, 'conformance/cluster/run'), 'bridge'], {
    env,
    deadline: deadline - 20_000,
  })
  const lines = finished.stdout.trim().split('\n')
  if (finished.status === skipped) {
    console.warn(`SKIPPED a real Kubernetes: ${lines[0]}; \`make test-cluster\` builds it`)
    skip(lines[0])
  }
  expect(
    lines.filter((line) => line.startsWith('FAIL ')),
    finished.stderr,
  ).toEqual([])
  expect(lines.at(-1), finished.stderr).toMatch(/^[3-9]\d passed, 0 failed, 0 skipped$/)
})
