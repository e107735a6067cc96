import { renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { build, type Plugin } from 'esbuild'
import { keepLicences } from './licences.js'
import { type ModuleTree, virtualModule, virtualPrefix } from './modules.js'
import { plainNode } from './plain.js'

// Bundles the program `podwire`, an ordinary one: with its libraries, zod, too, and all plugins, which it may ask.

const root = process.cwd()
const tree: ModuleTree = { root, base: path.join(root, 'dist/js'), extension: '.js' }
const output = path.join(root, 'dist/program.cjs')

const virtualModules: Plugin = {
  name: 'podwire-virtual-modules',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: new RegExp(`^${virtualPrefix}`) }, ({ path }) => ({ path, namespace: 'podwire' }))
    onLoad({ filter: /.*/, namespace: 'podwire' }, ({ path: name }) => ({
      contents: virtualModule(name, tree),
      resolveDir: root,
    }))
  },
}

const { outputFiles, metafile } = await build({
  entryPoints: [path.join(tree.base, 'shared/podwire-main.js')],
  bundle: true,
  write: false,
  platform: 'node',
  target: 'node26',
  format: 'cjs',
  minify: true,
  legalComments: 'none',
  metafile: true,
  plugins: [plainNode(tree.base), virtualModules],
})
const [file] = outputFiles
if (!file) throw new Error('esbuild made no file of the program podwire')
keepLicences(metafile, path.join(root, 'dist/licences'))
writeFileSync(`${output}.new`, file.text)
renameSync(`${output}.new`, output)
