import { schemas } from 'podwire:schemas'
import { z } from 'zod'
import { type CheckName, checks } from '../../shared/values/checks.js'
import { networkConfiguration } from '../../shared/values/config.schema.js'

// What the plugins' schemas say of their keys.

/** One key of a plugin's configuration. */
export interface Key {
  /** As `vlanTrunk[].minID`; those of `ipam` stand below it. */
  readonly path: string
  readonly type: string
  readonly isRequired: boolean
  /** As JSON; absent where there is none. */
  readonly default?: string
  readonly description: string
  /** The first release of podwire that has it. */
  readonly since: string
  /** The first release of the official suite that has it; absent where none has. */
  readonly official?: string
}

/** A plugin as its schema describes it. */
export interface Explained {
  readonly name: string
  readonly isIpam: boolean
  readonly description: string
  readonly since: string
  readonly official?: string
  /** Its own keys, in the order of the schema. */
  readonly keys: readonly Key[]
}

/** What a plugin's schema says; undefined for what is no plugin of ours. */
export function explainedPlugin(name: string): Explained | undefined {
  const found = schemas[name]
  if (!found) return undefined
  const { description = '', ...origin } = told(found.schema)
  const json = converted(found.schema)
  const own = Object.keys(json.properties ?? {}).filter((key) => isOwn(found.schema, key))
  const ordered = [...own.filter((key) => !isOfOthers(key)), ...own.filter(isOfOthers)]
  return { name, isIpam: found.ipam, description, ...origin, keys: ordered.flatMap((key) => keysBelow(json, key, '')) }
}

/** The keys that every plugin has. */
export function commonKeys(): readonly Key[] {
  const json = converted(networkConfiguration)
  return Object.keys(json.properties ?? {}).flatMap((key) => keysBelow(json, key, ''))
}

// --- internal

interface Json {
  readonly type?: string
  readonly properties?: Readonly<Record<string, Json>>
  readonly required?: readonly string[]
  readonly items?: Json
  readonly enum?: readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly default?: unknown
  readonly description?: string
  readonly since?: string
  readonly official?: string
  readonly check?: CheckName
}

function told(schema: z.ZodType): { description?: string; since: string; official?: string } {
  const {
    description,
    since = '',
    official,
  } = schema.meta() as { description?: string; since?: string; official?: string }
  return { ...(description ? { description } : {}), since, ...(official ? { official } : {}) }
}

/** With our own words (since, official, check) left in. */
function converted(schema: z.ZodType): Json {
  return z.toJSONSchema(schema, { target: 'draft-2020-12', io: 'input', unrepresentable: 'any' }) as Json
}

/** Objects with keys that somebody else than the plugin's configuration fills in. */
function isOfOthers(key: string): boolean {
  return key === 'args' || key === 'runtimeConfig'
}

/** The plugin's, not those that its schema has from every configuration, unless it acts on them. */
function isOwn(schema: z.ZodType, key: string): boolean {
  const { shape } = schema as unknown as z.ZodObject
  if (key === 'ipMasq') return 'ipMasqBackend' in shape
  return shape[key] !== (networkConfiguration.shape as Record<string, unknown>)[key]
}

/** A key and those below it; objects that only hold others' keys are not told of. */
function keysBelow(parent: Json, key: string, before: string): Key[] {
  const json = parent.properties?.[key] ?? {}
  const path = `${before}${key}`
  const isRequired = (parent.required ?? []).includes(key) && json.type !== undefined
  const own = json.description === undefined ? [] : [keyOf(json, path, isRequired)]
  let [inner, end] = [json, '']
  while (inner.items) [inner, end] = [inner.items, `${end}[]`]
  return [...own, ...Object.keys(inner.properties ?? {}).flatMap((one) => keysBelow(inner, one, `${path}${end}.`))]
}

function keyOf(json: Json, path: string, isRequired: boolean): Key {
  const { description = '', since = '', official } = json
  const isValue = json.default !== undefined && json.default !== ''
  return {
    path,
    type: typeWords(json),
    isRequired,
    ...(isValue ? { default: JSON.stringify(json.default) } : {}),
    description,
    since,
    ...(official ? { official } : {}),
  }
}

function typeWords(json: Json): string {
  if (json.check) return checks[json.check].expected
  if (json.enum) return `one of ${json.enum.map((one) => JSON.stringify(one)).join(', ')}`
  switch (json.type) {
    case 'boolean':
      return 'true or false'
    case 'integer':
      return integerWords(json)
    case 'array':
      return `a list; each: ${typeWords(json.items ?? {})}`
    case 'object':
      return 'an object'
    case 'string':
      return 'a text'
    default:
      return 'any value'
  }
}

/** JSON's own bounds say nothing to a reader. */
function integerWords({ minimum, maximum }: Json): string {
  const most = maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? undefined : maximum
  const least = minimum === undefined || minimum === Number.MIN_SAFE_INTEGER ? undefined : minimum
  if (least !== undefined && most !== undefined) return `a whole number from ${least} to ${most}`
  if (least !== undefined) return `a whole number of at least ${least}`
  return most === undefined ? 'a whole number' : `a whole number of at most ${most}`
}
