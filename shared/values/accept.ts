import { checks } from './checks.js'
import type { Problem } from './errors.js'
import { isObject } from './object.js'
import type { Shape } from './shape.js'

/** A key that no schema knows: never an error (real conflists carry extra keys), but worth a warning. */
export interface UnknownKey {
  readonly path: string
  readonly key: string
  readonly known: readonly string[]
}

export interface Accepted {
  /** The value without what is wrong in it; undefined where something required is. */
  readonly value: unknown
  readonly problems: readonly Problem[]
  readonly unknown: readonly UnknownKey[]
}

/**
 * Checks a decoded JSON value against a shape, with the semantics of Go's decoder: keys match without regard to case,
 * the last of several spellings wins (see `laterOf`), `null` means "not given". All mistakes are collected.
 */
export function accept(value: unknown, shape: Shape, path = ''): Accepted {
  const context: Context = { problems: [], unknown: [] }
  const walked = walk(value, shape, path, context)
  return { value: walked === broken ? undefined : walked, ...context }
}

/**
 * What two spellings of one key come to, as in Go: the later one in the document, `null` being none, and of two objects
 * the members of both. What stands later is later in the result, too.
 */
export function laterOf(earlier: unknown, later: unknown): unknown {
  if (later === null) return earlier
  if (!isObject(earlier) || !isObject(later)) return later
  const merged: Record<string, unknown> = { ...earlier }
  for (const [key, value] of Object.entries(later)) {
    const before = merged[key]
    delete merged[key]
    merged[key] = laterOf(before, value)
  }
  return merged
}

/** The warning for an unknown key, with the known key that was probably meant. */
export function unknownKeyWarning({ path, key, known }: UnknownKey): string {
  const meant = known.find((one) => isNear(one.toLowerCase(), key.toLowerCase()))
  return `${path}: unknown key "${key}" is ignored${meant ? `; did you mean "${meant}"?` : ''}`
}

// --- internal

interface Context {
  readonly problems: Problem[]
  readonly unknown: UnknownKey[]
}

/** Stands for a value with a mistake that its own shape cannot do without: what holds it is broken, too. */
const broken = Symbol('broken')

/** The value as its shape wants it; a broken one that is optional counts as not given. */
function walk(value: unknown, shape: Shape, path: string, context: Context): unknown {
  const given = value ?? undefined
  const walked = given === undefined ? absent(shape, path, context) : present(given, shape, path, context)
  if (walked !== broken) return walked
  return shape.optional || shape.default !== undefined ? shape.default : broken
}

function absent(shape: Shape, path: string, context: Context): unknown {
  if (shape.default !== undefined) return shape.default
  if (shape.optional || shape.is === 'any') return undefined
  return shape.is === 'object' ? members({}, shape, path, context) : wrong(undefined, shape, path, context)
}

function present(value: unknown, shape: Shape, path: string, context: Context): unknown {
  switch (shape.is) {
    case 'any':
      return value
    case 'boolean':
      return typeof value === 'boolean' ? value : wrong(value, shape, path, context)
    case 'integer':
      return isWithin(value, shape) ? value : wrong(value, shape, path, context)
    case 'string':
      return isText(value, shape) ? value : wrong(value, shape, path, context)
    case 'array':
      if (!Array.isArray(value)) return wrong(value, shape, path, context)
      return whole(value.map((one, index) => item(one, shape.of, `${path}[${index}]`, context)))
    case 'record':
      if (!isObject(value)) return wrong(value, shape, path, context)
      return entries(value, shape.of, path, context)
    case 'object':
      if (!isObject(value)) return wrong(value, shape, path, context)
      return members(value, shape, path, context)
  }
}

function whole(values: readonly unknown[]): unknown {
  return values.includes(broken) ? broken : values
}

function entries(value: object, shape: Shape, path: string, context: Context): unknown {
  const walked = Object.entries(value).map(([key, one]) => [key, item(one, shape, joined(path, key), context)] as const)
  return walked.some(([, one]) => one === broken) ? broken : Object.fromEntries(walked)
}

/** An entry of an array or a record: here `null` is not "not given" but a mistake. */
function item(value: unknown, shape: Shape, path: string, context: Context): unknown {
  if (value !== null) return walk(value, shape, path, context)
  return shape.is === 'any' ? value : wrong(value, shape, path, context)
}

function members(value: object, shape: Shape & { is: 'object' }, path: string, context: Context): unknown {
  const given: Record<string, unknown> = {}
  for (const [key, one] of Object.entries(value)) {
    const name = nameOf(key, shape)
    if (name !== undefined) {
      given[name] = name in given ? laterOf(given[name], one) : one
    } else if (!shape.open) context.unknown.push({ path: path || '(top level)', key, known: Object.keys(shape.keys) })
    else given[key] = one
  }
  const result: Record<string, unknown> = shape.open ? { ...given } : {}
  let isBroken = false
  for (const name in shape.keys) {
    const one = walk(given[name], shape.keys[name] as Shape, joined(path, name), context)
    if (one === broken) isBroken = true
    else if (one !== undefined) result[name] = one
    else delete result[name]
  }
  return isBroken ? broken : result
}

function nameOf(key: string, { keys }: Shape & { is: 'object' }): string | undefined {
  if (Object.hasOwn(keys, key)) return key
  const lower = key.toLowerCase()
  for (const name in keys) if (name.toLowerCase() === lower) return name
  return undefined
}

function wrong(value: unknown, shape: Shape, path: string, { problems }: Context): typeof broken {
  problems.push({ path: path || '(top level)', value, expected: expectation(shape) })
  return broken
}

function expectation(shape: Shape): string {
  switch (shape.is) {
    case 'string':
      if (shape.oneOf) return `one of ${shape.oneOf.map((one) => JSON.stringify(one)).join(', ')}`
      return shape.check ? checks[shape.check].expected : 'a string'
    case 'integer': {
      const { min, max } = shape
      if (min !== undefined && max !== undefined) return `an integer from ${min} to ${max}`
      return min === undefined ? 'an integer' : `an integer of at least ${min}`
    }
    case 'boolean':
      return 'true or false'
    case 'array':
      return 'an array'
    default:
      return 'an object'
  }
}

function isWithin(value: unknown, { min, max }: { min?: number; max?: number }): boolean {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) return false
  return (min === undefined || value >= min) && (max === undefined || value <= max)
}

function isText(value: unknown, shape: Shape & { is: 'string' }): boolean {
  if (typeof value !== 'string') return false
  if (shape.oneOf && !shape.oneOf.includes(value)) return false
  return !shape.check || checks[shape.check].test(value)
}

function joined(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}

/** Two letters exchanged, or at most two edits apart and those less than half of the word. */
function isNear(left: string, right: string): boolean {
  if (Math.abs(left.length - right.length) > 2) return false
  if ([...left].sort().join('') === [...right].sort().join('')) return true
  let row = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let i = 1; i <= left.length; i++) {
    const next = [i]
    for (let j = 1; j <= right.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1)
      next[j] = Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1)
    }
    row = next
  }
  const edits = row[right.length] ?? Number.POSITIVE_INFINITY
  return edits <= 2 && edits * 2 < left.length
}
