import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { commandPath, repository } from '../harness/locations.js'
import { run, succeed } from '../harness/process.js'
import { rootFolder } from '../roots/place.js'

// The plugins for arm64 on Debian's kernel for it, in an emulated machine: the lives of containers, also by what the
// emulator of programs has no request for (emulated.test.ts). `make test-vm` boots it.

const built = join(repository, 'dist/arm64/bin')
const root = rootFolder('arm64')
const limit = 1_200

test('a machine for arm64 carries a bridge and published ports, and a call needs one task', {
  timeout: (limit + 60) * 1000,
}, async () => {
  const missing = [built, root].filter((path) => !existsSync(path))
  expect(missing, 'run make test-vm, which makes them').toEqual([])
  const share = mkdtempSync(join(tmpdir(), 'podwire-arm64-'))
  onTestFinished(() => rmSync(share, { recursive: true }))
  const archive = join(share, 'plugins.tar')
  const pack = ['tar', '-C', built, '-cf', archive, '.']
  succeed(pack, await run(pack))
  for (const file of ['.ci/smoke', 'conformance/arm64/guest']) {
    copyFileSync(join(repository, file), join(share, file.split('/').at(-1) as string))
  }
  const options = ['--root', root, '--share', share, '--lock', join(share, 'lock'), '--limit', String(limit)]
  const command = [join(share, 'guest'), join(share, 'smoke'), archive]
  const argv = ['env', '--chdir=/', join(repository, 'conformance/vm/run'), ...options, ...command]
  const finished = await run(argv, { env: { PATH: commandPath }, deadline: (limit + 30) * 1000 })
  console.log(finished.stderr.trim().split('\n').at(-1))
  const [smoke, ...tasks] = succeed(argv, finished).trim().split('\n')
  expect(smoke).toMatch(/^smoke: 18 plugins .* added, checked and removed a container$/)
  const calls = ['VERSION bridge', 'ADD host-local', 'DEL host-local', 'ADD bridge', 'DEL bridge']
  expect(tasks).toEqual([1, 2, 3].flatMap((count) => calls.map((call) => `tasks ${count}: ${call}: exit 0`)))
  expect(finished.stderr).toMatch(/^vm: kernel \S+-arm64: booted in /m)
})
