import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, type Plugin } from 'esbuild'
import { options, plainNode, virtualModulesPlugin } from './esbuild.js'
import { keepLicences } from './licences.js'
import { isNeeded, type ModuleTree, shapesText, virtualModule } from './modules.js'
import { listPlugins, type PluginFile } from './plugins.js'

// bundle [plain]: makes the scripts of the binaries in dist, or those of the plain ones in dist/plain.

const isPlain = process.argv[2] === 'plain'
const root = process.cwd()
const compiled = path.join(root, 'dist/js')
const made = path.join(root, isPlain ? 'dist/plain' : 'dist')
const scripts = path.join(made, isPlain ? 'scripts' : 'whole')
const recorder = path.join(made, 'recorder.scripts')
const licences = path.join(made, 'licences')
const tree: ModuleTree = { root, base: compiled, extension: '.js' }

type Shapes = Record<string, object & { keys?: object }>

/** The shapes as literals: computing them takes zod, which must not be on the way of a start. */
async function computedShapes(): Promise<Shapes> {
  const module = path.join(compiled, 'shapes.js')
  writeFileSync(module, virtualModule('podwire:shapes', tree))
  return ((await import(pathToFileURL(module).href)) as { shapes: Shapes }).shapes
}

/** An expression for plain data. V8 parses JSON ten times as fast as it makes an object literal that runs once. */
function asParsed(data: unknown): string {
  return `JSON.parse(${JSON.stringify(JSON.stringify(data))})`
}

/** @param plugins all where absent */
function virtualModules(shapes: Shapes, plugins?: PluginFile[]): Plugin {
  const names = (plugins ?? listPlugins(root)).map(({ name }) => name)
  const wanted = Object.entries(shapes).filter(([key]) => isNeeded(key, names))
  const shapesModule = shapesText(wanted.map(([key, shape]) => [key, asParsed(shape)]))
  return virtualModulesPlugin(root, (name) =>
    name === 'podwire:shapes' ? shapesModule : virtualModule(name, { ...tree, ...(plugins ? { plugins } : {}) }),
  )
}

interface Bundled {
  readonly text: string
  /** The modules in it. */
  readonly inputs: readonly string[]
}

async function bundled(entry: string, plugins: Plugin[]): Promise<Bundled> {
  const entryPoints = [path.join(compiled, entry)]
  const all = isPlain ? [plainNode(compiled), ...plugins] : plugins
  const { outputFiles, metafile } = await build({ ...options, entryPoints, plugins: all })
  const [file] = outputFiles
  if (!file) throw new Error(`esbuild made no file of ${entry}`)
  const inputs = Object.keys(metafile.inputs)
  const zod = inputs.find((input) => input.includes('node_modules/zod/'))
  if (zod) throw new Error(`${zod} is in the bundle: import types and shapes, not schemas`)
  keepLicences(metafile, licences)
  return { text: file.text, inputs }
}

/** Scripts are told the function of values/hash.ts, and what it knows already. */
const hashOfStart: Plugin = {
  name: 'podwire-hash-of-start',
  setup({ onLoad }) {
    onLoad({ filter: /\/shared\/values\/hash\.js$/ }, () => ({ contents: 'export const { sha512 } = told' }))
  },
}

/** A function of `require` and an Invocation, in ASCII: start.ts reads it byte by byte. */
async function script(entry: string, plugins: Plugin[]): Promise<Bundled> {
  const { text, inputs } = await bundled(entry, [hashOfStart, ...plugins])
  return { text: `(function(require,told){${text}})\n`, inputs }
}

/** A plugin alone, or with those it may run: chain and flannel with all, who asks for addresses with IPAM plugins. */
async function scriptOf(plugin: PluginFile, shapes: Shapes, all: PluginFile[]): Promise<string> {
  const scriptWith = (within?: PluginFile[]) => script('shared/entry.js', [virtualModules(shapes, within)])
  const keys = shapes[plugin.name]?.keys ?? {}
  if ('plugins' in keys || 'delegate' in keys) return (await scriptWith()).text
  const alone = await scriptWith([plugin])
  if (!alone.inputs.some((input) => input.endsWith('shared/program/ipam.js'))) return alone.text
  return (await scriptWith(all.filter(({ name, folder }) => name === plugin.name || folder === 'ipam'))).text
}

/**
 * What the binary's saved heap and code caches are made by: a script that records (record.ts), and the builder of the
 * heap.
 */
async function makeHeapScripts(): Promise<void> {
  empty(recorder)
  // Alone in its binary, it is what start.ts runs by any name.
  writeFileSync(path.join(recorder, 'foreign.js'), (await script('shared/heap/record.js', [])).text)
  // By its name here, stacks do not tell where it was built.
  writeFileSync(
    path.join(made, 'heap.cjs'),
    `${(await bundled('shared/heap/heap.js', [])).text}//# sourceURL=podwire\n`,
  )
}

function empty(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
}

/** One script for each plugin with what it alone needs, one for other names, and what starts them. */
async function main(): Promise<void> {
  for (const folder of [scripts, licences]) empty(folder)
  const shapes = await computedShapes()
  const all = listPlugins(root)
  const files = all.map(({ name }) => path.join(scripts, `${name}.js`))
  const texts = await Promise.all(all.map((plugin) => scriptOf(plugin, shapes, all)))
  for (const [index, file] of files.entries()) writeFileSync(file, texts[index] ?? '')
  writeFileSync(
    path.join(scripts, 'foreign.js'),
    (await script('shared/foreign.js', [virtualModules(shapes, [])])).text,
  )
  if (!isPlain) await makeHeapScripts()
  const start = path.join(made, 'podwire.cjs')
  writeFileSync(`${start}.new`, (await bundled('shared/main.js', [])).text)
  renameSync(`${start}.new`, start)
}

await main()
