/** Compares what a plugin printed with what was recorded: keys, types, counts and every value that must be the same. */
import { isObject, type Json } from './samples.js'

const hardwareAddress = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/
/** The official suite takes eight random digits, podwire eleven of a hash. */
const hostEnd = /^veth[0-9a-f]{8,11}$/
/**
 * The official suite's code for everything the specification has no code for; podwire has codes of its own from 100 up.
 */
const unspecified = 999
const firstOwnCode = 100

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
 * they are among the strings that the plugin was given: those must come back. An error's text is the plugin's own, its
 * code is not.
 */
export function differences(expected: Json, actual: Json, options: { given: Set<string> }, path = '$'): string[] {
  if (isObject(expected) && isObject(actual)) {
    if (typeof expected['code'] === 'number') return errorDifferences(expected['code'], actual)
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

function errorDifferences(code: number, actual: { [key: string]: Json }): string[] {
  const given = actual['code']
  const isOwn = code === unspecified && typeof given === 'number' && given >= firstOwnCode
  const found = given === code || isOwn ? [] : [`$.code: ${JSON.stringify(given)}, not ${code}`]
  const message = actual['msg']
  return typeof message === 'string' && message !== '' ? found : [...found, '$.msg: missing']
}

/**
 * Where the recorded answer is itself wrong: the official loopback leaves out keys that versions before 1.0 require.
 */
const officialMistakes: readonly { plugin: string; difference: RegExp }[] = [
  { plugin: 'loopback', difference: /^\$\.(ips\[\d\]\.version|dns): added$/ },
]

/** True for a difference by which the official plugin, not the one under test, is wrong. */
export function isOfficialMistake(plugin: string, difference: string): boolean {
  return officialMistakes.some((mistake) => mistake.plugin === plugin && mistake.difference.test(difference))
}
