import { expect, test } from 'vitest'
import type { RecordedCall } from '../harness/calls.js'
import { missingCells } from './coverage.js'

const calls = (plugin: string, status: number | null, ...verbs: string[]): RecordedCall[] =>
  verbs.map((verb) => ({ plugin, verb, status }))
const all = ['ADD', 'DEL', 'CHECK', 'STATUS', 'GC', 'VERSION']

test('a plugin whose verbs all succeeded, and whose ADD was refused, lacks nothing', () => {
  expect(missingCells(['tap'], [...calls('tap', 0, ...all), ...calls('tap', 1, 'ADD')])).toEqual([])
})

test('a call that was refused or killed, or was of another plugin, is none that succeeded', () => {
  const made = [
    ...calls('tap', 0, 'ADD', 'DEL', 'CHECK', 'VERSION'),
    ...calls('tap', 1, 'STATUS'),
    ...calls('tap', null, 'GC', 'ADD'),
    ...calls('ptp', 0, 'GC'),
  ]
  expect(missingCells(['tap'], made)).toEqual([
    'tap STATUS with success',
    'tap GC with success',
    'tap ADD that is refused',
  ])
})

test('without any call all is missing', () => {
  expect(missingCells(['a', 'b'], [])).toHaveLength(14)
})
