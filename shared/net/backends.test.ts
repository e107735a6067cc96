import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

// Rules of the code that hold by reading it.
//
// Nothing asks which backend is in use: what differs stands in tables of backends. And no plugin speaks to a program by
// itself: looks are questions to the observer, changes are operations, and what tools print is read in shared/tools.

const name = `['"](nftables|iptables|firewalld)['"]`
const comparison = new RegExp(`[=!]==? *${name}|${name} *[=!]==?|case ${name}`)
const process = /\bhost\.run\b|\{[^}]*\brun\b[^}]*\}: (Host|Pick<)|\brun\(\{/

function sources(...folders: readonly string[]): readonly string[] {
  return folders.flatMap((folder) =>
    (readdirSync(folder, { recursive: true }) as string[])
      .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
      .map((name) => `${folder}/${name}`),
  )
}

function linesLike(pattern: RegExp, files: readonly string[]): readonly string[] {
  return files.flatMap((file) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
  )
}

test('the patterns find what they are for', () => {
  for (const text of [
    "if (backend === 'iptables')",
    "'nftables' !== backend",
    "case 'firewalld':",
    "b == 'iptables'",
  ]) {
    expect(comparison.test(text), text).toBe(true)
  }
  for (const text of ['udpFlows(host.run, family)', 'function guard({ run }: Host)', 'const outcome = run({ argv })']) {
    expect(process.test(text), text).toBe(true)
  }
  expect(comparison.test("{ backend: 'nftables' }")).toBe(false)
  for (const text of ["{ backend: 'nftables' }", '  iptables: {']) expect(naming.test(text), text).toBe(true)
  expect(naming.test('// chains of iptables: they are shared')).toBe(false)
})

test('no place asks which backend is in use', () => {
  expect(linesLike(comparison, sources('plugins', 'ipam', 'shared'))).toEqual([])
})

/**
 * The tables: what differs between backends, what each of them needs, the words that a configuration has for them, and
 * the programs of iptables.
 */
const tables = [
  'plugins/firewall/backends.ts',
  'plugins/portmap/backends.ts',
  'plugins/portmap/conditions.ts',
  'shared/net/iptables.ts',
  'shared/net/masquerade.ts',
  'shared/net/probe.ts',
]
/** What an error advises stands in double quotes inside a text: those are words for people. */
const naming = /['`](nftables|iptables|firewalld)['`]|^ *(nftables|iptables|firewalld): /

test('no place names a backend outside its table', () => {
  const files = sources('plugins', 'ipam', 'shared/net', 'shared/program')
  expect(files).toEqual(expect.arrayContaining(tables))
  const others = files.filter((file) => !tables.includes(file) && !file.endsWith('.schema.ts'))
  expect(linesLike(naming, others)).toEqual([])
  for (const table of tables) expect(linesLike(naming, [table]), table).not.toEqual([])
})

test('no plugin starts a program', () => {
  const files = sources('plugins')
  expect(files.length).toBeGreaterThan(50)
  expect(linesLike(process, files)).toEqual([])
})

test('which way is taken is chosen where a program starts', () => {
  const makers = linesLike(/\bcreateNetlink\(/, sources('plugins', 'ipam', 'shared', 'tools'))
  const places = new Set(makers.map((line) => line.slice(0, line.indexOf(':'))))
  expect([...places].sort()).toEqual(['shared/entry.ts', 'shared/netlink/driver.ts', 'tools/node/machine.ts'])
})

/** What a tool printed, and what is made of it. */
const answers = /\b(stdout|stderr|reasonOf|callBus|parseAnswer)\b/

test('no plugin reads what a program prints', () => {
  expect(answers.test('const { status, stderr } = outcome')).toBe(true)
  expect(linesLike(answers, sources('plugins'))).toEqual([])
})

/** A function that returns operations, by its head; its body ends at the first brace that is not indented. */
const planner =
  /^(?:export )?function (\w+)\(((?:(?!\n(?:export )?function )[\s\S])*?)\): (?:readonly )?Operation(?:\[\])? \{\n([\s\S]*?)^\}/gm
const machine = /\b(Host|Observer|Machine)\b/
const looksOrActs =
  /\bhost\.(observer|apply|sweep|change|warn|run|files|journal)\b|\bobserver\.|Record\(|\bhost\b[^}\n]*\} = call\b|\bcall\.host\b/

test('who plans neither looks nor acts: it gets what was seen, and returns operations', () => {
  const plans = sources('plugins', 'shared/net').flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(planner)].map(([, name = '', parameters = '', body = '']) => ({
      name: `${file} ${name}`,
      isPure: !machine.test(parameters) && !looksOrActs.test(body),
    })),
  )
  expect(plans.length).toBeGreaterThan(90)
  expect(plans.filter(({ isPure }) => !isPure).map(({ name }) => name)).toEqual([])
})

/** The same of functions without a name, and of what a table's members are declared as. */
const nameless = /\(([^()]*)\)(?:: | => )(?:readonly )?Operation(?:\[\])?/g

test('what a table plans with is told what was seen', () => {
  const found = (text: string) => [...text.matchAll(nameless)].map(([, parameters = '']) => parameters)
  expect(found('readonly a: (observer: Observer) => readonly Operation[]').some((one) => machine.test(one))).toBe(true)
  const files = sources('plugins', 'shared/net')
  const declared = files.flatMap((file) => found(readFileSync(file, 'utf8')).map((one) => `${file}: ${one}`))
  expect(declared.length).toBeGreaterThan(100)
  expect(declared.filter((one) => machine.test(one))).toEqual([])
})

test('a planner that looks, or acts, is found', () => {
  const texts = [
    'function a({ observer }: Host): readonly Operation[] {\n  return []\n}\n',
    'export function b(call: Call): Operation {\n  host.apply([])\n}\n',
    'function c(call: Call): readonly Operation[] {\n  const { host } = call\n}\n',
    'function d(x: X): readonly Operation[] {\n  writeRecord(x)\n}\n',
  ]
  for (const text of texts) {
    const [found] = [...text.matchAll(planner)]
    expect(machine.test(found?.[2] ?? '') || looksOrActs.test(found?.[3] ?? ''), text).toBe(true)
  }
})
