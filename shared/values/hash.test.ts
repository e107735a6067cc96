import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { anyText } from '../testing/text.js'
import { sha512 } from './hash.js'

const expected = (text: string) => createHash('sha512').update(text).digest('hex')

test('a text of any length, over two blocks and their padding, hashes as node:crypto hashes it', () => {
  for (let length = 0; length <= 260; length++) expect(sha512('a'.repeat(length))).toBe(expected('a'.repeat(length)))
  expect(sha512('mynetc1id'.repeat(1000))).toBe(expected('mynetc1id'.repeat(1000)))
})

test('any text hashes as node:crypto hashes it', () => {
  fc.assert(
    fc.property(anyText(200), (text) => void expect(sha512(text)).toBe(expected(text))),
    { seed: 1 },
  )
})
