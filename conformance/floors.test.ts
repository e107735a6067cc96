import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { nodeCommand, repository } from './harness/locations.js'

// The floors of shared/README.md are held by `make lint`; here is shown that it sees each wrong import, of types, too.

const floors = [['values'], ['system'], ['exec'], ['plan'], ['netlink', 'tools'], ['net'], ['program']]

/** What the linter says of a source tree with these files, by the name of its rule; none where it is content. */
function complaints(files: Readonly<Record<string, string>>): readonly string[] {
  const root = mkdtempSync(path.join(tmpdir(), 'podwire-floors-'))
  onTestFinished(() => rmSync(root, { recursive: true }))
  cpSync(path.join(repository, 'biome.json'), path.join(root, 'biome.json'))
  symlinkSync(path.join(repository, 'node_modules'), path.join(root, 'node_modules'))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.join(root, path.dirname(name)), { recursive: true })
    writeFileSync(path.join(root, name), text)
  }
  const biome = path.join(repository, 'node_modules/@biomejs/biome/bin/biome')
  try {
    const [node, ...flags] = nodeCommand
    execFileSync(node, [...flags, biome, 'lint', '--error-on-warnings', '--reporter=json'], { cwd: root })
    return []
  } catch (thrown) {
    const { diagnostics } = JSON.parse(String((thrown as { stdout: Buffer }).stdout)) as {
      diagnostics: { category: string; location: { path: string } }[]
    }
    return diagnostics.map(({ category, location }) => `${location.path}: ${category}`).sort()
  }
}

const module = (floor: string) => `shared/${floor}/a.ts`
const text = "export const a = 1\nexport type A = 'a'\n"

describe('the linter', () => {
  const pairs = floors.flatMap((names, index) =>
    names.flatMap((name) => {
      const above = [...floors.slice(index + 1).flat(), ...names.filter((one) => one !== name)]
      return above.map((other) => [name, other] as const)
    }),
  )

  test.each(pairs)('refuses that %s imports from %s', (lower, higher) => {
    const files = { [module(higher)]: text, [`shared/${lower}/b.ts`]: '' }
    const value = "import { a } from '../FLOOR/a.js'\nexport const b = a\n".replace('FLOOR', higher)
    const type = "import type { A } from '../FLOOR/a.js'\nexport type B = A\n".replace('FLOOR', higher)
    const refused = [`shared/${lower}/b.ts: lint/style/noRestrictedImports`]
    expect(complaints({ ...files, [`shared/${lower}/b.ts`]: value })).toEqual(refused)
    expect(complaints({ ...files, [`shared/${lower}/b.ts`]: type })).toEqual(refused)
  })

  test.each(['plugins/x', 'ipam/x'])('refuses that a floor imports from %s', (folder) => {
    const value = `import { a } from '../../${folder}/a.js'\nexport const b = a\n`
    expect(complaints({ [`${folder}/a.ts`]: text, 'shared/net/b.ts': value })).toEqual([
      'shared/net/b.ts: lint/style/noRestrictedImports',
    ])
  })

  test.each([...floors.flat().map((name) => `shared/${name}`), 'plugins/x', 'ipam/x'])(
    'refuses that %s imports what starts it, what builds it, or a command',
    (folder) => {
      const top = folder.startsWith('shared') ? '..' : '../../shared'
      const from = (name: string) => `import { a } from '${name}'\nexport const b = a\n`
      const files = {
        'shared/start.ts': text,
        'shared/heap/a.ts': text,
        'tools/a.ts': text,
        [`${folder}/start.ts`]: from(`${top}/start.js`),
        [`${folder}/heap.ts`]: from(`${top}/heap/a.js`),
        [`${folder}/command.ts`]: from('../../tools/a.js'),
      }
      const refused = ['command', 'heap', 'start'].map((name) => `${folder}/${name}.ts: lint/style/noRestrictedImports`)
      expect(complaints(files)).toEqual(refused)
    },
  )

  test('takes what goes down', () => {
    const value = "import { type A, a } from '../values/a.js'\nexport const b: A | number = a\n"
    expect(complaints({ [module('values')]: text, 'shared/net/b.ts': value })).toEqual([])
  })

  test('refuses a circle, of types, too', () => {
    const files = {
      'shared/net/b.ts': "import type { C } from './c.js'\nexport type B = C | 1\n",
      'shared/net/c.ts': "import type { B } from './b.js'\nexport type C = { b: B }\n",
    }
    expect(complaints(files)).toEqual([
      'shared/net/b.ts: lint/suspicious/noImportCycles',
      'shared/net/c.ts: lint/suspicious/noImportCycles',
    ])
  })
})
