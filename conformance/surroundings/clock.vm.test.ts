import { describe, expect } from 'vitest'
import { chains } from '../faults/chains.js'
import { errorOf, resultOf } from '../harness/answer.js'
import { Chain, type Conflist } from '../harness/chain.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { readFiles } from '../harness/observe.js'
import { runPlugin } from '../harness/plugin.js'
import { difference } from '../harness/snapshot.js'

// The clock itself is set, which is the whole machine's: only the virtual machine has one to spare. clock.test.ts has
// what such a clock leaves, the times of files. A plugin call takes seconds there: the state is looked at in few
// commands.

const year = 365 * 24 * 3600
const whyElsewhere = process.env['PODWIRE_VM'] === '1' ? undefined : 'the whole machine’s clock is set: only in the VM'

/** Sets the clock as many seconds off the right time as asked; the right time goes on meanwhile. */
function clock(host: Host) {
  const [epoch, began] = [Date.now(), performance.now()]
  return async (off: number) => {
    const wanted = (epoch + performance.now() - began) / 1000 + off
    await host.output(['date', '-u', '-s', `@${wanted.toFixed(3)}`])
    expect(Math.abs(Date.now() / 1000 - wanted)).toBeLessThan(3600)
  }
}

/** Files of ours, rules, and the names of links on the host. */
async function state(host: Host): Promise<string[]> {
  await host.quiet()
  const files = ['/var/lib/cni', '/run/leases', '/run/podwire', '/run/cni'].flatMap((place) =>
    Object.entries(readFiles(host, place)).flatMap(([name, text]) =>
      /(^|\/)(\S*lock\S*|last_reserved_ip\.\d+|\.[^/]+)$/.test(name) ? [] : [`${place}/${name} ${text}`],
    ),
  )
  const kernel = await host.output(['sh', '-c', 'nft -s list ruleset; iptables-save; ip -br link | cut -d" " -f1'])
  return [...files, ...kernel.split('\n').filter((line) => !line.startsWith('#'))].sort()
}

const ipam = { type: 'host-local', subnet: '10.1.2.0/24', dataDir: '/run/leases' }
const short: Conflist = {
  cniVersion: '1.1.0',
  name: 'network',
  plugins: [
    { type: 'dummy', ipam },
    { type: 'portmap', capabilities: { portMappings: true } },
    { type: 'tuning', mtu: 1400 },
  ],
}
const { tap: _, ...long } = chains
/** `make test` has time for one. */
const lists = {
  'leases elsewhere, which is on record': short,
  ...(process.env['PODWIRE_ALL_IN_VM'] === '1' ? long : {}),
}

describe('the clock set back by a year, forward by two, and right again, with attachments there', () => {
  test.for(Object.entries(lists))(
    '%s: no address twice, none lost, nothing stale',
    { timeout: 900_000 },
    async ([, list], { host, skip }) => {
      if (whyElsewhere) skip(whyElsewhere)
      await host.outside()
      const made: Chain[] = []
      const given: string[] = []
      const valid: { containerID: string; ifname: string }[] = []
      const join = async () => {
        const { name, netns } = await host.container()
        const portMappings = [{ hostPort: 8080 + made.length, containerPort: 80, protocol: 'tcp' }]
        const chain = new Chain(host, list, { containerID: name, netns, capabilityArgs: { portMappings } })
        const addresses = (await chain.add()).ips?.map(({ address }) => address) ?? []
        expect(given.filter((one) => addresses.includes(one))).toEqual([])
        given.push(...addresses)
        made.push(chain)
        valid.push({ containerID: name, ifname: 'eth0' })
        return chain
      }
      // What belongs to the network stays.
      const first = await join()
      await first.del()
      for (const all of [made, given, valid]) all.length = 0
      const clean = await state(host)
      const set = clock(host)
      try {
        await join()
        for (const off of [-year, year, 0]) {
          await set(off)
          await join()
          await made[0]?.check()
          const before = await state(host)
          await first.gc(valid)
          expect(difference(before, await state(host)), `GC ${off} s off, with all valid`).toBe('')
        }
        // One of the time before is gone without a DEL: GC takes that, and leaves the others.
        await set(year)
        await first.gc(valid.slice(1))
        const [, ...left] = made
        for (const chain of left) await chain.check()
        await set(-year)
        for (const chain of left) await chain.del(true)
        expect(difference(clean, await state(host))).toBe('')
      } finally {
        await set(0)
      }
    },
  )

  test('a full range stays full: no lease is taken for one of an earlier boot', async ({ host, skip }) => {
    if (whyElsewhere) skip(whyElsewhere)
    const ipam = { type: 'host-local', subnet: '10.1.2.0/29' }
    const config = { cniVersion: '1.1.0', name: 'network', type: 'host-local', ipam }
    const add = (containerID: string) =>
      runPlugin(host, { plugin: 'host-local', command: 'ADD', containerID, netns: '/none', config })
    const set = clock(host)
    try {
      for (const [index, off] of [0, -year, year, 0, -year].entries()) {
        await set(off)
        resultOf(await add(`c${index}`))
      }
      for (const off of [0, -year, year]) {
        await set(off)
        expect(errorOf(await add('late'))).toMatchObject({ code: 11, details: expect.stringContaining('5 leases') })
      }
    } finally {
      await set(0)
    }
  })
})
