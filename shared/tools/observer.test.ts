import { describe, expect, test } from 'vitest'
import type { Outcome } from '../exec/command.js'
import type { Files } from '../exec/files.js'
import type { Observer } from '../plan/observer.js'
import { thrownBy } from '../testing/thrown.js'
import { codes } from '../values/errors.js'
import { createObserver } from './observer.js'

/** An observer whose processes cannot be started, and whose files cannot be opened. */
function starved(failure: string): Observer {
  const run = (): Outcome => ({ status: null, signal: null, stdout: '', stderr: '', failure })
  const read = () => {
    throw Object.assign(new Error(`${failure}: as told`), { code: failure })
  }
  return createObserver({ run, files: { read } as unknown as Files } as Parameters<typeof createObserver>[0])
}

describe.each(['EAGAIN', 'EMFILE', 'ENFILE', 'ENOMEM'])('where a start fails by %s', (failure) => {
  test.each<[string, (observer: Observer) => unknown]>([
    ['a link', (one) => one.link('eth0', '/run/netns/c1')],
    ['settings', (one) => one.settings('/run/netns/c1', ['net/ipv4/ip_forward'])],
    ['rules of nftables', (one) => one.rules({ family: 'ip', table: 'podwire' } as never)],
    ['saved rules', (one) => one.savedRules('iptables', 'nat')],
    ['flows', (one) => one.udpFlows('ip')],
  ])('a look at %s is code 11, and no sign that nothing is there', (_, look) => {
    expect(thrownBy(() => look(starved(failure)))).toMatchObject({
      code: codes.tryAgainLater,
      message: expect.stringContaining(`no process can be started (${failure})`),
      details: expect.stringContaining('raise'),
    })
  })
})

test.each(['EMFILE', 'ENFILE', 'ENOMEM'])('whether there is IPv6 is not known by %s', (failure) => {
  expect(() => starved(failure).hasIPv6()).toThrow(failure)
  expect(starved('ENOENT').hasIPv6()).toBe(false)
})
