import { availableParallelism } from 'node:os'
import type { PartialStrykerOptions } from '@stryker-mutator/api/core'
import type { Ignorer } from '@stryker-mutator/api/ignore'
import type { Reporter } from '@stryker-mutator/api/report'

// Stryker's configuration (`make mutants`): changes one small thing of the program at a time and asks whether a unit
// test notices. FLOOR=shared/net, plugins/portmap, ... takes one part; SHARE=5 only every fifth statement, because all
// take hours.

const { FLOOR = '{plugins,ipam,shared}', SHARE = '1', JOBS = `${availableParallelism()}` } = process.env

/** What of the changes the tests of a floor must notice, in percent. */
const goal = (floor: string) => (floor === 'shared/netlink' || floor === 'plugins' ? 80 : 75)

export default {
  testRunner: 'vitest',
  plugins: ['@stryker-mutator/vitest-runner', './conformance/runner/mutants.ts'],
  vitest: { configFile: 'conformance/runner/mutants.vitest.ts', related: false },
  mutate: [
    `${FLOOR}/**/*.ts`,
    '!**/*.{test,schema,d}.ts',
    // What makes the binaries, and the first lines of them: only a build runs these.
    '!shared/{testing,bundling,packing,heap}/**',
    '!shared/*.ts',
  ],
  // Texts and literals of data are what golden rows hold word by word; whole bodies left out are noticed anyway.
  mutator: { excludedMutations: ['StringLiteral', 'ObjectLiteral', 'ArrayDeclaration', 'BlockStatement', 'Regex'] },
  ignorers: ['sample'],
  // What runs once while a module loads is the same in every test of a process.
  ignoreStatic: true,
  coverageAnalysis: 'perTest',
  concurrency: Number(JOBS),
  reporters: ['clear-text', 'floors', 'json'],
  clearTextReporter: { allowColor: false, logTests: false, reportTests: false, reportScoreTable: false },
  jsonReporter: { fileName: 'dist/reports/mutants.json' },
  tempDirName: 'dist/mutants',
  ignorePatterns: ['dist', 'bench', 'conformance/clients'],
  // Stryker would have TypeScript rewrite it, by an interface that this TypeScript no longer has.
  tsconfigFile: 'none',
} satisfies PartialStrykerOptions

// --- internal

interface Path {
  readonly node: { readonly type: string; readonly loc?: { readonly start: { readonly line: number } } | null }
  readonly key: string | number | null
}

/** Statements that hold no others, and the conditions of those that do. */
const isUnit = ({ node: { type }, key }: Path) =>
  key === 'test' || ['ReturnStatement', 'ExpressionStatement', 'VariableDeclaration', 'ThrowStatement'].includes(type)

/** Leaves out all but every n-th of the lines on which a statement begins: the same ones each time. */
const sample: Ignorer = {
  shouldIgnore: (path) => {
    const one = path as Path
    const line = one.node.loc?.start.line ?? 0
    return isUnit(one) && line % Number(SHARE) !== 0 ? 'not in the sample' : undefined
  },
}

const floorOf = (file: string) =>
  file
    .split('/')
    .slice(0, file.startsWith('shared/') ? 2 : 1)
    .join('/')

/** Prints what was noticed of each floor; one below its goal ends the run with status 1. */
const floors: Reporter = {
  onMutationTestReportReady: ({ files }) => {
    const counts = new Map<string, { noticed: number; all: number }>()
    for (const [file, { mutants }] of Object.entries(files)) {
      const count = counts.get(floorOf(file)) ?? { noticed: 0, all: 0 }
      counts.set(floorOf(file), count)
      for (const { status } of mutants) {
        if (status === 'Killed' || status === 'Timeout') count.noticed += 1
        if (status !== 'Ignored' && status !== 'CompileError' && status !== 'RuntimeError') count.all += 1
      }
    }
    for (const [floor, { noticed, all }] of [...counts].sort()) {
      if (all === 0) continue
      const share = (noticed / all) * 100
      const isMet = share >= goal(floor)
      if (!isMet) process.exitCode = 1
      console.log(`${floor}: ${share.toFixed(1)} % of ${all} noticed${isMet ? '' : `, less than ${goal(floor)} %`}`)
    }
  },
}

export const strykerPlugins = [
  { kind: 'Ignore', name: 'sample', value: sample },
  { kind: 'Reporter', name: 'floors', value: floors },
]
