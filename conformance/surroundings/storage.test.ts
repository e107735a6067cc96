import { statfsSync, writeFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { call, hostLocal } from '../devices/calls.js'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { type Call, runPlugin, runTraced } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'
import { difference, takeSnapshot } from '../harness/snapshot.js'

// A disk that is full, over a quota, broken or turned read-only, at each write of a call in turn. Expected: one JSON
// error with the system's word in it, and nothing left; or, where the write was only for comfort, success. And
// whatever it was: a DEL on a sound disk leaves nothing.

const errors = ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS'] as const
/** What a disk can refuse. */
const writing = 'write openat mkdir rename link symlink unlink fsync utimensat'.split(' ')

const wired = {
  cniVersion: '1.1.0',
  ips: [{ address: '10.41.0.9/24', interface: 0 }],
  interfaces: [{ name: 'eth0', sandbox: '/run/netns/container0' }],
}
const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]

/** Each with the least number of its ADD's writes. */
const plugins: Record<string, { config: object; writes: number }> = {
  'host-local': { config: { ipam: hostLocal }, writes: 10 },
  bridge: { config: { isGateway: true, ipMasq: true, macspoofchk: true, ipam: hostLocal }, writes: 20 },
  portmap: { config: { prevResult: wired, runtimeConfig: { portMappings } }, writes: 4 },
  firewall: { config: { prevResult: wired }, writes: 4 },
  tuning: { config: { prevResult: wired, mtu: 1400, promisc: true }, writes: 4 },
}

/** Everything but the files that only remember where the next search begins or what is locked. */
async function look(host: Host): Promise<string[]> {
  const lines = await takeSnapshot(host, { directories: ['/var/lib/cni', '/run/podwire', '/run/cni'] })
  return lines.filter((line) => !/^file \S*(lock|last_reserved_ip\.\d+) /.test(line))
}

interface Write {
  readonly call: string
  /** The how manieth call of that name it is, as strace counts. */
  readonly number: number
}

/** The calls of a traced run that change something on a disk, in order. */
function writesOf(calls: string): Write[] {
  const counts = new Map<string, number>()
  return calls.split('\n').flatMap((line) => {
    const [, call = ''] = /^(\w+)\(/.exec(line) ?? []
    const number = (counts.get(call) ?? 0) + 1
    counts.set(call, number)
    const isOfState = /\/var\/lib\/cni|\/run\/podwire|\/run\/cni/.test(line)
    return writing.includes(call) && isOfState && !line.includes('O_RDONLY') ? [{ call, number }] : []
  })
}

function traced(host: Host, one: Call): Promise<Finished & { calls: string }> {
  return runTraced(host, one, ['-y', '-e', `trace=${writing.join(',')}`])
}

/** @param lasting the call fails from then on, as on a disk that turned read-only, not once */
async function refused(host: Host, one: Call, { call, number }: Write, error: string, lasting: boolean) {
  const inject = `inject=${call}:error=${error}:when=${number}${lasting ? '+' : ''}`
  const finished = await runTraced(host, one, ['-e', `trace=${call}`, '-e', inject])
  expect(finished.calls, `${call} ${number}`).toContain('(INJECTED)')
  return finished
}

describe.each(Object.entries(plugins))('%s', (plugin, { config, writes: least }) => {
  const prepared = async (host: Host): Promise<{ add: Call; del: Call; before: string[] }> => {
    const container = await host.container()
    if ('prevResult' in config) await container.batch(['link add eth0 type veth peer name other'])
    const add = call(plugin, 'ADD', container, config)
    const del: Call = { ...add, command: 'DEL' }
    // What an ADD leaves for all is there.
    resultOf(await runPlugin(host, add))
    succeedSilently(await runPlugin(host, del))
    return { add, del, before: await look(host) }
  }

  test('an ADD that a disk refuses a write', { timeout: 180_000 }, async ({ host }) => {
    const { add, del, before } = await prepared(host)
    const first = await traced(host, add)
    resultOf(first)
    succeedSilently(await runPlugin(host, del))
    const writes = writesOf(first.calls)
    expect(writes.length).toBeGreaterThanOrEqual(least)
    for (const [index, write] of writes.entries()) {
      // All that is written comes to write(2), the answer too: only once.
      for (const lasting of write.call === 'write' ? [false] : [false, true]) {
        const error = errors[(index + (lasting ? 2 : 0)) % errors.length] as string
        const where = `${write.call} ${write.number}: ${error}${lasting ? ' from then on' : ''}`
        const finished = await refused(host, add, write, error, lasting)
        if (finished.status === 0) resultOf(finished)
        else {
          const { msg, details = '' } = errorOf(finished)
          expect(`${msg}\n${details}`, where).toContain(error)
          if (!lasting) expect(difference(before, await look(host)), where).toBe('')
        }
        succeedSilently(await runPlugin(host, del))
        if (lasting || finished.status === 0) expect(difference(before, await look(host)), `${where}, DEL`).toBe('')
      }
    }
  })

  test('a DEL that a disk refuses a write', { timeout: 180_000 }, async ({ host }) => {
    const { add, del, before } = await prepared(host)
    resultOf(await runPlugin(host, add))
    const first = await traced(host, del)
    succeedSilently(first)
    const writes = writesOf(first.calls)
    expect(writes.length).toBeGreaterThanOrEqual(1)
    for (const [index, write] of writes.entries()) {
      const error = errors[index % errors.length] as string
      const where = `${write.call} ${write.number}: ${error}`
      resultOf(await runPlugin(host, add))
      const finished = await refused(host, del, write, error, write.call !== 'write')
      if (finished.status === 0) succeedSilently(finished)
      else {
        const { msg, details = '' } = errorOf(finished)
        expect(`${msg}\n${details}`, where).toContain(error)
      }
      succeedSilently(await runPlugin(host, del))
      expect(difference(before, await look(host)), where).toBe('')
    }
  })
})

/** File systems of the host's own, as they are when the call begins. */
const disks: Record<string, { where: string; spoilt: (used: number) => string; sound: string; error: string }> = {
  'no inode is left for leases': {
    where: '/var/lib/cni',
    spoilt: (used) => `nr_inodes=${used}`,
    sound: 'nr_inodes=1000',
    error: 'ENOSPC',
  },
  'leases lie on a read-only disk': { where: '/var/lib/cni', spoilt: () => 'ro', sound: 'rw', error: 'EROFS' },
  'no inode is left for records': {
    where: '/run/podwire',
    spoilt: (used) => `nr_inodes=${used}`,
    sound: 'nr_inodes=1000',
    error: 'ENOSPC',
  },
  'records lie on a read-only disk': { where: '/run/podwire', spoilt: () => 'ro', sound: 'rw', error: 'EROFS' },
}

describe('where, from the beginning,', () => {
  for (const [name, { where, spoilt, sound, error }] of Object.entries(disks)) {
    test(`${name}: one error, nothing left, and all well when it is mended`, async ({ host }) => {
      await host.output(['mkdir', '-p', where])
      await host.output(['mount', '-t', 'tmpfs', '-o', 'size=64k,nr_inodes=1000', 'tmpfs', where])
      const add = call('bridge', 'ADD', await host.container(), plugins['bridge']?.config ?? {})
      const del: Call = { ...add, command: 'DEL' }
      resultOf(await runPlugin(host, add))
      succeedSilently(await runPlugin(host, del))
      const before = await look(host)
      const { files, ffree } = statfsSync(host.path(where))
      await host.output(['mount', '-o', `remount,${spoilt(files - ffree)}`, where])
      const { msg, details = '', code } = errorOf(await runPlugin(host, add))
      expect({ code, text: `${msg}\n${details}` }).toEqual({ code: 5, text: expect.stringContaining(error) })
      const finished = await runPlugin(host, del)
      if (finished.status !== 0) errorOf(finished)
      await host.output(['mount', '-o', `remount,${sound}`, where])
      expect(difference(before, await look(host))).toBe('')
      resultOf(await runPlugin(host, add))
      succeedSilently(await runPlugin(host, del))
      expect(difference(before, await look(host))).toBe('')
    })
  }

  test('not a byte is free: no lease and no record is made', async ({ host }) => {
    await host.output(['mkdir', '-p', '/var/lib/cni'])
    await host.output(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', '/var/lib/cni'])
    const add = call('host-local', 'ADD', await host.container(), { ipam: hostLocal })
    resultOf(await runPlugin(host, add))
    succeedSilently(await runPlugin(host, { ...add, command: 'DEL' }))
    const before = await look(host)
    expect(() => writeFileSync(host.path('/var/lib/cni/filler'), Buffer.alloc(128 * 1024))).toThrow('ENOSPC')
    expect(errorOf(await runPlugin(host, add)).details).toContain('ENOSPC')
    succeedSilently(await runPlugin(host, { ...add, command: 'DEL' }))
    await host.output(['rm', '/var/lib/cni/filler'])
    expect(difference(before, await look(host))).toBe('')
  })
})
