import { globSync, readFileSync } from 'node:fs'
import { extname, join, resolve } from 'node:path'
import { expect, test } from 'vitest'

// Biome keeps code to 120 columns, but neither comments nor prose: no tool of ours does. A literal that is longer, a
// command or a text that a test expects, stays whole.

const repository = resolve(import.meta.dirname, '../..')
const most = 120

/** What others wrote. */
const written = ['conformance/{clients,cases}/**', 'LICENSE']
const files = globSync(['*.md', 'Makefile', '{.ci,bench,conformance,docs,examples,ipam,plugins,shared,tools}/**'], {
  cwd: repository,
  exclude: written,
  withFileTypes: true,
}).flatMap((entry) => (entry.isFile() ? [join(entry.parentPath, entry.name)] : []))

/** The lines of a file that are prose, by what kind of file it is; of a comment those that stand alone. */
function proseOf(file: string, text: string): string[] {
  const lines = text.split('\n')
  if (extname(file) === '.md') return lines.filter((line) => !line.startsWith('|'))
  const comment = ['.ts', '.mjs', '.cjs'].includes(extname(file)) ? /^\s*(\/\/|\/?\*)/ : /^\s*#/
  return lines.filter((line) => comment.test(line))
}

test('comments and prose keep to 120 columns, but for the rows of tables', () => {
  expect(files.length).toBeGreaterThan(400)
  const long = files.flatMap((file) =>
    proseOf(file, readFileSync(file, 'utf8'))
      .filter((line) => line.length > most)
      .map((line) => `${file.slice(repository.length + 1)}: ${line}`),
  )
  expect(long).toEqual([])
})
