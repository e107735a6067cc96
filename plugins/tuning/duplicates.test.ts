import { expect, test } from 'vitest'
import { duplicateKeys } from './duplicates.js'

const rows: [what: string, json: string, repeated: string[]][] = [
  ['none', '{"sysctl": {"a": "1", "b": "2"}}', []],
  ['one', '{"sysctl": {"a": "1", "a": "2"}}', ['a']],
  ['each as often as it is repeated', '{"sysctl": {"a": "1", "b": "1", "a": "2", "a": "3"}}', ['a', 'a']],
  ['the member in other letters', '{"SysCtl": {"a": "1", "a": "2"}}', ['a']],
  ['another member', '{"args": {"a": "1", "a": "2"}, "sysctl": {"a": "1"}}', []],
  ['a member behind it', '{"sysctl": {"a": "1"}, "args": {"a": "1", "a": "2"}}', []],
  ['the member given twice: each by itself', '{"sysctl": {"a": "1"}, "sysctl": {"a": "1"}}', []],
  ['deeper', '{"sysctl": {"x": {"a": "1", "a": "2"}}}', []],
  ['behind something deeper', '{"sysctl": {"x": {"y": [{"z": 1}]}, "a": "1", "a": "2"}}', ['a']],
  ['the same name deeper', '{"x": {"sysctl": {"a": "1", "a": "2"}}}', []],
  ['in a list', '{"sysctl": [{"a": "1", "a": "2"}]}', []],
  ['values that are keys elsewhere', '{"sysctl": {"a": "a", "b": "a"}}', []],
  ['values with what looks like a key', '{"sysctl": {"a": "\\"a\\": 1", "b": "{\\"b\\""}}', []],
  ['escapes at the end of a value', '{"sysctl": {"a": "\\\\", "a": "1"}}', ['a']],
  ['a key that is written otherwise', '{"sysctl": {"a": "1", "\\u0061": "2"}}', ['a']],
  ['space before the colon', '{"sysctl" : {"a" \t\r\n: "1", "a"\n:"2"}}', ['a']],
  ['brackets in texts', '{"sysctl": {"}": "1", "]": "{", "}": "2"}}', ['}']],
  ['a text before the member', '{"name": "sysctl", "sysctl": {"a": "1", "a": "2"}}', ['a']],
]

test.each(rows)('%s', (_, json, repeated) => {
  expect(duplicateKeys(json, 'sysctl')).toEqual(repeated)
})
