import { existsSync, globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { codes } from '../values/errors.js'

// What README and the pages in docs/ promise about themselves. That their commands work is shown by
// conformance/pages.test.ts, that the generated ones are what their sources say by tools/explain.

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')
const pages = ['README.md', ...globSync('docs/**/*.md', { cwd: root })].sort()

/** The places that a page links to, relative to the source: [as written, file, heading]. Code has no links. */
function linksOf(page: string): [written: string, file: string, heading: string][] {
  const prose = read(page).replaceAll(/^```.*?^```$/gms, '')
  return [...prose.matchAll(/\]\(([^)]+)\)/g)].map(([, written = '']) => {
    const [file = '', heading = ''] = written.split('#')
    return [written, file === '' ? page : path.normalize(path.join(path.dirname(page), file)), heading]
  })
}

/** The names by which headings of a page are linked to. */
function headingsOf(page: string): string[] {
  return [...read(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => {
    return heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-')
  })
}

describe.each(pages)('%s', (page) => {
  const links = linksOf(page)

  test('links to what is there', () => {
    for (const [written, file, heading] of links) {
      expect(existsSync(path.join(root, file)), written).toBe(true)
      if (heading !== '') expect(headingsOf(file), written).toContain(heading)
    }
  })

  test('marks what is for a shell as sh, which is run', () => {
    const fences = [...read(page).matchAll(/^ *```(.*)$/gm)].map(([, language = '']) => language)
    expect(
      fences.filter((_, at) => at % 2 === 0 && !['sh', 'json', 'yaml', 'toml', 'hcl'].includes(fences[at] ?? '')),
    ).toEqual([])
  })

  test('links to nothing that the release archive does not have', () => {
    expect(links.filter(([, file]) => !/^(docs|examples)\//.test(file))).toEqual([])
  })
})

test('every page is led to from the README, by one link or two', () => {
  const led = new Set(linksOf('README.md').map(([, file]) => file))
  for (const page of [...led].filter((file) => file.endsWith('.md'))) {
    for (const [, file] of linksOf(page)) led.add(file)
  }
  expect(pages.filter((page) => page !== 'README.md' && !led.has(page))).toEqual([])
})

test('the README has two screens', () => {
  expect(read('README.md').split('\n').length).toBeLessThanOrEqual(120)
})

test('the version that is shown is this one', () => {
  const { version } = JSON.parse(read('package.json')) as { version: string }
  const shown = pages.flatMap((page) => [...read(page).matchAll(/VERSION=(\d\S*)/g)].map(([, one]) => one))
  expect(shown.length).toBeGreaterThan(0)
  expect(new Set(shown)).toEqual(new Set([version]))
})

describe('docs/troubleshooting.md', () => {
  const page = read('docs/troubleshooting.md')

  test('has every error code that is used, and no other', () => {
    const { unsupportedField: _unused, ...used } = codes
    const rows = [...page.matchAll(/^\| ([\d, ]+) \|/gm)].flatMap(([, cell = '']) => cell.split(', ').map(Number))
    expect(rows).toEqual(Object.values(used).toSorted((left, right) => left - right))
  })

  test.each([
    ['no IP addresses available in range set', 'ipam/host-local/allocate.ts'],
    ['already has an IP address different from', 'plugins/bridge/gateway.ts'],
    ['failed to find plugin "', 'shared/exec/delegate.ts'],
    ['cannot publish host port ', 'plugins/portmap/listeners.ts'],
    ['no process can be started', 'shared/plan/refusal.ts'],
    ['an ADD needs more open files', 'shared/plan/journal.ts'],
    ['ended without saying', 'shared/plan/refusal.ts'],
  ])('shows "%s" as a plugin says it', (words, source) => {
    expect(page).toContain(words)
    expect(read(source)).toContain(words)
  })
})

describe('figures are those of bench/RESULTS.md:', () => {
  /** What a page calls a measurement, and where it stands: the section's beginning, and the line without the verb. */
  const measured: Readonly<Record<string, readonly [section: string, ...lines: string[]]>> = {
    'bridge, no masquerade': ['bridge with host-local', 'no masquerade'],
    "bridge, ipMasq, each suite's default backend": ['bridge with', 'ipMasq, each with its default backend'],
    'bridge, ipMasq, both on nftables': ['bridge with', 'ipMasq, both on nftables'],
    'portmap, 2 ports, against iptables': ['portmap', '2 ports, 0 mappings present, official on iptables'],
    'portmap, 100 ports, against iptables': ['portmap', '100 ports, 0 mappings present, official on iptables'],
    'host-local alone, no leases': ['host-local', 'host-local, 0 leases'],
    'host-local alone, 100,000 leases': ['host-local', 'host-local, 100,000 leases'],
    'host-local alone, 10,000 / 100,000 leases': [
      'host-local',
      'host-local, 10,000 leases',
      'host-local, 100,000 leases',
    ],
    "Podman's default chain, empty host": ['bridge (ipMasq), portmap', 'official on its default backends'],
    "Podman's default chain, 1,000 attachments present": ['The same chain', '1000'],
    'the same, each suite with 1,000 attachments of its own on its host': ['The same chain', '1000'],
    '20 at once, bridge, ipMasq': ['Many at once', '20 at once, bridge, ipMasq'],
    '100 at once, bridge, ipMasq': ['Many at once', '100 at once, bridge, ipMasq'],
    'VERSION, against an empty program on the same Node': ['Start', 'against a bare program on the same Node'],
    'connect through a published port, 10,000 others published, against iptables / nftables': [
      'Traffic',
      'connect, µs; 10,000 other ports published, official on iptables',
      'connect, µs; 10,000 other ports published, official on nftables',
    ],
    'connections a second, the same (above 1: podwire is faster)': [
      'Traffic',
      'connections a second; 10,000 other ports published, official on iptables',
      'connections a second; 10,000 other ports published, official on nftables',
    ],
  }

  /** The ratios of a line, those of ADD and DEL where it has both. */
  function ratiosOf(section: string, line: string): [string, string?] {
    const [, lines = ''] = read('bench/RESULTS.md')
      .split('\n## ')
      .map((part) => [part.startsWith(section), part] as const)
      .find(([isIt]) => isIt) ?? [false, '']
    const ratio = (label: string) => {
      const row = lines.split('\n').find((one) => one.startsWith(`| ${label} |`))
      return row === undefined ? undefined : /\*\*(.*)\*\*/.exec(row)?.[1]
    }
    const both = ratio(line)?.split(' / ')
    if (both) return both as [string, string?]
    const [add, del] = [ratio(`${line}: ADD`), ratio(`${line}: DEL`)]
    if (add === undefined) throw new Error(`bench/RESULTS.md has no line "${line}" in "${section}"`)
    return del === undefined ? [add] : [add, del]
  }

  const rows = ['README.md', 'docs/performance.md'].flatMap((page) => {
    const [, table = ''] = /^\| what \| ADD \| DEL \|\n\|[-|]+\n((?:\|.*\n)+)/m.exec(read(page)) ?? []
    const lines = table.trim().split('\n')
    return lines.map((line) => [page, ...line.split('|').map((cell) => cell.trim())] as const)
  })

  test.each(rows)('%s:%s %s', (_page, _empty, what, ...cells) => {
    const [section = '', ...lines] = measured[what as string] ?? []
    const ratios = lines.map((line) => ratiosOf(section, line))
    expect(ratios.length, `"${what}" is no measurement`).toBeGreaterThan(0)
    for (const [at, cell] of cells.slice(0, 2).entries()) {
      const shown = cell === '' ? [] : cell.split(' / ')
      const found = ratios.flatMap((ratio) => ratio[at] ?? [])
      expect(shown.length).toBe(found.length)
      for (const [index, one] of shown.entries()) {
        const decimals = one.split('.')[1]?.length ?? 0
        expect(Math.abs(Number(one) - Number(found[index]))).toBeLessThanOrEqual(0.5 * 10 ** -decimals + 1e-9)
      }
    }
  })
})
