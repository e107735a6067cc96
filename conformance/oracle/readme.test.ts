import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { repository } from '../harness/locations.js'
import { differences } from './differences.js'

test('the README has the table of differences, word for word', () => {
  const lines = readFileSync(join(repository, 'README.md'), 'utf8').split('\n')
  const first = lines.indexOf('| what the kernel or the disk shows | reason | official suite |')
  const rows = lines.slice(first + 2, lines.indexOf('', first))
  const byCases = differences.filter((row) => row.test === undefined)
  const table = byCases.map(({ what, reason, of: version }) => {
    return `| ${what} | ${reason} | ${version === 'official-1.9.1' ? 'v1.9.1' : 'both'} |`
  })
  expect(rows).toEqual(table)
})
