import { globSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { listPlugins } from '../shared/bundling/plugins.js'
import { repository } from './harness/locations.js'

// The test that watches the tests: a plugin that lacks a kind of proof fails here, not in somebody's cluster.

const plugins = listPlugins(repository).map(({ name, module }) => ({
  name,
  source: text(`${module}.ts`),
  rows: text(`${module}.test.ts`),
}))
const conformance = globSync('conformance/**/*.test.ts', { cwd: repository }).map((file) => ({
  file,
  text: text(file),
}))

function text(file: string): string {
  return readFileSync(`${repository}/${file}`, 'utf8')
}

/** The verbs a plugin's literal implements; ADD and DEL always. */
function verbsOf(source: string): string[] {
  const optional = ['check', 'status', 'gc'].filter((verb) => new RegExp(`^  ${verb}(\\(|:)`, 'm').test(source))
  return ['ADD', 'DEL', ...optional.map((verb) => verb.toUpperCase())]
}

const cells = plugins.flatMap(({ name, source, rows }) => verbsOf(source).map((verb) => ({ name, verb, rows })))

/** The conformance files that drive a plugin: as a call's plugin, a configuration's type, or a name in a list. */
function driving(name: string): { file: string; text: string }[] {
  const named = new RegExp(`['"/]${name}['"]|type: '${name}'`)
  return conformance.filter(({ text }) => named.test(text))
}

test.each(cells)('$name $verb has a row, beside the code or with the built binary', ({ name, verb, rows }) => {
  const here = new RegExp(`\\b${verb}\\b`).test(rows)
  const there = driving(name).filter(({ text }) => new RegExp(`'${verb}'|\\.${verb.toLowerCase()}\\(`).test(text))
  expect(here || there.length > 0).toBe(true)
})

test.each(plugins)('$name has rows beside the code and is driven as a built binary', ({ name, rows }) => {
  expect(rows).toMatch(/\btest(\.each|\.for)?\(/)
  expect(driving(name).map(({ file }) => file)).not.toEqual([])
})

test.each(plugins)('$name answers CHECK', ({ source }) => {
  expect(verbsOf(source)).toContain('CHECK')
})

test('every plugin of the official suite that real clients chain is here', () => {
  const names = plugins.map(({ name }) => name)
  for (const name of [
    'bridge',
    'ptp',
    'macvlan',
    'ipvlan',
    'vlan',
    'host-device',
    'dummy',
    'tap',
    'loopback',
    'portmap',
    'firewall',
    'tuning',
    'bandwidth',
    'sbr',
    'vrf',
    'host-local',
    'static',
  ]) {
    expect(names).toContain(name)
  }
})

test('every test that SECURITY.md names is there', () => {
  const columns = text('SECURITY.md')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.split('|').at(-2) ?? '')
  const named = columns.flatMap((column) => [...column.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name))
  expect(named.length).toBeGreaterThan(20)
  const missing = named.filter((name) => !conformance.some(({ file }) => file.startsWith(`conformance/${name}`)))
  expect(missing).toEqual([])
})
