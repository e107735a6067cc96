import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { repository } from '../harness/locations.js'
import { run } from '../harness/process.js'

test.each([
  ['/', (): string => '/'],
  ['//./', (): string => '//./'],
  [
    'a link to it',
    (): string => {
      const folder = mkdtempSync(join(tmpdir(), 'podwire-enter-'))
      onTestFinished(() => rmSync(folder, { recursive: true }))
      symlinkSync('/', join(folder, 'root'))
      return join(folder, 'root')
    },
  ],
])('enter does not take this machine for a root: %s', async (_, root) => {
  const { status, stdout, stderr } = await run([`${repository}/conformance/roots/enter`, root(), 'echo', 'entered'])
  expect([status, stdout, stderr]).toEqual([
    64,
    '',
    'enter: / is this machine itself: its memory would hide all of it\n',
  ])
})
