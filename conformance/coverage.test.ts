import { globSync, readFileSync } from 'node:fs'
import { plugins } from 'podwire:plugins'
import { expect, test } from 'vitest'
import { listPlugins } from '../shared/bundling/plugins.js'
import { repository } from './harness/locations.js'

// What every plugin has. Whether each of its verbs was really called is judged at the end of a whole run
// (runner/coverage.ts).

const named = listPlugins(repository)

test.each(named)('$name is a plugin under its own name, and has rows beside the code', async ({ name, module }) => {
  expect((await plugins[name]?.())?.default.name).toBe(name)
  expect(text(`${module}.test.ts`)).toMatch(/\btest(\.each|\.for)?\(/)
})

test('every plugin of the official suite that real clients chain is here', () => {
  const names = named.map(({ name }) => name)
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
    'flannel',
    'host-local',
    'static',
  ]) {
    expect(names).toContain(name)
  }
})

function text(file: string): string {
  return readFileSync(`${repository}/${file}`, 'utf8')
}

test('every test that docs/security.md names is there', () => {
  const files = globSync('conformance/**/*.test.ts', { cwd: repository })
  const columns = text('docs/security.md')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.split('|').at(-2) ?? '')
  const cited = columns.flatMap((column) => [...column.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name))
  expect(cited.length).toBeGreaterThan(20)
  const missing = cited.filter((name) => !files.some((file) => file.startsWith(`conformance/${name}`)))
  expect(missing).toEqual([])
})
