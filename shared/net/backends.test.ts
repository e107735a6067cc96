import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

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
})

test('no place asks which backend is in use', () => {
  expect(linesLike(comparison, sources('plugins', 'ipam', 'shared'))).toEqual([])
})

test('no plugin starts a program', () => {
  const files = sources('plugins')
  expect(files.length).toBeGreaterThan(50)
  expect(linesLike(process, files)).toEqual([])
})
