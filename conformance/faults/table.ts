import { relative } from 'node:path'
import type { Reporter, TestModule } from 'vitest/node'
import { listPlugins } from '../../shared/bundling/plugins.js'
import { repository } from '../harness/locations.js'
import { type Kind, kinds } from './kinds.js'

/**
 * Prints the fault matrix at the end of a run: a row a kind, under each plugin the verbs that were really called in
 * tests that passed, which all ended with 0 left, or a number of the sentences below that say why not. A cell without
 * either ends the run with status 1.
 */
export default class FaultTable implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const plugins = listPlugins(repository).map(({ name }) => name)
    const notes: string[] = []
    const rows = kinds.map((kind) => {
      const called = callsOf(kind, modules)
      return [kind.title, ...plugins.map((plugin) => cellOf(kind, plugin, called.get(plugin), notes))]
    })
    print([['kind, and what was left', ...plugins], ...rows])
    for (const [index, note] of notes.entries()) console.log(`(${index + 1}) ${note}`)
    const open = rows.flatMap((row) =>
      row.flatMap((cell, at) => (cell === '?' ? [`${row[0]}: ${plugins[at - 1]}`] : [])),
    )
    for (const cell of open) console.log(`MISSING ${cell}`)
    if (open.length > 0) process.exitCode = 1
  }
}

// --- internal

const letters: Readonly<Record<string, string>> = { ADD: 'A', DEL: 'D', CHECK: 'C', STATUS: 'S', GC: 'G', VERSION: 'V' }

/** The verbs of each plugin that passed tests of a kind called; a kind with a test that failed has none. */
function callsOf({ files }: Kind, modules: readonly TestModule[]): ReadonlyMap<string, ReadonlySet<string>> {
  const own = modules.filter(({ moduleId }) => files.some((part) => relative(repository, moduleId).includes(part)))
  const tests = own.flatMap((module) => [...module.children.allTests()])
  const called = new Map<string, Set<string>>()
  if (own.some((module) => !module.ok())) return called
  for (const test of tests.filter((one) => one.result().state === 'passed')) {
    for (const { plugin, verb } of test.meta().calls ?? []) {
      called.set(plugin, (called.get(plugin) ?? new Set()).add(verb))
    }
  }
  return called
}

function cellOf(
  { cannot = {} }: Kind,
  plugin: string,
  verbs: ReadonlySet<string> | undefined,
  notes: string[],
): string {
  if (verbs)
    return `0 ${Object.keys(letters)
      .flatMap((verb) => (verbs.has(verb) ? letters[verb] : []))
      .join('')}`
  const sentence = cannot[plugin] ?? cannot['others']
  if (sentence === undefined) return '?'
  if (!notes.includes(sentence)) notes.push(sentence)
  return `(${notes.indexOf(sentence) + 1})`
}

function print(rows: readonly (readonly string[])[]): void {
  const widths = rows.reduce<number[]>((all, row) => row.map((cell, at) => Math.max(all[at] ?? 0, cell.length)), [])
  for (const row of rows)
    console.log(
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}
