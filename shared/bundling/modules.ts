import path from 'node:path'
import { listPlugins, listTools, type PluginFile, sourceCommit, suiteVersion } from './plugins.js'

/** Where the modules that a virtual module imports lie: compiled (.js) for the bundle, as written (.ts) for tests. */
export interface ModuleTree {
  root: string
  base: string
  extension: '.js' | '.ts'
  /** The only plugins that can be loaded, which are loaded at once; where absent all, each at need. */
  plugins?: readonly PluginFile[]
}

export const virtualPrefix = 'podwire:'

/** The kinds of records that are not called as the plugin that keeps them. */
const recordKinds: Readonly<Record<string, readonly string[]>> = {
  bridge: ['masquerade'],
  ptp: ['masquerade'],
  macvlan: ['host-access'],
  portmap: ['portmap-special'],
  // In every script that asks for addresses.
  'host-local': ['ipam'],
}

/** Whether a script with these plugins needs a shape: of records only those they keep. */
export function isNeeded(key: string, plugins: readonly string[]): boolean {
  const kind = key.startsWith('state.') ? key.slice('state.'.length) : undefined
  if (kind === undefined) return key.includes('.') || plugins.includes(key)
  return kind === 'record' || plugins.some((name) => name === kind || recordKinds[name]?.includes(kind))
}

/** Schemas of shared code: the module that exports them as `schemas`, the prefix of their shapes' keys, their names. */
const sharedSchemas = [
  { module: 'shared/values/result.schema', prefix: 'result', names: ['A', 'B', 'C'] },
  {
    module: 'shared/values/observe.schema',
    prefix: 'observe',
    names: ['links', 'numberedRoutes', 'rules', 'qdiscs', 'filters'],
  },
  {
    module: 'shared/exec/records.schema',
    prefix: 'state',
    names: [
      'record',
      'bridge',
      'ptp',
      'masquerade',
      'firewall',
      'portmap',
      'portmap-special',
      'bandwidth',
      'sbr',
      'vrf',
      'host-device',
      'host-access',
      'ipvlan',
      'ipam',
    ],
  },
]

/**
 * The text of one module of virtual.d.ts. `podwire:shapes` loads zod and computes when read; the bundle has the
 * computed ones instead. @throws on any other name
 */
export function virtualModule(name: string, tree: ModuleTree): string {
  const text = virtualModules[name]
  if (!text) throw new Error(`no module is named ${name}`)
  return text(tree)
}

/**
 * `podwire:shapes` with one getter a shape, so that a start builds only those it needs. Keys with the text of each
 * value.
 */
export function shapesText(values: [string, string][]): string {
  return `export const shapes = ${objectText(values.map(([key, value]) => `get ${JSON.stringify(key)}() { return ${value} }`))}`
}

// --- internal

const virtualModules: Record<string, (tree: ModuleTree) => string> = {
  'podwire:plugins': (tree) => {
    const all = listPlugins(tree.root)
    // What is loaded at need is a function a module in the script, and what may be is all of it.
    const few = tree.plugins ?? []
    const imports = few.map(({ module }, index) => `import plugin${index} from ${location(tree, module)}`)
    const loaders = tree.plugins
      ? few.map(({ name }, index) => `${JSON.stringify(name)}: () => Promise.resolve({ default: plugin${index} })`)
      : all.map(({ name, module }) => `${JSON.stringify(name)}: () => import(${location(tree, module)})`)
    const names = JSON.stringify(all.map(({ name }) => name))
    const ipams = JSON.stringify(all.flatMap(({ name, folder }) => (folder === 'ipam' ? [name] : [])))
    return `${[...imports, ''].join('\n')}export const names = ${names}\nexport const ipams = ${ipams}\nexport const plugins = ${objectText(loaders)}`
  },
  'podwire:shapes': (tree) => {
    const plugins = listPlugins(tree.root)
    const imports = [
      `import { shapeOf } from ${location(tree, 'shared/values/shape')}`,
      ...sharedSchemas.map(({ module, prefix }) => `import { schemas as ${prefix} } from ${location(tree, module)}`),
      ...plugins.map(({ schema }, index) => `import { schema as schema${index} } from ${location(tree, schema)}`),
    ]
    const ofShared = sharedSchemas.flatMap(({ prefix, names }) =>
      names.map((name): [string, string] => [`${prefix}.${name}`, `shapeOf(${prefix}[${JSON.stringify(name)}])`]),
    )
    const ofPlugins = plugins.map(({ name }, index): [string, string] => [name, `shapeOf(schema${index})`])
    return [...imports, shapesText([...ofShared, ...ofPlugins])].join('\n')
  },
  'podwire:schemas': (tree) => {
    const plugins = listPlugins(tree.root)
    const imports = plugins.map(
      ({ schema }, index) => `import { schema as schema${index} } from ${location(tree, schema)}`,
    )
    const entries = plugins.map(
      ({ name, folder }, index) => `${JSON.stringify(name)}: { schema: schema${index}, ipam: ${folder === 'ipam'} }`,
    )
    return [...imports, `export const schemas = ${objectText(entries)}`].join('\n')
  },
  'podwire:tools': (tree) => {
    const tools = listTools(tree.root)
    const imports = tools.map((module, index) => `import tool${index} from ${location(tree, module)}`)
    return [...imports, `export const commands = [${tools.map((_, index) => `tool${index}`).join(', ')}]`].join('\n')
  },
  'podwire:version': ({ root }) =>
    `export const version = ${JSON.stringify(suiteVersion(root))}\nexport const commit = ${JSON.stringify(sourceCommit(root))}`,
}

function location({ base, extension }: ModuleTree, module: string): string {
  return JSON.stringify(path.join(base, module + extension))
}

function objectText(entries: string[]): string {
  return ['{', ...entries.map((entry) => `  ${entry},`), '}'].join('\n')
}
