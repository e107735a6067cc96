import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Host } from '../plan/host.js'
import type { Operation } from '../plan/operation.js'
import { renderOne } from '../plan/render.js'
import type { ObservedLink } from '../values/observe.schema.js'
import { ensureLinkLocal } from './link-local.js'

afterEach(() => vi.restoreAllMocks())

const bare = { ifname: 'br0', address: '02:00:00:00:00:01', addr_info: [] } as unknown as ObservedLink
const own = { family: 'inet6', local: 'fe80::1', prefixlen: 64, scope: 'link' }
const has = { ...bare, addr_info: [own] } as unknown as ObservedLink
const give = 'ip addr add fe80::ff:fe00:1/64 dev br0 nodad'

/** A host with such settings of br0, which shows it in these states, one a look and the last one for ever. */
function showing(settings: Record<string, string>, states: readonly (ObservedLink | undefined)[] = [], dryRun = false) {
  const heard: string[] = []
  let looks = 0
  const host = {
    dryRun,
    files: {
      read: (path: string) => {
        const text = settings[path.replace('/proc/sys/net/ipv6/conf/br0/', '')]
        if (text === undefined) throw Object.assign(new Error('ENOENT'), { code: 'ENOENT' })
        if (text === '') throw Object.assign(new Error('EIO'), { code: 'EIO' })
        return `${text}\n`
      },
    },
    observer: { link: () => states[Math.min(looks++, states.length - 1)] },
    apply: (plan: readonly Operation[]) => heard.push(...plan.map(renderOne)),
    warn: (text: string) => heard.push(text),
  } as unknown as Host
  const ensure = (isOurs: boolean, willCarry: boolean, bridge = bare) => {
    ensureLinkLocal(host, bridge, { isOurs: () => isOurs, willCarry })
    return [looks, ...heard]
  }
  return { ensure }
}

const fromHardware = { disable_ipv6: '0', addr_gen_mode: '0' }

test('a bridge of ours gets the address at once', () => {
  expect(showing(fromHardware).ensure(true, true)).toEqual([0, give])
  expect(showing(fromHardware).ensure(true, false)).toEqual([0, give])
})

describe('one of others', () => {
  test('is waited for, if it will carry', () => {
    expect(showing(fromHardware, [bare, undefined, has]).ensure(false, true)).toEqual([3])
    expect(showing(fromHardware).ensure(false, false)).toEqual([0])
    expect(showing({ ...fromHardware, addr_gen_mode: '3' }, [has]).ensure(true, true)).toEqual([1])
  })

  test('that gets none is warned of, and no more', () => {
    let seconds = 0
    vi.spyOn(performance, 'now').mockImplementation(() => seconds++ * 1000)
    const [looks, ...heard] = showing(fromHardware, [bare]).ensure(false, true)
    expect(heard).toEqual(['br0 has no IPv6 link-local address after 2000 ms'])
    expect(looks).toBe(3)
  })
})

test('there is none where IPv6 is off or absent, it is left to somebody, or one is there', () => {
  for (const isOurs of [true, false]) {
    for (const settings of [{ disable_ipv6: '1', addr_gen_mode: '0' }, { disable_ipv6: '0', addr_gen_mode: '1' }, {}]) {
      expect(showing(settings as Record<string, string>).ensure(isOurs, true)).toEqual([0])
    }
    expect(showing(fromHardware).ensure(isOurs, true, has)).toEqual([0])
    expect(showing(fromHardware, [], true).ensure(isOurs, true)).toEqual([0])
  }
  const four = {
    ...bare,
    addr_info: [
      { ...own, local: '169.254.0.1' },
      { ...own, scope: 'global' },
    ],
  }
  expect(showing(fromHardware).ensure(true, true, four as unknown as ObservedLink)).toEqual([0, give])
})

test('a setting that cannot be read is an error', () => {
  expect(() => showing({ disable_ipv6: '' }).ensure(true, true)).toThrow('EIO')
})
