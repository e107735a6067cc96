import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { listPlugins } from '../shared/bundling/plugins.js'
import { resultOf, succeedSilently } from './harness/answer.js'
import { test } from './harness/fixture.js'
import { repository, suites } from './harness/locations.js'
import { type Call, runPlugin, type Verb } from './harness/plugin.js'
import { difference } from './harness/snapshot.js'
import { refuseInTurn } from './lan/breaking.js'
import { plugins, pluginsOfFullKernels } from './swapped/plugins.js'
import { ipam, prepare, type Swapped, state } from './swapped/swapping.js'

// The binaries of `make build PLAIN=1`, on Node's public interfaces alone: the same names, the same answers, and what
// they make is what the others find. This much shows that the way back is open; all other tests are of the others.

const rows: Record<string, Swapped> = {
  ...plugins,
  ...pluginsOfFullKernels,
  chain: { config: { plugins: [{ type: 'bridge', bridge: 'br8', ipam }, { type: 'tuning' }] } },
  'host-local': { config: { ipam } },
  static: { config: { ipam: { type: 'static', addresses: [{ address: '10.80.0.9/24' }] } } },
}

/** A call of the plain binary, with more in its configuration. */
const plain = (call: Call, more: object = {}): Call => ({
  ...call,
  suite: 'plain',
  config: { ...(call.config as object), ...more },
})

test('they have the names of the others', () => {
  const names = listPlugins(repository).map(({ name }) => name)
  expect(Object.keys(rows).sort()).toEqual(names)
  const files = [...names, 'podwire'].sort()
  for (const suite of ['plain', 'podwire'] as const) {
    expect(readdirSync(suites[suite]).filter((name) => name !== 'podwire-lib')).toEqual(files)
  }
})

test('they and the program start V8 without threads of its own, for which Node can wait for ever at its end', () => {
  const option = '--single-threaded'
  const length = Buffer.alloc(8)
  length.writeUInt8(option.length)
  // As it stands among the options that a binary carries: behind its length.
  const carried = Buffer.concat([length, Buffer.from(option)])
  for (const file of [join(suites.plain, 'bridge'), join(suites.plain, 'podwire'), join(suites.podwire, 'podwire')]) {
    expect(readFileSync(file).includes(carried), file).toBe(true)
  }
})

describe('ADD, CHECK and DEL', () => {
  test.for(Object.entries(rows))('%s', async ([type, row], { host, skip }) => {
    const { call } = await prepare(host, type, row)
    const bare = await state(host)
    const first = await runPlugin(host, plain(call('ADD')))
    if (first.status === 1 && type in pluginsOfFullKernels && /not supported|unknown device type/i.test(first.stdout)) {
      expect(difference(bare, await state(host))).toBe('')
      return skip(`this kernel cannot: ${first.stdout}`)
    }
    resultOf(first)
    succeedSilently(await runPlugin(host, plain(call('DEL'))))
    // What attachments share has come to stay: a bridge, tables, forwarding.
    const before = await state(host)
    const prevResult = resultOf(await runPlugin(host, plain(call('ADD'))))
    const after = await state(host)
    const calls = (command: Verb) => plain(call(command), { prevResult })
    for (const suite of ['plain', 'podwire'] as const) {
      succeedSilently(await runPlugin(host, { ...calls('CHECK'), suite }))
    }
    expect(await state(host)).toEqual(after)
    succeedSilently(await runPlugin(host, calls('DEL')))
    expect(difference(before, await state(host))).toBe('')
    expect((await runPlugin(host, calls('CHECK'))).status).toBe(type === 'static' ? 0 : 1)
  })
})

test('each operation of an ADD that is refused leaves nothing', async ({ host }) => {
  const { call } = await prepare(host, 'bridge', plugins['bridge'] as Swapped)
  resultOf(await runPlugin(host, plain(call('ADD'))))
  succeedSilently(await runPlugin(host, plain(call('DEL'))))
  expect(await refuseInTurn(host, plain(call('ADD')), state)).toBeGreaterThan(5)
})

describe('they ask Node by its public modules alone', () => {
  const folders = { plain: `${repository}/dist/plain`, podwire: `${repository}/dist` }
  const textsOf = (folder: string) =>
    [
      ...readdirSync(`${folder}/scripts`)
        .filter((name) => name.endsWith('.js'))
        .map((name) => `scripts/${name}`),
      'podwire.cjs',
    ].map((name) => readFileSync(`${folder}/${name}`, 'latin1'))
  const bindings = /internalBinding|getBuiltinModule|reallyExit|process\.binding|["'`]internal\//

  test('in their scripts', () => {
    for (const text of textsOf(folders.plain)) {
      expect(text).not.toMatch(bindings)
      for (const [, name] of text.matchAll(/require\("([^"]+)"\)/g)) {
        expect(name).toBeOneOf(['node:child_process', 'node:fs', 'node:sea', 'node:vm'])
      }
    }
    for (const text of textsOf(folders.podwire)) expect(text).toMatch(bindings)
  })

  test('and by the options they start with', () => {
    // As the binary carries its options: their length, then their text (SeaSerializer in Node's src/node_sea.cc).
    const option = '--expose-internals'
    const carried = Buffer.concat([Buffer.of(option.length, 0, 0, 0, 0, 0, 0, 0), Buffer.from(option)])
    const carries = (folder: string) => readFileSync(`${folder}/podwire`).includes(carried)
    expect({ plain: carries(folders.plain), podwire: carries(folders.podwire) }).toEqual({
      plain: false,
      podwire: true,
    })
  })
})
