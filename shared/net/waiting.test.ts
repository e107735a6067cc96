import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Host } from '../plan/host.js'
import type { Operation } from '../plan/operation.js'
import { renderOne } from '../plan/render.js'
import { thrownBy } from '../testing/thrown.js'
import { codes } from '../values/errors.js'
import type { ObservedLink } from '../values/observe.schema.js'
import { addressesTaken, settle } from './announce.js'
import { awaitCarrier } from './carrier.js'

const at = { link: 'eth0', netns: '/run/netns/c1' }
afterEach(() => vi.restoreAllMocks())

/** A host that shows a link in these states, one a look and the last one for ever. */
function showing(states: readonly (Partial<ObservedLink> | undefined)[], { dryRun = false } = {}) {
  const heard: string[] = []
  let looks = 0
  const link = (name: string, netns?: string) => {
    expect([name, netns]).toEqual([at.link, at.netns])
    return states[Math.min(looks++, states.length - 1)]
  }
  const apply = (plan: readonly Operation[]) => heard.push(...plan.map(renderOne))
  const host = { observer: { link }, dryRun, apply, warn: (text: string) => heard.push(text) } as unknown as Host
  return { host, heard, looks: () => looks }
}

/** Lets the clock run by a second a look at it. */
function hurry(): void {
  let seconds = 0
  vi.spyOn(performance, 'now').mockImplementation(() => seconds++ * 1000)
}

describe('a carrier', () => {
  const up = { flags: ['UP', 'LOWER_UP'], operstate: 'UP' }

  test.each<[string, Partial<ObservedLink> | undefined]>([
    ['a link that is absent', undefined],
    ['one without a lower link', { flags: ['UP'], operstate: 'UP' }],
    ['one that is still down', { flags: ['UP', 'LOWER_UP'], operstate: 'LOWERLAYERDOWN' }],
    ['one that tells nothing yet', { flags: ['UP', 'LOWER_UP'], operstate: 'UNKNOWN' }],
    ['one whose state is not shown', { flags: ['UP', 'LOWER_UP'] }],
  ])('is waited for by %s', (_, state) => {
    const { host, heard, looks } = showing([state, state, up])
    awaitCarrier(host, at)
    expect([looks(), heard]).toEqual([3, []])
  })

  test('is believed in where a driver never tells, after some looks', () => {
    const { host, heard, looks } = showing([{ flags: ['UP', 'LOWER_UP'], operstate: 'UNKNOWN' }])
    awaitCarrier(host, at)
    expect([looks(), heard]).toEqual([6, []])
  })

  test('that does not come is warned of, and no more', () => {
    hurry()
    const { host, heard } = showing([{ flags: ['UP'], operstate: 'DOWN' }])
    awaitCarrier(host, at)
    expect(heard).toEqual(['eth0 has no carrier after 5000 ms'])
  })

  test('is not looked for in a dry run', () => {
    const { host, looks } = showing([undefined], { dryRun: true })
    awaitCarrier(host, at)
    expect(looks()).toBe(0)
  })
})

describe('duplicate address detection', () => {
  const own = { local: 'fd00::2', prefixlen: 64 }
  const shown = (...addresses: object[]) =>
    ({ flags: ['UP', 'LOWER_UP'], addr_info: addresses }) as Partial<ObservedLink>
  const timing = 'nsenter --net=/run/netns/c1 sysctl -w net/ipv6/neigh/eth0/retrans_time_ms=1000'

  test('is waited for, and then its timing is as usual', () => {
    const { host, heard, looks } = showing([shown({ ...own, tentative: true }), shown(own)])
    settle(host, at)
    expect([looks(), heard]).toEqual([2, [timing]])
  })

  test('is over at once where no address is tentative, or the link is gone', () => {
    for (const state of [shown(own, { local: '10.0.0.2' }), undefined]) {
      const { host, looks } = showing([state])
      expect(addressesTaken(host, at)).toEqual([])
      expect(looks()).toBe(1)
    }
  })

  test('cannot be had without a carrier', () => {
    const { host, looks } = showing([{ ...shown({ ...own, tentative: true }), flags: ['UP'] }])
    expect(addressesTaken(host, at)).toEqual([])
    expect(looks()).toBe(1)
  })

  test('that fails names the addresses that another machine has', () => {
    const failed = { ...own, tentative: true, dadfailed: true }
    const { host, heard } = showing([shown(failed, { local: 'fd00::3' }, { ...failed, local: 'fd00::4' })])
    const error = thrownBy(() => settle(host, at))
    expect(error).toMatchObject({
      code: codes.addressConflict,
      message: 'another machine on the link has the address fd00::2, fd00::4',
    })
    expect(heard).toEqual([])
  })

  test('that never ends is an error', () => {
    hurry()
    const { host } = showing([shown({ ...own, tentative: true })])
    expect(thrownBy(() => addressesTaken(host, at)).message).toBe('eth0 still has tentative addresses after 5000 ms')
  })

  test('a dry run only says that the timing is put back', () => {
    const { host, heard, looks } = showing([shown({ ...own, tentative: true })], { dryRun: true })
    settle(host, at)
    expect([looks(), heard]).toEqual([0, [timing]])
  })
})
