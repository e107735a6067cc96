import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { stateRoot } from '../../shared/exec/state.js'
import type { Row } from '../../shared/testing/golden.js'
import { openStage, type Stage } from '../../shared/testing/live.js'
import { createMemory, type Memory, secondNetns } from '../../shared/testing/memory.js'

// The shim that containers of a master share, on a machine that remembers.

const CNI_PATH = mkdtempSync(join(tmpdir(), 'access-'))
symlinkSync(process.execPath, join(CNI_PATH, 'static'))
afterAll(() => rmSync(CNI_PATH, { recursive: true }))

const own = (local: string, prefixlen = 24, scope = 'global') => ({ family: 'inet', local, prefixlen, scope })
const lan = { ifname: 'lan0', address: '02:00:00:00:00:0a', flags: ['UP'], addr_info: [own('10.1.2.100')] }
const shim = 'shim44d6cd0695b'

let [memory, stage]: [Memory, Stage] = [createMemory(), undefined as unknown as Stage]
beforeEach(() => {
  memory = createMemory({ host: [lan, { ...lan, ifname: 'lan1', address: '02:00:00:00:00:0b', addr_info: [] }] })
  stage = openStage(memory)
})
afterEach(() => stage.close())

const row = (verb: Row['verb'], address: string, more: { container?: string; config?: object } = {}): Row => {
  const { container = 'c1', config } = more
  return {
    ...{ plugin: 'macvlan', verb, answers: { 'container# arping *': '', 'nsenter *arping *': '' } },
    config: { master: 'lan0', hostAccess: true, ipam: { type: 'static', addresses: [{ address }] }, ...config },
    env: { CNI_PATH, CNI_CONTAINERID: container, ...(container === 'c1' ? {} : { CNI_NETNS: secondNetns }) },
  }
}
const [first, second] = ['10.1.2.3/24', '10.1.2.4/24'] as const
const other = { container: 'c2' }

const succeed = (asked: Row) => stage.succeed(asked)
const onHost = (text: string) => memory.things().filter((thing) => thing.startsWith('host ') && thing.includes(text))
const records = () => stage.state().filter((file) => file.startsWith('host-access/'))
const inside = (line: string) =>
  memory.run({ argv: ['nsenter', '--net=/proc/self/ns/net', 'ip', '-batch', '-'], stdin: line })

/** A container ends, and its interface with it; its record stays. */
const end = () => expect(inside('link del dev eth0')).toEqual({})

test('goes with the last container, and each with the way to it alone', async () => {
  await succeed(row('ADD', first))
  await succeed(row('ADD', second, other))
  expect(onHost('link shim')).toHaveLength(1)
  await succeed(row('DEL', first))
  expect([onHost('10.1.2.3'), onHost('10.1.2.4').length, onHost('link shim').length]).toEqual([[], 1, 1])
  await succeed(row('DEL', second, other))
  expect([onHost('shim'), records()]).toEqual([[], []])
})

test('the way to an address that another has by now stays', async () => {
  await succeed(row('ADD', first))
  await succeed(row('ADD', first, other))
  await succeed(row('DEL', first))
  expect(onHost('10.1.2.3').length).toBe(1)
  await succeed(row('DEL', first, other))
  expect(onHost('shim')).toEqual([])
})

describe('an ADD that no DEL was before', () => {
  test('takes away what the container had, where it is not the same', async () => {
    await succeed(row('ADD', first))
    end()
    await succeed(row('ADD', second))
    expect([onHost('10.1.2.3'), onHost('10.1.2.4').length, records().length]).toEqual([[], 1, 1])
  })

  test('keeps what is the same', async () => {
    await succeed(row('ADD', first))
    end()
    await succeed(row('ADD', first))
    expect([onHost('10.1.2.3').length, onHost('link shim').length]).toEqual([1, 1])
  })

  test('on another master leaves no shim on the one of before', async () => {
    await succeed(row('ADD', first))
    end()
    await succeed(row('ADD', first, { config: { master: 'lan1' } }))
    expect([onHost(`link ${shim}`), onHost('link shim').length, onHost('10.1.2.3').length]).toEqual([[], 1, 1])
  })

  test('leaves to others what they have been given since', async () => {
    await succeed(row('ADD', first))
    end()
    await succeed(row('ADD', first, other))
    await succeed(row('ADD', second))
    expect([onHost('10.1.2.3').length, onHost('10.1.2.4').length]).toEqual([1, 1])
  })
})

describe('GC', () => {
  const gc = (...valid: string[]) =>
    row('GC', first, {
      config: { 'cni.dev/valid-attachments': valid.map((containerID) => ({ containerID, ifname: 'eth0' })) },
    })

  test('takes the ways of who is not valid, and the shim with the last', async () => {
    await succeed(row('ADD', first))
    await succeed(row('ADD', second, other))
    await succeed(gc('c2'))
    expect([onHost('10.1.2.3'), onHost('link shim').length]).toEqual([[], 1])
    await succeed(gc())
    expect([onHost('shim'), records()]).toEqual([[], []])
  })

  test('takes a shim that no record speaks of, but no other link of its name', async () => {
    await succeed(row('ADD', first))
    rmSync(join(stateRoot, 'host-access'), { recursive: true })
    await succeed(gc('c1'))
    expect(onHost('link shim')).toEqual([])
    memory.run({ argv: ['ip', '-batch', '-'], stdin: `link add name ${shim} address 02:00:00:00:00:77 type dummy` })
    await succeed(gc('c1'))
    expect(onHost('link shim')).toHaveLength(1)
  })
})

describe('CHECK', () => {
  const check = (prevResult: object) => stage.perform(row('CHECK', first, { config: { prevResult } }))

  test('misses the shim, and each way', async () => {
    const { json } = await succeed(row('ADD', first))
    expect((await check(json)).status).toBe(0)
    const restore = memory.save()
    for (const thing of onHost('10.1.2.3')) memory.remove(thing)
    expect((await check(json)).json).toMatchObject({
      code: 105,
      details: expect.stringContaining(`routes on ${shim}: found "none", expected a route to 10.1.2.3`),
    })
    restore()
    memory.remove(onHost('link shim')[0] ?? '')
    expect((await check(json)).json.details).toContain(
      `hostAccess: found "no shim", expected the link ${shim} on the host`,
    )
  })
})
