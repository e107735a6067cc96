import type { z } from 'zod'
import type { CheckName } from './checks.js'

/**
 * A zod schema as plain data. Schemas are the one source of truth, but zod itself costs more than the rest of a start
 * (bench/RESULTS.md), so the build turns every schema into a shape, and `accept` walks that instead.
 */
export type Shape = { readonly optional?: true; readonly default?: unknown } & (
  | { readonly is: 'any' }
  | { readonly is: 'string'; readonly check?: CheckName; readonly oneOf?: readonly string[] }
  | { readonly is: 'boolean' }
  | { readonly is: 'integer'; readonly min?: number; readonly max?: number }
  | { readonly is: 'array'; readonly of: Shape }
  | { readonly is: 'record'; readonly of: Shape }
  | { readonly is: 'object'; readonly keys: Readonly<Record<string, Shape>>; readonly open?: true }
)

/** The shape of a schema. @throws when the schema uses something shapes cannot say: the build fails then */
export function shapeOf(schema: z.ZodType): Shape {
  const definition = schema.def as unknown as Definition
  const convert = converters[definition.type]
  if (!convert) throw new Error(`a schema uses zod's "${definition.type}", which shapes cannot say`)
  return convert(definition, (schema as { meta(): { check?: CheckName } | undefined }).meta()?.check)
}

// --- internal

/** What this file reads of zod 4's definitions, one record for all types. */
interface Definition {
  readonly type: string
  /** `number_format` on what z.int() makes. */
  readonly check?: string
  readonly shape: Record<string, z.ZodType>
  readonly catchall?: z.ZodType
  readonly element: z.ZodType
  readonly valueType: z.ZodType
  readonly innerType: z.ZodType
  readonly defaultValue: unknown
  readonly entries: Record<string, string>
  readonly checks?: readonly {
    _zod: { def: { check: string; value?: number; inclusive?: boolean; format?: string } }
  }[]
}

const converters: Record<string, (definition: Definition, check?: CheckName) => Shape> = {
  any: () => ({ is: 'any' }),
  unknown: () => ({ is: 'any' }),
  boolean: () => ({ is: 'boolean' }),
  string: (_, check) => (check ? { is: 'string', check } : { is: 'string' }),
  enum: ({ entries }) => ({ is: 'string', oneOf: Object.values(entries) }),
  number: (definition) => ({ is: 'integer', ...bounds(definition) }),
  array: ({ element }) => ({ is: 'array', of: shapeOf(element) }),
  record: ({ valueType }) => ({ is: 'record', of: shapeOf(valueType) }),
  optional: ({ innerType }) => ({ ...shapeOf(innerType), optional: true }),
  default: ({ innerType, defaultValue }) => ({ ...shapeOf(innerType), default: defaultValue }),
  object: ({ shape, catchall }) => {
    const keys = Object.fromEntries(Object.entries(shape).map(([key, one]) => [key, shapeOf(one)]))
    return { is: 'object', keys, ...(catchall?.def.type === 'unknown' ? { open: true as const } : {}) }
  },
}

function bounds({ check: format, checks = [] }: Definition): { min?: number; max?: number } {
  if (format !== 'number_format') throw new Error('a schema has a number that is not z.int()')
  const found: { min?: number; max?: number } = {}
  for (const { _zod } of checks) {
    const { check, value, inclusive } = _zod.def
    if (check === 'greater_than' && inclusive && value !== undefined) found.min = value
    else if (check === 'less_than' && inclusive && value !== undefined) found.max = value
    else throw new Error(`a schema checks a number by "${check}", which shapes cannot say`)
  }
  return found
}
