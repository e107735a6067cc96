import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sha512 } from './hash.js'

test('the hash of the empty text and of two known ones', () => {
  for (const text of ['', 'mynetc1id', 'a'.repeat(111), 'a'.repeat(112), 'a'.repeat(1000)]) {
    expect(sha512(text)).toBe(createHash('sha512').update(text).digest('hex'))
  }
})

test('any text hashes as node:crypto hashes it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => {
      expect(sha512(text)).toBe(createHash('sha512').update(text).digest('hex'))
    }),
  )
})
