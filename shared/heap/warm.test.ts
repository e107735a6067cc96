import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

// How the build takes it when the code caches cannot be made, by the Makefile and in-namespace themselves; what they
// start is made up.

const repository = path.resolve(import.meta.dirname, '../..')

/** Stands for the Node that packs a recorder and warms it up: the latter ends with WARMED. */
const node = `#!/bin/bash
[[ $1 == --* ]] && shift
case $1 in
  */sea.js) echo recorder >"$3" ;;
  */warm.js) echo warming; exit "$WARMED" ;;
  *) echo "unexpected: $*"; exit 9 ;;
esac
`

/** Stands for unshare(1): refuses, or runs what it is given, without the host that in-namespace makes around it. */
const unshare = `#!/bin/bash
[[ $REFUSED ]] && { echo 'unshare: unshare failed: Operation not permitted' >&2; exit 1; }
while [[ $1 != -- ]]; do shift; done
shift
[[ $1 == bash ]] && shift 4
exec "$@"
`

function makeRecorder(env: { REFUSED?: string; WARMED?: string }) {
  const root = mkdtempSync(path.join(tmpdir(), 'podwire-warm-'))
  onTestFinished(() => rmSync(root, { recursive: true }))
  const at = (name: string) => path.join(root, name)
  for (const folder of ['bin', 'dist/whole', 'plugins', 'ipam', 'tools']) mkdirSync(at(folder), { recursive: true })
  writeFileSync(at('dist/whole/bridge.js'), '')
  for (const name of ['shared', 'package.json', 'package-lock.json', '.npmrc', 'tsconfig.json']) {
    symlinkSync(path.join(repository, name), at(name))
  }
  for (const [name, text] of Object.entries({ node, unshare })) writeFileSync(at(`bin/${name}`), text, { mode: 0o755 })
  const ready = ['dist/podwire.heap', `dist/pkg/.pkg-cache/sea/node-${process.version}-linux-${process.arch}/bin/node`]
  for (const name of ready) {
    mkdirSync(path.dirname(at(name)), { recursive: true })
    writeFileSync(at(name), '')
  }
  const words = ['-f', path.join(repository, 'Makefile'), ...ready.flatMap((name) => ['-o', name])]
  const {
    status,
    stderr,
    stdout: said,
  } = spawnSync('make', [...words, 'dist/recorder', `NODE=${at('bin/node')}`], {
    cwd: root,
    encoding: 'utf8',
    env: { PATH: `${at('bin')}:${process.env['PATH']}`, REFUSED: '', WARMED: '0', ...env },
  })
  return { status, stderr, warmed: said.includes('warming\n') }
}

test('the caches are made', () => {
  expect(makeRecorder({})).toEqual({ status: 0, stderr: '', warmed: true })
})

test('where no namespace can be made the build goes on without them, and says so', () => {
  const { status, stderr, warmed } = makeRecorder({ REFUSED: 'yes' })
  expect({ status, warmed }).toEqual({ status: 0, warmed: false })
  expect(stderr).toContain('unshare: unshare failed: Operation not permitted\n')
  expect(stderr).toContain('No code caches, because no network namespace could be made here')
})

test('a warm-up that fails fails the build, whatever its status', () => {
  for (const WARMED of ['1', '9', '139']) {
    const { status, stderr, warmed } = makeRecorder({ WARMED })
    expect({ status, warmed }).toEqual({ status: 2, warmed: true })
    expect(stderr).not.toContain('No code caches')
  }
})
