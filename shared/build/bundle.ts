import { renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, type Plugin } from 'esbuild'
import { compileEagerly } from './eager.js'
import { type ModuleTree, shapesText, virtualModule, virtualPrefix } from './modules.js'

const root = process.cwd()
const compiled = path.join(root, 'dist/js')
const bundle = path.join(root, 'dist/podwire.cjs')
const tree: ModuleTree = { root, base: compiled, extension: '.js' }

/** The shapes as literals: computing them takes zod, which must not be on the way of a start. */
async function computedShapes(): Promise<string> {
  const module = path.join(compiled, 'shapes.js')
  writeFileSync(module, virtualModule('podwire:shapes', tree))
  const { shapes } = (await import(pathToFileURL(module).href)) as { shapes: object }
  return shapesText(Object.entries(shapes).map(([key, shape]) => [key, JSON.stringify(shape)]))
}

function virtualModulesPlugin(shapes: string): Plugin {
  return {
    name: 'podwire-virtual-modules',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: new RegExp(`^${virtualPrefix}`) }, ({ path }) => ({ path, namespace: 'podwire' }))
      onLoad({ filter: /.*/, namespace: 'podwire' }, ({ path: name }) => ({
        contents: name === 'podwire:shapes' ? shapes : virtualModule(name, tree),
        resolveDir: root,
      }))
    },
  }
}

/** One CommonJS file, where import() of a module becomes its first run: a plugin costs nothing until it is named. */
async function main(): Promise<void> {
  const { outputFiles, metafile } = await build({
    entryPoints: [path.join(compiled, 'shared/entry.js')],
    bundle: true,
    write: false,
    platform: 'node',
    target: 'node26',
    format: 'cjs',
    minify: true,
    legalComments: 'none',
    metafile: true,
    plugins: [virtualModulesPlugin(await computedShapes())],
  })
  const [file] = outputFiles
  if (!file) throw new Error('esbuild made no file')
  const zod = Object.keys(metafile.inputs).find((input) => input.includes('node_modules/zod/'))
  if (zod) throw new Error(`${zod} is in the bundle: import types and shapes, not schemas`)
  writeFileSync(`${bundle}.new`, compileEagerly(file.text))
  renameSync(`${bundle}.new`, bundle)
}

await main()
