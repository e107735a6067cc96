import { expect, test } from 'vitest'
import type { Outcome } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import type { Host } from '../plan/host.js'
import { holding } from '../testing/golden.js'
import { thrownBy } from '../testing/thrown.js'
import { createMachine } from '../tools/machine.js'
import { CniError, codes } from '../values/errors.js'
import { forwardingSettings, insideTools, type Needs, requireForAdd } from './needs.js'
import { features } from './probe.js'

/** A host whose tools end so; it keeps what was tried. */
function hosting(end: Partial<Outcome> = {}) {
  const tried: string[] = []
  const run = ({ argv, stdin = '' }: { argv: readonly string[]; stdin?: string }): Outcome => {
    tried.push(`${argv.join(' ')} <<< ${stdin.trim()}`)
    return { status: 0, signal: null, stdout: '', stderr: '', ...end }
  }
  const { executor, observer } = createMachine({ run, files: holding({}) })
  return { tried, host: { executor, observer, env: { PATH: '/usr/bin:/bin' } } as unknown as Host }
}

const refusing = (...parts: Needs[]) => thrownBy(() => requireForAdd(hosting().host, ...parts))
const throwing =
  (code: number, message: string, details = '') =>
  () => {
    throw new CniError(code, message, { details })
  }

test('nothing is said where all is there', () => {
  const { host, tried } = hosting()
  requireForAdd(host)
  requireForAdd(
    host,
    { features: [features.bridge], programs: ['sh'] },
    { also: [() => undefined], ipam: () => undefined },
  )
  expect(tried).toEqual(['unshare --net ip -batch - <<< link add name probe-bridge type bridge'])
})

test('a feature is tried once for all members of a chain, each in the same namespace of its own', () => {
  const { host, tried } = hosting({ status: 1, stderr: 'RTNETLINK answers: Operation not supported' })
  const asked = () => thrownBy(() => requireForAdd(host, { features: [features.vrf, features.tap] }))
  const first = asked()
  expect(first.message).toMatch(
    /^the kernel or a program is missing for ADD: vrf: cannot create .*, tap: cannot use it/,
  )
  expect(first).toMatchObject({ code: codes.notAvailable, details: expect.stringContaining('load the kernel module') })
  expect(asked().message).toBe(first.message)
  expect(tried).toEqual([
    'unshare --net ip -batch - <<< link add name probe-vrf type vrf table 10',
    'unshare --net ip -batch - <<< tuntap add mode tap name probe-tap',
  ])
})

test('each lack is named', () => {
  const rows: [Needs, string][] = [
    [{ programs: ['sh', 'none-such', 'none-such'] }, 'a program is missing for ADD: "none-such" is not installed'],
    [{ writes: [{ directory: '/dev/null/x' }] }, 'files cannot be written: '],
    [{ settings: ['net/none-such'] }, 'settings cannot be written: net/none-such: '],
    [{ also: [throwing(7, 'no master', 'why')] }, 'no master'],
  ]
  for (const [needs, message] of rows) {
    const error = refusing(needs)
    expect([error.code, error.message.startsWith(message)]).toEqual([codes.notAvailable, true])
  }
  expect(refusing(rows[3]?.[0] as Needs).details).toBe('why')
  expect(refusing(rows[0]?.[0] as Needs).message).toBe(rows[0]?.[1])
})

test('what IPAM answers is answered so, and an error of ours stays one', () => {
  expect(refusing({ ipam: throwing(51, 'full') })).toMatchObject({ code: 51, message: 'full' })
  expect(refusing({ ipam: () => undefined }, { ipam: throwing(51, 'full') }).code).toBe(51)
  const broken = () => {
    throw new TypeError('oh')
  }
  expect(refusing({ also: [broken] }).code).toBe(codes.internal)
})

test('several lacks are one error, of the code that is not the usual one', () => {
  const needs = { programs: ['none-such'], also: [throwing(7, 'no master', 'why'), throwing(7, 'no link')] }
  const error = refusing(needs)
  expect(error).toMatchObject({ code: codes.notAvailable, details: expect.stringMatching(/why$/) })
  expect(error.message).toBe('a program is missing for ADD: "none-such" is not installed; no master; no link')
  expect(error.details).not.toContain('\n\n')
  expect(refusing(needs, { ipam: throwing(51, 'full') }).code).toBe(51)
})

test('tools are for inside where the kernel cannot be asked, and a setting is one where it has to be written', () => {
  expect(insideTools(hosting().host)).toEqual(['nsenter', 'ip'])
  expect(insideTools({ executor: { isDirect: () => true } } as unknown as Host)).toEqual([])
  const forwarding = (text: string) => forwardingSettings({ files: { read: () => text } as unknown as Files })
  expect([forwarding('1\n'), forwarding('0\n')]).toEqual([[], ['net/ipv4/ip_forward']])
})
