import { macOf } from './checks.js'
import type { Verb } from './environment.js'
import type { Problem } from './errors.js'
import { typeFault } from './json.js'
import type { Shape } from './shape.js'

/**
 * How the official plugin of the same name words mistakes of single keys. Its JSON decoder names Go's types and
 * fields: what is not here follows from the shape (a string is a `string`, an integer an `int`, a flag a `bool`).
 */
export interface Official {
  /** What it puts before what the decoder says. */
  readonly load: string
  /** What it puts before what is wrong in prevResult. */
  readonly prevResult?: string
  /** What it says where prevResult is missing, if not "Required prevResult missing". */
  readonly unchained?: Partial<Record<Verb, string>>
  /** What stands before the keys of the library in a field's name: the struct that has them. */
  readonly library?: string
  /** The Go struct of its configuration (""), or of the object at a path; nameless ones are "". */
  readonly structs: Readonly<Record<string, string>>
  /** The Go type at a path; empty where `says` alone knows. */
  readonly types?: Readonly<Record<string, string>>
  /** How it writes a path, where that is not the path itself. */
  readonly fields?: Readonly<Record<string, string>>
  /** What it says of a value that has the right type. */
  readonly says?: (problem: Problem, config: unknown) => string | undefined
}

/**
 * The official text for a mistake that `accept` found in a configuration of the shape; undefined where there is none.
 */
export function officialText(problem: Problem, config: unknown, shape: Shape, official: Official): string | undefined {
  const keys = keysOf(problem.path)
  const fault = ofType(problem.value, keys, shape, official)
  if (fault !== undefined) return official.load + fault
  return official.says?.(problem, config) ?? ofText(problem, keys, shape, official)
}

/** What the official suite says of a result whose version has another format than the configuration's. */
export function wrongFamily(version: unknown, supported: readonly string[]): string {
  return `result type supports [${supported.join(' ')}] but unmarshalled CNIVersion is "${version}"`
}

/** Why a text is no MAC address for an interface, in the words of Go's net package or of the kernel. */
export function macFault(text: unknown): string {
  const isMac = typeof text === 'string' && macOf(text) !== undefined
  return isMac ? 'cannot assign requested address' : `address ${text}: invalid MAC address`
}

/** Why a text is no name for a link, in the words of the kernel, or of the netlink library, which asks for one. */
export function nameFault(text: unknown): string {
  if (text === '') return 'LinkAttrs.Name cannot be empty'
  return typeof text === 'string' && text.length > 15 ? 'numerical result out of range' : 'invalid argument'
}

/** An address or a subnet as Go's net package refuses it. */
export function notParsed(kind: 'IP' | 'CIDR', text: unknown): string {
  return `invalid ${kind} address: ${text}`
}

/** A failure of the file system as Go's os package tells it: what was done, to which path, and the system's words. */
export function pathFault(thrown: unknown, path: string): string | undefined {
  const { message } = thrown as Error
  const [code = '', told = ''] = message.split(': ')
  const [words, done = ''] = told.split(', ')
  const call = done.split(' ')[0]
  return call ? `${call} ${path}: ${systemWords[code] ?? words}` : undefined
}

// --- internal

/** What the C library says of errors that Node has other words for. */
const systemWords: Readonly<Record<string, string>> = {
  EEXIST: 'file exists',
  EIO: 'input/output error',
  EISDIR: 'is a directory',
  ELOOP: 'too many levels of symbolic links',
  ENAMETOOLONG: 'file name too long',
  ETXTBSY: 'text file busy',
}

/** The keys that every plugin's configuration has from the library. */
const libraryTypes: Readonly<Record<string, string>> = {
  capabilities: 'map[string]bool',
  ipam: 'types.IPAM',
  dns: 'types.DNS',
  prevResult: 'map[string]interface {}',
  'cni.dev/valid-attachments': '[]types.GCAttachment',
  'ipam.dns': 'types.DNS',
  'ipam.routes': '[]*types.Route',
}
const libraryStructs: Readonly<Record<string, string>> = {
  ipam: 'IPAM',
  dns: 'DNS',
  'ipam.dns': 'DNS',
  'cni.dev/valid-attachments': 'GCAttachment',
}
const libraryKeys = ['type', 'capabilities', 'ipam', 'dns', 'prevResult', 'cni.dev/valid-attachments']

/** `a.b[0].c` as a, b, 0, c; keys of the library that have dots are kept whole. */
function keysOf(path: string): readonly (string | number)[] {
  const dotted = 'cni.dev/'
  const parts = path.startsWith(dotted) ? path.slice(dotted.length).split('.') : path.split('.')
  return parts.flatMap((part, at) => {
    const [name = '', ...indices] = part.split('[')
    const key = at === 0 && path.startsWith(dotted) ? dotted + name : name
    return [key, ...indices.map((index) => Number.parseInt(index, 10))]
  })
}

function ofType(
  value: unknown,
  keys: readonly (string | number)[],
  shape: Shape,
  official: Official,
): string | undefined {
  const { library = '', structs, types = {}, fields = {} } = official
  const { names, depth } = fieldOf(keys, shape)
  const path = names.join('.')
  const whole = types[path] ?? libraryTypes[path]
  const type = whole === undefined ? goType(shapeAt(shape, keys)) : itemOf(whole, depth)
  const struct = structs[names.slice(0, -1).join('.')] ?? libraryStructs[names.slice(0, -1).join('.')]
  if (!type || struct === undefined || value === undefined || fits(value, type)) return undefined
  const field = fields[path] ?? (libraryKeys.includes(names[0] ?? '') ? library + path : path)
  return typeFault(value, `struct field ${struct}.${field}`, type)
}

/**
 * The keys that lead to a field of a struct, and how deep inside it the place is: items of arrays and maps have no
 * name.
 */
function fieldOf(keys: readonly (string | number)[], shape: Shape): { names: readonly string[]; depth: number } {
  const map = keys.findIndex((_, index) => shapeAt(shape, keys.slice(0, index))?.is === 'record')
  const own = map < 0 ? keys : keys.slice(0, map)
  const last = own.findLastIndex((key) => typeof key === 'string')
  const names = own.filter((key) => typeof key === 'string')
  return { names, depth: own.length - 1 - last + (map < 0 ? 0 : 1) }
}

/** A text of the right type that means nothing: the decoder says so of addresses. */
function ofText({ value }: Problem, keys: readonly (string | number)[], shape: Shape, { load }: Official) {
  const at = shapeAt(shape, keys)
  if (typeof value !== 'string' || at?.is !== 'string') return undefined
  if (at.check === 'address' || at.check === 'addressOrEmpty') return load + notParsed('IP', value)
  return at.check === 'cidr' ? load + notParsed('CIDR', value) : undefined
}

function shapeAt(shape: Shape | undefined, keys: readonly (string | number)[]): Shape | undefined {
  const [key, ...rest] = keys
  if (key === undefined || shape === undefined) return shape
  if (typeof key === 'number') return shape.is === 'array' ? shapeAt(shape.of, rest) : undefined
  if (shape.is === 'record') return shape.of
  return shape.is === 'object' && Object.hasOwn(shape.keys, key) ? shapeAt(shape.keys[key], rest) : undefined
}

function goType(shape: Shape | undefined): string | undefined {
  switch (shape?.is) {
    case 'string':
      return 'string'
    case 'integer':
      return 'int'
    case 'boolean':
      return 'bool'
    case 'array': {
      const item = goType(shape.of)
      return item === undefined ? undefined : `[]${item}`
    }
    default:
      return undefined
  }
}

/**
 * What the decoder names is not the pointer; the library reads routes and addresses into structs of its own, "route"
 * and "ipConfig".
 */
function itemOf(type: string, depth: number): string {
  if (depth === 0) return type
  if (type.endsWith('RangeSet') && !type.startsWith('[]')) return itemOf(type.slice(0, -'Set'.length), depth - 1)
  const item = type.slice(type.indexOf(']') + 1)
  const own = item.startsWith('*') && item !== '*ip.IP' ? item.slice(1) : item
  return itemOf(own.replace('.Route', '.route').replace('.IPConfig', '.ipConfig'), depth - 1)
}

/** True where Go's decoder puts the value into a variable of the type. */
function fits(value: unknown, type: string): boolean {
  if (value === null) return true
  if (type.startsWith('[]') || type.endsWith('RangeSet')) return Array.isArray(value)
  if (type === 'string' || type === 'net.IP' || type === '*ip.IP') return typeof value === 'string'
  if (type === 'bool') return typeof value === 'boolean'
  if (type === 'int') return Number.isSafeInteger(value)
  const most = { uint32: 2 ** 32, uint64: 2 ** 64 }[type]
  if (most !== undefined) return Number.isInteger(value) && (value as number) >= 0 && (value as number) < most
  return typeof value === 'object' && !Array.isArray(value)
}
