import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Command, Outcome } from '../../shared/exec/command.js'
import { delegations } from '../../shared/exec/delegate.js'
import { keepStateIn, stateRoot } from '../../shared/exec/state.js'
import { main } from '../../shared/program/main.js'
import { filesOf, holding, netns } from '../../shared/testing/golden.js'

// Members that are programs of other files: what each is executed with, and what becomes of its answer.

const usual = stateRoot
let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'podwire-run-'))
  keepStateIn(join(folder, 'state'))
  for (const name of ['one', 'two']) copyFileSync('/bin/true', join(folder, name))
})
afterEach(() => {
  keepStateIn(usual)
  rmSync(folder, { recursive: true })
})

interface Execution {
  readonly verb: string
  readonly name: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into inputs of every form
  readonly input: any
  readonly below: string | undefined
}

const versions = { supportedVersions: ['0.4.0', '1.0.0', '1.1.0'], cniVersion: '1.1.0' }
const made = (address: string) => JSON.stringify({ cniVersion: '1.1.0', ips: [{ address }] })
const failing = (code: number, msg: string) => ({ status: 1, stdout: JSON.stringify({ code, msg }) })

/** One call of a chain whose members answer by "VERB name", by "VERB", or with nothing. */
async function chained(
  verb: string,
  {
    config = {},
    answers = {},
    dry = false,
  }: { config?: object; answers?: Record<string, string | Partial<Outcome>>; dry?: boolean } = {},
) {
  const executed: Execution[] = []
  let [stdout, said] = ['', '']
  const run = ({ argv, env, stdin = '' }: Command): Outcome => {
    const done = { status: 0, signal: null, stdout: '', stderr: '' }
    const name = argv[0].startsWith(`${folder}/`) ? argv[0].slice(folder.length + 1) : undefined
    if (name === undefined) return argv[0] === 'flock' ? done : expect.fail(`executed ${argv.join(' ')}`)
    const called = env?.['CNI_COMMAND'] ?? ''
    executed.push({ verb: called, name, input: JSON.parse(stdin), below: env?.[delegations] })
    const usual =
      called === 'VERSION' ? JSON.stringify(versions) : called === 'ADD' ? made(`10.0.0.${executed.length}/24`) : ''
    const answer = answers[`${called} ${name}`] ?? answers[called] ?? usual
    return { ...done, ...(typeof answer === 'string' ? { stdout: answer } : answer) }
  }
  const status = await main({
    plugin: 'chain',
    env: {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: 'c1',
      CNI_NETNS: netns,
      CNI_NETNS_OVERRIDE: '1',
      CNI_IFNAME: 'eth0',
      CNI_PATH: folder,
      ...(dry ? { PODWIRE_DRY_RUN: '1' } : {}),
    },
    stdin: () =>
      JSON.stringify({
        cniVersion: '1.1.0',
        name: 'net',
        type: 'chain',
        plugins: [{ type: 'one' }, { type: 'two' }],
        ...config,
      }),
    stdout: (text) => {
      stdout += text
    },
    stderr: (text) => {
      said += text
    },
    run,
    files: holding(filesOf({ plugin: 'chain', verb: 'ADD' })),
  })
  const did = executed.filter(({ verb: of }) => of !== 'VERSION')
  return {
    status,
    json: stdout === '' ? undefined : JSON.parse(stdout),
    said,
    executed: did,
    order: did.map(({ verb: of, name }) => `${of} ${name}`),
    asked: executed.filter(({ verb: of }) => of === 'VERSION').map(({ name }) => name),
  }
}

describe('ADD', () => {
  test('gives each the result of the one before, and answers with the last', async () => {
    const { status, json, executed, order, asked } = await chained('ADD', { config: { mtu: 1400 } })
    expect([status, order, asked]).toEqual([0, ['ADD one', 'ADD two'], ['one', 'two']])
    const [one, two] = executed
    expect(one).toMatchObject({ input: { cniVersion: '1.1.0', name: 'net', type: 'one', mtu: 1400 }, below: 'one' })
    expect(one?.input).not.toHaveProperty(['prevResult'])
    expect(two?.input.prevResult.ips).toEqual([{ address: '10.0.0.3/24' }])
    expect(json.ips).toEqual([{ address: '10.0.0.4/24' }])
  })

  test('that fails is taken back, newest first, each with its own result or what it found', async () => {
    const { json, executed, order } = await chained('ADD', { answers: { 'ADD two': failing(120, 'no') } })
    expect(order).toEqual(['ADD one', 'ADD two', 'DEL two', 'DEL one'])
    expect(json).toMatchObject({ code: 120, msg: expect.stringContaining('no') })
    expect(executed.slice(2).map(({ input }) => input.prevResult.ips)).toEqual([
      [{ address: '10.0.0.3/24' }],
      [{ address: '10.0.0.3/24' }],
    ])
    const left = await chained('ADD', { answers: { 'ADD two': failing(120, 'no'), 'DEL two': failing(121, 'stuck') } })
    expect(left.order).toEqual(['ADD one', 'ADD two', 'DEL two', 'DEL one'])
    expect(left.json).toMatchObject({ code: 120, details: expect.stringMatching(/left behind: .*two.*stuck/) })
  })

  test('in a dry run only says what would be executed', async () => {
    const { status, order, said } = await chained('ADD', { dry: true })
    expect([status, order]).toEqual([0, []])
    expect(said).toContain(`# CNI_COMMAND=ADD ${folder}/one\n`)
    expect(said).toContain(`# CNI_COMMAND=ADD ${folder}/two\n`)
  })

  test('gives what the runtime has given only to members with a capability for it', async () => {
    const config = {
      capabilities: { mac: true, ips: true },
      runtimeConfig: { mac: 'm', ips: ['i'], other: 1 },
      plugins: [{ type: 'one', capabilities: { mac: true, ips: false } }, { type: 'two' }],
    }
    const { executed } = await chained('ADD', { config })
    expect(executed.map(({ input }) => input.runtimeConfig)).toEqual([{ mac: 'm' }, undefined])
    expect(executed[1]?.input).not.toHaveProperty(['runtimeConfig'])
  })
})

test.each(['ADD', 'CHECK', 'DEL', 'STATUS', 'GC'])(
  '%s: a member has the runtimeConfig that it sets itself where the runtime gives it nothing',
  async (verb) => {
    const itself = { mac: 'own', other: [1] }
    const config = {
      capabilities: { mac: true },
      runtimeConfig: { mac: 'm' },
      plugins: [
        { type: 'one', capabilities: { mac: true }, runtimeConfig: itself },
        { type: 'two', RuntimeConfig: itself },
      ],
    }
    const { executed } = await chained(verb, { config })
    const isOfAttachment = verb !== 'STATUS' && verb !== 'GC'
    const given = Object.fromEntries(executed.map(({ name, input }) => [name, input.runtimeConfig]))
    expect(given).toEqual(isOfAttachment ? { one: { mac: 'm' }, two: itself } : { one: undefined, two: undefined })
  },
)

describe('a version', () => {
  const answered = (VERSION: string | Partial<Outcome>, cniVersion = '1.1.0') =>
    chained('ADD', {
      config: { cniVersion, plugins: [{ type: 'one' }] },
      answers: { VERSION, ADD: '{"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.2/24"}}' },
    })

  test('that a member does not know is refused before anything is executed', async () => {
    const { json, order } = await answered('{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}')
    expect(order).toEqual([])
    expect(json).toMatchObject({
      code: 1,
      msg: expect.stringContaining('plugin one does not support config version "1.1.0"'),
      details: expect.stringContaining('it supports ["0.4.0","1.0.0"]'),
    })
  })

  test('is one of the first where a member does not know VERSION, or answers as 0.2.0 does', async () => {
    const old = failing(4, 'unknown CNI_COMMAND: VERSION')
    expect((await answered(old)).json.details).toContain('it supports ["0.1.0"]')
    expect((await answered(old, '0.1.0')).order).toEqual(['ADD one'])
    expect((await answered('{"cniVersion": "0.2.0"}')).json.details).toContain('it supports ["0.1.0","0.2.0"]')
    expect((await answered('{"cniVersion": "0.2.0", "supportedVersions": []}', '0.2.0')).order).toEqual(['ADD one'])
  })

  test.each([
    ['{"cniVersion": "1.1.0"}', 'decoding version info: missing field supportedVersions'],
    ['{"cniVersion": "1.1.0", "supportedVersions": "1.1.0"}', 'decoding version info: missing field supportedVersions'],
    ['{}', 'decoding version info: missing field cniVersion'],
    ['', 'decoding version info: unexpected end of JSON input'],
    ['{"a"', 'decoding version info: unexpected end of JSON input'],
  ])('that is answered by %s cannot be read', async (text, message) => {
    const { json, order } = await answered(text)
    expect([order, json.code]).toEqual([[], 6])
    expect(json.msg).toContain(message)
    expect(json.details).toContain(`it answered ${JSON.stringify(text)}`)
  })

  test('that cannot be asked is the error of the program', async () => {
    expect((await answered(failing(130, 'broken'))).json).toMatchObject({
      code: 130,
      msg: expect.stringContaining('broken'),
    })
  })
})

describe('the other verbs', () => {
  const prevResult = { cniVersion: '1.1.0', ips: [{ address: '10.0.0.9/24' }] }

  test.each(['DEL', 'GC'])('a dry run of %s only says what would be executed', async (verb) => {
    const { status, order, said } = await chained(verb, { dry: true })
    expect([status, order]).toEqual([0, []])
    for (const name of ['one', 'two']) expect(said).toContain(`# CNI_COMMAND=${verb} ${folder}/${name}\n`)
  })

  test('DEL goes in reverse, with what the runtime gave, and on behind failures', async () => {
    const config = {
      prevResult,
      capabilities: { mac: true },
      runtimeConfig: { mac: 'm' },
      plugins: [{ type: 'one', capabilities: { mac: true } }, { type: 'two' }],
    }
    const { status, order, executed } = await chained('DEL', { config })
    expect([status, order]).toEqual([0, ['DEL two', 'DEL one']])
    expect(executed.map(({ input }) => [input.prevResult.ips, input.runtimeConfig])).toEqual([
      [prevResult.ips, undefined],
      [prevResult.ips, { mac: 'm' }],
    ])
    const failed = await chained('DEL', { config, answers: { 'DEL two': failing(120, 'no') } })
    expect([failed.status, failed.order]).toEqual([1, ['DEL two', 'DEL one']])
    expect(failed.json).toMatchObject({ code: 120, msg: expect.stringContaining('plugins[1] two') })
  })

  test('CHECK gives every member the final result, and stops at the first that is not content', async () => {
    const { status, executed } = await chained('CHECK', { config: { prevResult } })
    expect([status, executed.map(({ input }) => input.prevResult.ips)]).toEqual([0, [prevResult.ips, prevResult.ips]])
    const failed = await chained('CHECK', { config: { prevResult }, answers: { 'CHECK one': failing(120, 'no') } })
    expect([failed.json.code, failed.order]).toEqual([120, ['CHECK one']])
  })

  test('STATUS and GC give no result, and GC the valid attachments under both of their names', async () => {
    const status = await chained('STATUS', {
      config: { prevResult, capabilities: { mac: true }, runtimeConfig: { mac: 'm' } },
    })
    expect(status.order).toEqual(['STATUS one', 'STATUS two'])
    expect(Object.keys(status.executed[0]?.input).sort()).toEqual(['cniVersion', 'name', 'type'])
    const valid = [{ containerID: 'c2', ifname: 'eth0' }]
    for (const key of ['cni.dev/valid-attachments', 'cni.dev/attachments']) {
      const { order, executed } = await chained('GC', { config: { [key]: valid } })
      expect(order.toSorted()).toEqual(['GC one', 'GC two'])
      expect(executed[0]?.input).toMatchObject({ 'cni.dev/valid-attachments': valid, 'cni.dev/attachments': valid })
    }
    const { executed } = await chained('GC')
    expect(executed[0]?.input).not.toHaveProperty(['cni.dev/valid-attachments'])
  })
})
