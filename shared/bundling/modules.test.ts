import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { plugins } from 'podwire:plugins'
import { shapes } from 'podwire:shapes'
import { version } from 'podwire:version'
import { expect, onTestFinished, test } from 'vitest'
import { virtualModule } from './modules.js'
import { listPlugins, suiteVersion } from './plugins.js'

const repository = path.resolve(import.meta.dirname, '../..')

/** A throw-away source tree with these empty files. */
function tree(...files: string[]): string {
  const root = mkdtempSync(path.join(tmpdir(), 'podwire-tree-'))
  onTestFinished(() => rmSync(root, { recursive: true }))
  for (const folder of ['plugins', 'ipam']) mkdirSync(path.join(root, folder))
  for (const file of files) {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true })
    writeFileSync(path.join(root, file), '')
  }
  return root
}

test('a plugin is a file of its folder, or of one of its own name, with a schema beside', () => {
  const root = tree(
    'plugins/b.ts',
    'plugins/b.schema.ts',
    'plugins/b.test.ts',
    'plugins/shared/help.ts',
    'plugins/c/c.ts',
    'plugins/c/c.schema.ts',
    'plugins/c/part.ts',
    'ipam/a-1.ts',
    'ipam/a-1.schema.ts',
  )
  expect(listPlugins(root)).toEqual([
    { name: 'a-1', folder: 'ipam', module: 'ipam/a-1', schema: 'ipam/a-1.schema' },
    { name: 'b', folder: 'plugins', module: 'plugins/b', schema: 'plugins/b.schema' },
    { name: 'c', folder: 'plugins', module: 'plugins/c/c', schema: 'plugins/c/c.schema' },
  ])
})

test('a plugin without a schema is refused', () => {
  expect(() => listPlugins(tree('plugins/b.ts'))).toThrow('plugins/b.ts needs plugins/b.schema.ts')
})

test('a name in both folders is refused', () => {
  const root = tree('plugins/b.ts', 'plugins/b.schema.ts', 'ipam/b.ts', 'ipam/b.schema.ts')
  expect(() => listPlugins(root)).toThrow('two plugins are named b')
})

test('the text names the compiled modules and loads them when called', () => {
  const root = tree('plugins/b.ts', 'plugins/b.schema.ts', 'ipam/a.ts', 'ipam/a.schema.ts')
  const text = virtualModule('podwire:plugins', { root, base: '/js', extension: '.js' })
  expect(text.split('\n')).toEqual([
    'export const names = ["a","b"]',
    'export const ipams = ["a"]',
    'export const plugins = {',
    '  "a": () => import("/js/ipam/a.js"),',
    '  "b": () => import("/js/plugins/b.js"),',
    '}',
  ])
  expect(() => virtualModule('podwire:nothing', { root, base: '/js', extension: '.js' })).toThrow('podwire:nothing')
})

test('tests see every plugin, its shape and the version', async () => {
  const names = listPlugins(repository).map(({ name }) => name)
  expect(Object.keys(plugins)).toEqual(names)
  expect(Object.keys(shapes)).toEqual(expect.arrayContaining([...names, 'result.A', 'result.C']))
  for (const name of names) {
    expect((await plugins[name]?.())?.default.name).toBe(name)
    expect(shapes[name]).toMatchObject({ is: 'object', keys: { name: { is: 'string' } } })
  }
  expect(version).toBe(suiteVersion(repository))
})
