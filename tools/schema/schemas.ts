import { names } from 'podwire:plugins'
import { schemas } from 'podwire:schemas'
import { version } from 'podwire:version'
import { z } from 'zod'
import type { CheckName } from '../../shared/values/checks.js'

// JSON Schemas (2020-12) of what may stand in a file, for editors. They are made of the plugins' own schemas; what
// those check by a function stands as a pattern that is no stricter. Unknown keys of an object are mistakes here, as an
// editor should mark them, where a plugin only warns.

export type JsonSchema = { [key: string]: unknown }

/** What schemas there are: one a plugin, one of any plugin's configuration, and one of a list of them. */
export const schemaNames: readonly string[] = [...names, 'configuration', 'list']

/** The schema of a name out of `schemaNames`. */
export function jsonSchemaOf(name: string): JsonSchema {
  if (name === 'list') return whole(name, 'A list of plugins of one network (.conflist).', listSchema(), names)
  if (name === 'configuration') {
    return whole(
      name,
      'The configuration of one plugin (.conf).',
      { $ref: '#/$defs/plugin', required: ['name'] },
      names,
    )
  }
  const used = isIpam(name) ? [name] : [name, ...ipamNames, ...(name === 'chain' ? names : [])]
  return whole(name, descriptionOf(name), { $ref: `#/$defs/${name}` }, [...new Set(used)].sort())
}

// --- internal

const ipamNames = names.filter(isIpam)

function isIpam(name: string): boolean {
  return schemas[name]?.ipam === true
}

function descriptionOf(name: string): string {
  return z.globalRegistry.get(schemas[name]?.schema as z.ZodType)?.description ?? ''
}

function whole(name: string, description: string, schema: JsonSchema, used: readonly string[]): JsonSchema {
  const isChained = used.includes('chain')
  const plugins = used.filter((one) => !isIpam(one)).map((one) => [one, pluginSchema(one)])
  const ipams = used.filter(isIpam).map((one) => [one, ipamSchema(one)])
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `urn:podwire:${version}:${name}`,
    title: `podwire ${version}: ${name}`,
    description,
    ...schema,
    $defs: {
      ...Object.fromEntries([...plugins, ...ipams]),
      ...(plugins.length > 0 ? { ipam: anyOfType(ipamNames) } : {}),
      ...(isChained ? { plugin: anyOfType(names.filter((one) => !isIpam(one))) } : {}),
    },
  }
}

function listSchema(): JsonSchema {
  const { cniVersion, cniVersions, name, disableCheck, disableGC } = propertiesOf(pluginSchema('loopback'))
  return {
    type: 'object',
    properties: {
      cniVersion,
      cniVersions: { ...cniVersions, type: 'array', items: { type: 'string' } },
      name,
      disableCheck: { ...disableCheck, type: ['boolean', 'string'] },
      disableGC: { ...disableGC, type: ['boolean', 'string'] },
      plugins: { type: 'array', minItems: 1, items: { $ref: '#/$defs/plugin' } },
      // For who wrote the list: runtimes leave it alone.
      args: { type: 'object' },
    },
    required: ['name', 'plugins'],
    additionalProperties: false,
  }
}

/** What holds for an object whose `type` is one of ours; others' objects are theirs. */
function anyOfType(known: readonly string[]): JsonSchema {
  return {
    type: 'object',
    properties: { type: { type: 'string', examples: known } },
    allOf: known.map((name) => ({
      if: { properties: { type: { const: name } }, required: ['type'] },
      // biome-ignore lint/suspicious/noThenProperty: the word of JSON Schema
      then: { $ref: `#/$defs/${name}` },
    })),
  }
}

/** A plugin's configuration as it stands in a file: in a list it has no name. */
function pluginSchema(name: string): JsonSchema {
  const schema = converted(name)
  const properties = propertiesOf(schema)
  const given = Object.fromEntries(Object.entries(properties).filter(([key]) => !isFilledIn(key)))
  return {
    ...schema,
    properties: {
      ...given,
      type: { ...given['type'], const: name },
      ...(given['ipam'] ? { ipam: { description: given['ipam']['description'], $ref: '#/$defs/ipam' } } : {}),
      ...(name === 'chain' ? { plugins: { ...given['plugins'], items: { $ref: '#/$defs/plugin' } } } : {}),
    },
    required: [...(schema['required'] as string[]).filter((key) => key !== 'name'), 'type'],
    ...(name === 'chain' ? {} : { additionalProperties: false }),
  }
}

/** What `ipam` holds for an IPAM plugin. */
function ipamSchema(name: string): JsonSchema {
  const ipam = propertiesOf(converted(name))['ipam'] ?? {}
  return {
    ...ipam,
    description: descriptionOf(name),
    properties: { ...propertiesOf(ipam), type: { ...propertiesOf(ipam)['type'], const: name } },
    required: ['type'],
    additionalProperties: false,
  }
}

/** The runtime writes it into what a plugin reads: in a file it says nothing. */
function isFilledIn(key: string): boolean {
  return key === 'prevResult' || key.startsWith('cni.dev/')
}

function propertiesOf(schema: JsonSchema): Record<string, JsonSchema> {
  return (schema['properties'] ?? {}) as Record<string, JsonSchema>
}

function converted(name: string): JsonSchema {
  return z.toJSONSchema(schemas[name]?.schema as z.ZodType, {
    target: 'draft-2020-12',
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => adapt(jsonSchema as JsonSchema),
  }) as JsonSchema
}

/** Takes our own words out of a schema: a check becomes a pattern. */
function adapt(schema: JsonSchema): void {
  const check = schema['check'] as CheckName | undefined
  const pattern = check && patterns[check]
  if (pattern !== undefined) schema['pattern'] = pattern
  for (const own of ['check', 'since', 'official', '$schema', 'propertyNames']) delete schema[own]
  if (JSON.stringify(schema['additionalProperties']) === '{}') delete schema['additionalProperties']
}

const address = String.raw`([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)`
const mac = '([0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{4}(\\.[0-9A-Fa-f]{4}){2})'

/** What the checks of values/checks.ts take, as far as a pattern can say it. */
const patterns: Readonly<Partial<Record<CheckName, string>>> = {
  address: `^${address}$`,
  addressOrEmpty: `^${address}?$`,
  addressMaybePrefix: `^${address}(/[0-9]{1,3})?$`,
  cidr: `^${address}/[0-9]{1,3}$`,
  cidrOrEmpty: `^(${address}/[0-9]{1,3})?$`,
  mac: `^${mac}$`,
  macOrEmpty: `^${mac}?$`,
  identifier: '^[A-Za-z0-9][A-Za-z0-9._-]*$',
  identifierOrEmpty: '^([A-Za-z0-9][A-Za-z0-9._-]*)?$',
  linkName: '^[^\\s/:]{1,15}$',
  linkNameOrEmpty: '^[^\\s/:]{0,15}$',
  linkPattern: '^[^\\s/:]{0,127}$',
  chainName: '^[A-Za-z0-9._-]{1,28}$',
  chainNameOrEmpty: '^[A-Za-z0-9._-]{0,28}$',
}
