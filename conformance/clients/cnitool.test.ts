import { chmodSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { suites } from '../harness/locations.js'
import { needs, runScenario, scenario } from './scenario.js'

const commands = ['busybox', 'curl', 'socat', 'jq', 'nft']

describe('cnitool', () => {
  scenario('cnitool-chain', commands)
  scenario('examples', commands)
})

// Answers every call as a chained plugin should, and does nothing.
const idlePlugin = `#!/bin/sh
case $CNI_COMMAND in
  ADD) jq .prevResult ;;
  VERSION) echo '{"cniVersion": "1.1.0", "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}' ;;
esac
`

/** A directory with the suite under test, but for a portmap that does nothing. */
function suiteWithIdlePortmap(): string {
  const directory = mkdtempSync(join(tmpdir(), 'podwire-idle-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  for (const plugin of readdirSync(suites.podwire)) symlinkSync(join(suites.podwire, plugin), join(directory, plugin))
  rmSync(join(directory, 'portmap'), { force: true })
  writeFileSync(join(directory, 'portmap'), idlePlugin)
  chmodSync(join(directory, 'portmap'), 0o755)
  return directory
}

test('a portmap that does nothing is found out', { timeout: 240_000 }, async (context) => {
  needs(context, commands)
  const { failed, passed, status } = await runScenario('examples', [], { plugins: suiteWithIdlePortmap() })
  expect(status).toBe(1)
  expect(passed.length).toBeGreaterThan(0)
  for (const network of ['podman', 'bridge', 'kind', 'dual']) {
    expect(failed).toContainEqual(expect.stringContaining(`${network}: host port from outside`))
  }
  expect(failed.filter((line) => !line.includes('host port'))).toEqual([])
})
