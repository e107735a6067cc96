import { describe, expect, test } from 'vitest'
import type { Host } from '../plan/host.js'
import type { ObservedLink } from '../values/observe.schema.js'
import { emptyResult } from '../values/result.js'
import { containerEndMac, hostEndMac, hostEndOf } from './veth.js'

const attachment = { network: 'net', containerID: 'c1', ifName: 'eth0' }
const link = (ifname: string, ifindex: number, link_index?: number) =>
  ({ ifname, ifindex, ...(link_index === undefined ? {} : { link_index }) }) as ObservedLink
const inside = link('eth0', 2, 9)

describe("the host's end of a pair", () => {
  const there = [link('cni0', 3), link('vethx', 9, 2), link('vethy', 9, 4), link('vethz', 8, 2), link('plain', 9)]
  const of = (...interfaces: { name: string; sandbox?: string }[]) => {
    const asked: string[] = []
    const observer = {
      link: (name: string) => {
        asked.push(name)
        return there.find(({ ifname }) => ifname === name)
      },
    }
    const found = hostEndOf({ observer } as unknown as Host, inside, { ...emptyResult, interfaces })
    return { asked, found: found?.ifname }
  }

  test('is looked for from the end of the result, and no further than it is', () => {
    expect(of({ name: 'cni0' }, { name: 'vethx' }, { name: 'eth0', sandbox: '/x' })).toEqual({
      asked: ['vethx'],
      found: 'vethx',
    })
    expect(of({ name: 'vethx' }, { name: 'cni0' })).toEqual({ asked: ['cni0', 'vethx'], found: 'vethx' })
  })

  test.each([
    ['one that ends elsewhere', { name: 'vethy' }],
    ['one of another number', { name: 'vethz' }],
    ['a link that is no end', { name: 'plain' }],
    ['a name that is nobody', { name: 'gone' }],
    ['what is in a container', { name: 'vethx', sandbox: '/x' }],
    ['a name that no link can have', { name: 'a b' }],
  ])('is not %s', (_, one) => {
    expect(of(one).found).toBeUndefined()
  })
})

test("the addresses of both ends are an attachment's own, that of the container's of this boot", () => {
  const host = (bootID: string) => ({ observer: { bootID: () => bootID } }) as unknown as Host
  const other = { ...attachment, ifName: 'net1' }
  const all = [
    hostEndMac(attachment),
    hostEndMac(other),
    ...['one', 'two'].flatMap((boot) => [attachment, other].map((of) => containerEndMac(host(boot), of))),
  ]
  expect(new Set(all).size).toBe(6)
  // Set by ourselves (the second bit), of one machine (the first one not).
  for (const mac of all) expect(Number.parseInt(mac.slice(0, 2), 16) & 3).toBe(2)
  expect(hostEndMac(attachment)).toBe(all[0])
})
