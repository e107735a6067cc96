import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { jsonFault, typeFault } from './json.js'

const end = 'unexpected end of JSON input'

/** What Go 1.26 says (json.Unmarshal). */
const rows: [text: string, fault: string | undefined][] = [
  ['{"a": [1, -0.5e+3, true, false, null, "\\u00e9\\n"], "b": {}}', undefined],
  ['', end],
  [' \n', end],
  ['{', end],
  ['{"a"', end],
  ['{"a":1', end],
  ['[1', end],
  ['"a', end],
  ['"\\', "invalid character ' ' in string escape code"],
  ['tru', "invalid character ' ' in literal true (expecting 'e')"],
  ['-', "invalid character ' ' in numeric literal"],
  ['1.', "invalid character ' ' after decimal point in numeric literal"],
  ['x', "invalid character 'x' looking for beginning of value"],
  ['[1,]', "invalid character ']' looking for beginning of value"],
  ['{a:1}', "invalid character 'a' looking for beginning of object key string"],
  ['{"a":1,}', "invalid character '}' looking for beginning of object key string"],
  ['{"a" 1}', "invalid character '1' after object key"],
  ['{"a":1 "b"}', "invalid character '\"' after object key:value pair"],
  ['[1 2]', "invalid character '2' after array element"],
  ['{} {}', "invalid character '{' after top-level value"],
  ['01', "invalid character '1' after top-level value"],
  ['["a\nb"]', "invalid character '\\n' in string literal"],
  ['"\\x"', "invalid character 'x' in string escape code"],
  ['"\\u00g0"', "invalid character 'g' in \\u hexadecimal character escape"],
  ['-a', "invalid character 'a' in numeric literal"],
  ['1.x', "invalid character 'x' after decimal point in numeric literal"],
  ['1e+x', "invalid character 'x' in exponent of numeric literal"],
  ['nul1', "invalid character '1' in literal null (expecting 'l')"],
  ["'a'", "invalid character '\\'' looking for beginning of value"],
  ['\ufeff{}', "invalid character 'ï' looking for beginning of value"],
  ['\0', "invalid character '\\x00' looking for beginning of value"],
  ['[\x7f', "invalid character '\\x7f' looking for beginning of value"],
  ['Ā', "invalid character 'Ä' looking for beginning of value"],
  [`${'['.repeat(10_000)}1${']'.repeat(10_000)}`, undefined],
  ['['.repeat(10_001), 'exceeded max depth'],
]

describe('jsonFault', () => {
  test.each(rows)('%j', (text, fault) => expect(jsonFault(text)).toBe(fault))

  test('finds no fault in what JSON.parse takes, and one in what it does not', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      '"',
      ',',
      ':',
      '"a"',
      '1',
      '-',
      '0',
      '.',
      'e',
      'true',
      'nu',
      '\\',
    )
    const text = fc.oneof(
      fc.json(),
      fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join('')),
    )
    fc.assert(
      fc.property(text, (one) => {
        let isJson = true
        try {
          JSON.parse(one)
        } catch {
          isJson = false
        }
        expect(jsonFault(one) === undefined).toBe(isJson)
      }),
      { seed: 1, numRuns: 2000 },
    )
  })
})

test.each([
  ['x', 'int', 'string'],
  [1.5, 'uint64', 'number 1.5'],
  [1, 'string', 'number'],
  [true, 'string', 'bool'],
  [{}, 'int', 'object'],
  [[], 'int', 'array'],
])('typeFault of %j for %s', (value, of, kind) => {
  const text = `json: cannot unmarshal ${kind} into Go struct field A.b of type ${of}`
  expect(typeFault(value, 'struct field A.b', of)).toBe(text)
})
