import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { names } from 'podwire:plugins'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, test } from 'vitest'
import { differences } from '../../conformance/oracle/differences.js'
import { command } from '../../shared/testing/program.js'
import { jsonSchemaOf } from '../schema/schemas.js'
import { concernedBy, differencesOf } from './differences.js'
import { examples } from './examples.js'
import { commonKeys, explainedPlugin } from './keys.js'
import { pages } from './page.js'

const root = path.resolve(import.meta.dirname, '../..')
const docs = path.join(root, 'docs')

test('the pages are what schemas and differences say now (make docs)', async () => {
  const made = await pages()
  const there = [...readdirSync(path.join(docs, 'plugins')).map((file) => `plugins/${file}`), 'compatibility.md']
  expect(there.sort()).toEqual([...made.keys()].sort())
  for (const [file, text] of made) expect(readFileSync(path.join(docs, file), 'utf8'), file).toBe(text)
})

test.each(names)('%s says what it does, and every key what it is, since when', (name) => {
  const plugin = explainedPlugin(name)
  expect(plugin).toMatchObject({
    description: expect.stringMatching(/^[A-Z].*\.$/),
    since: expect.stringMatching(/^0\.[12]\.0$/),
  })
  for (const key of [...(plugin?.keys ?? []), ...commonKeys()]) {
    expect(key, key.path).toMatchObject({
      description: expect.stringMatching(/^[A-Z"].*\.$/),
      since: expect.stringMatching(/^0\.[12]\.0$/),
    })
  }
})

test.each(names)('the example of %s is one by its schema', (name) => {
  const validate = new Ajv2020().compile(jsonSchemaOf('configuration'))
  expect(validate({ name: 'net', ...examples[name] }), JSON.stringify(validate.errors)).toBe(true)
})

describe('differences', () => {
  test('are of plugins of ours, and each is held by tests that are there, or seen in the comparison', async () => {
    for (const { plugins, what, reason, tests = [], shown = [] } of differences) {
      expect((await concernedBy(plugins)).size, plugins).toBeGreaterThan(0)
      expect([what, reason].every((text) => text.length > 0)).toBe(true)
      expect(tests.length + shown.length, what).toBeGreaterThan(0)
      expect(
        tests.filter((file) => !existsSync(path.join(root, file))),
        what,
      ).toEqual([])
    }
  })

  test('stand with whom they concern', async () => {
    const of = async (name: string) =>
      (await differencesOf(name)).map(({ what, group }) => `${group ?? 'own'}: ${what}`)
    expect(await of('loopback')).toContain('own: the result has the format of the asked version')
    expect((await of('bridge')).join('\n')).toMatch(/own: macspoofchk has the table `bridge podwire`/)
    expect((await of('bridge')).join('\n')).toMatch(/all with addresses: mtu and advmss of a route are applied/)
    expect((await of('tuning')).join('\n')).not.toMatch(/all with addresses/)
  })
})

describe('explain', () => {
  test('lists the plugins', async () => {
    const { status, stdout } = await command(['explain'])
    expect(status).toBe(0)
    for (const name of names) expect(stdout).toMatch(new RegExp(`^${name} +[A-Z]`, 'm'))
  })

  test.each(names)('says of %s its keys, an example and what differs', async (name) => {
    const { status, stdout, stderr } = await command(['explain', name])
    expect([status, stderr]).toEqual([0, ''])
    for (const { path } of explainedPlugin(name)?.keys ?? []) expect(stdout.split('\n')).toContain(path)
    expect(stdout).toContain('What differs from the official suite:')
  })

  test.each([
    [
      'bridge.ipMasq',
      /^ipMasq\n {4}Masquerades what leaves.*true or false; default false\n {4}since podwire 0.1.0, off/s,
    ],
    ['bridge.IPMASQ', /^ipMasq\n/],
    ['bridge.vlanTrunk', /^vlanTrunk\n.*^vlanTrunk\[\]\.minID\n.*a whole number from 1 to 4094/ms],
    ['bridge.vlanTrunk.minID', /^vlanTrunk\[\]\.minID\n/],
    ['bridge.mac', /^runtimeConfig\.mac\n/],
    ['host-local.ranges', /^ipam\.ranges\n/],
    ['host-local.ipam.dataDir', /^ipam\.dataDir\n.*\/var\/lib\/cni\/networks/s],
    ['macvlan.hostAccess', /since podwire 0\.1\.0; the official suite does not have it/],
    ['vrf.vrfname', /required/],
    ['portmap.portMappings', /^runtimeConfig\.portMappings\n/],
  ])('explains %s', async (what, expected) => {
    const { status, stdout, stderr } = await command(['explain', what])
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(expected)
  })

  test.each([
    ['brigde', 'there is no plugin "brigde"; did you mean "bridge"?'],
    ['bridge.isGatway', 'bridge has no key "isGatway"; did you mean "isGateway"?'],
    ['bridge.master', 'bridge has no key "master"; it is a key of ipvlan, macvlan, vlan'],
    ['bridge.\x1b[2J', 'bridge has no key "\\u{1b}[2J"'],
  ])('%j is wrong use, with a hint', async (what, hint) => {
    expect(await command(['explain', what])).toEqual({ status: 2, stdout: '', stderr: `podwire: ${hint}\n` })
  })

  test('--json has the same', async () => {
    const { stdout } = await command(['explain', 'vrf', '--json'])
    const told = JSON.parse(stdout)
    expect(told).toMatchObject({
      command: 'explain',
      formatVersion: 1,
      plugin: 'vrf',
      since: '0.1.0',
      official: '0.9.0',
    })
    expect(told.keys.map(({ path }: { path: string }) => path)).toEqual(['vrfname', 'table'])
    expect(JSON.parse((await command(['explain', '--json'])).stdout).plugins).toHaveLength(names.length)
  })
})
