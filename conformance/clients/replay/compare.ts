/** Compares what a plugin printed with what was recorded: keys, types, counts and every value that must be the same. */
import { differences as table } from '../../oracle/differences.js'
import { isObject, type Json } from './samples.js'

const hardwareAddress = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/
/** The official suite takes eight random digits, podwire eleven of a hash. */
const hostEnd = /^veth[0-9a-f]{8,11}$/
/** True where both values are of a form that a plugin makes up anew at each ADD. */
function madeUpAlike(expected: Json, actual: Json): boolean {
  return [hardwareAddress, hostEnd].some((form) => form.test(String(expected)) && form.test(String(actual)))
}

/** Every string in a value. */
export function stringsIn(value: Json): Set<string> {
  if (typeof value === 'string') return new Set([value])
  if (typeof value !== 'object' || value === null) return new Set()
  return new Set(Object.values(value).flatMap((item) => [...stringsIn(item)]))
}

/**
 * The differences, each as "path: what"; none for alike. Hardware addresses and names of host ends may differ unless
 * they are among the strings that the plugin was given: those must come back. An error's text must be in ours, which says
 * more.
 */
export function differences(expected: Json, actual: Json, options: { given: Set<string> }, path = '$'): string[] {
  if (isObject(expected) && isObject(actual)) {
    if (typeof expected['code'] === 'number') return errorDifferences(expected, actual)
    const keys = [...new Set([...Object.keys(expected), ...Object.keys(actual)])]
    return keys.flatMap((key) => {
      const [before, now] = [expected[key], actual[key]]
      if (before === undefined) return [`${path}.${key}: added`]
      if (now === undefined) return [`${path}.${key}: missing`]
      return differences(before, now, options, `${path}.${key}`)
    })
  }
  if (Array.isArray(expected) && Array.isArray(actual)) {
    if (expected.length !== actual.length) return [`${path}: ${actual.length} elements, not ${expected.length}`]
    return expected.flatMap((item, position) =>
      differences(item, actual[position] ?? null, options, `${path}[${position}]`),
    )
  }
  if (expected === actual) return []
  if (!options.given.has(String(expected)) && madeUpAlike(expected, actual)) return []
  return [`${path}: ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`]
}

function errorDifferences(expected: { [key: string]: Json }, actual: { [key: string]: Json }): string[] {
  const [code, message] = [actual['code'], actual['msg']]
  const text = String(expected['msg'])
  return [
    ...(code === expected['code'] ? [] : [`$.code: ${JSON.stringify(code)}, not ${JSON.stringify(expected['code'])}`]),
    ...(typeof message === 'string' && message.includes(text)
      ? []
      : [`$.msg: ${JSON.stringify(message ?? null)} has not ${JSON.stringify(text)}`]),
  ]
}

/** The row of the table of differences that explains how podwire's answer differs; undefined for none. */
export function explanation(plugin: string, difference: string): string | undefined {
  return table.find(({ replay }) => replay?.plugins.test(plugin) && replay.difference.test(difference))?.what
}
