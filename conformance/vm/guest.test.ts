import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { commandPath, repository } from '../harness/locations.js'
import { type Finished, run } from '../harness/process.js'
import { declareTests } from './elsewhere.js'
import { runConformance } from './guest.js'

// One machine runs at a time, which is why all that needs it is in this file: a boot may wait for another one's whole
// run.
vi.setConfig({ testTimeout: 7_300_000 })
const machine = join(repository, 'conformance/vm/run')
const skipped = 77

let scratch = ''
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'podwire-vm-test-'))
})
afterEach(() => {
  rmSync(scratch, { recursive: true })
})

function call(argv: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  return run(argv, { env: { PATH: commandPath, ...env }, deadline: 7_290_000 })
}

// Only the machine itself may say that it cannot run here.
describe('the virtual machine', () => {
  test('brings back output, exit status and files, and leaves the host alone', async ({ skip }) => {
    const share = mkdtempSync(join(scratch, 'share '))
    const script = `
      cat /proc/sys/kernel/osrelease
      printf '%s|' "$PODWIRE_VM" "$PODWIRE_WORDS" "$@" "$PWD"
      echo complaint >&2
      echo kept >'${share}/kept'
      echo lost >'${scratch}/lost'
      sleep 600 &
      exit 7`
    const finished = await call([machine, '--share', share, '--', 'bash', '-c', script, 'bash', 'a  b', "it's"], {
      PODWIRE_WORDS: '$two "words"',
    })
    if (finished.status === skipped) skip(finished.stderr)
    expect(finished.stdout).toMatch(/^\S+-(amd64|arm64)\n1\|\$two "words"\|a {2}b\|it's\|.*\|$/)
    expect(finished.stderr).toMatch(
      /^(vm: waiting.*\n)?complaint\nvm: kernel \S+: booted in [\d.]+ s, the command took [\d.]+ s, all \d+ s here, exit/,
    )
    expect(finished.status).toBe(7)
    expect(readFileSync(join(share, 'kept'), 'utf8')).toBe('kept\n')
    expect(() => readFileSync(join(scratch, 'lost'))).toThrow(/ENOENT/)
  })

  test('is stopped at its limit', async ({ skip }) => {
    const { status, stderr } = await call([machine, '--limit', '3', 'sleep', '600'])
    if (status === skipped) skip(stderr)
    expect({ status, stderr }).toEqual({ status: 124, stderr: expect.stringContaining('after the limit of 3 s') })
  })

  test('ends what hangs in it, and says what still ran', async ({ skip }) => {
    const within = (limit: number) => call([machine, '--limit', `${limit}`, 'bash', '-c', 'sleep 600 | cat'])
    let ended = await within(60)
    // The limit is of this machine's seconds, of which a busy one needs more to boot.
    if (ended.stderr.includes('stopped after the limit')) ended = await within(600)
    const { status, stderr } = ended
    if (status === skipped) skip(stderr)
    expect(stderr).toMatch(/^(vm: waiting.*\n)?guest: the command still runs after (12|120) s, and is ended/)
    expect(stderr).toMatch(/^\d+ \d+ \S*nanosleep\S* sleep 600 $/m)
    expect(stderr).toMatch(/^vm: kernel .*exit status 124$/m)
    expect(status).toBe(124)
  })

  test('says what is not installed', async () => {
    const finished = await call([machine, 'true'], { PODWIRE_VM_QEMU: 'no-such-qemu' })
    expect(finished).toMatchObject({ status: skipped, stdout: '' })
    expect(finished.stderr).toMatch(/SKIPPED: no-such-qemu is not installed. Wanted: apt-get install .*cpio/)
  })
})

// The conformance tests that need a full kernel run as a whole while this file is loaded; what became of each of them
// is a test here, so that the run's counts have them. PODWIRE_ALL_IN_VM=1 (make test-vm) runs all conformance tests
// there.
const all = process.env['PODWIRE_ALL_IN_VM'] === '1'
declareTests('with a full kernel', await runConformance({ filters: all ? [] : ['.vm.test.ts'], alwaysInMachine: all }))
