import { renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { build, type Plugin } from 'esbuild'
import { options, plainNode, virtualModulesPlugin } from './esbuild.js'
import { keepLicences } from './licences.js'
import { type ModuleTree, virtualModule } from './modules.js'

// Bundles the program `podwire`, an ordinary one: with its libraries, zod, too, and all plugins, which it may ask.

const root = process.cwd()
const tree: ModuleTree = { root, base: path.join(root, 'dist/js'), extension: '.js' }
const output = path.join(root, 'dist/program.cjs')

/**
 * The client of Kubernetes has a class for each kind of object of the API; the agent uses none (tools/agent/api.ts),
 * and without this they would all be in the script, because each sets something when it is loaded.
 */
const unusedModels: Plugin = {
  name: 'podwire-unused-models',
  setup({ onResolve, resolve }) {
    onResolve({ filter: /^\./ }, async ({ path: name, importer, ...rest }) => {
      if (!importer.includes('/@kubernetes/client-node/dist/') || rest.pluginData === 'asked') return undefined
      const found = await resolve(name, { importer, ...rest, pluginData: 'asked' })
      return { ...found, sideEffects: false }
    })
  },
}

const { outputFiles, metafile } = await build({
  ...options,
  entryPoints: [path.join(tree.base, 'shared/podwire-main.js')],
  plugins: [
    plainNode(tree.base, 'program'),
    unusedModels,
    virtualModulesPlugin(root, (name) => virtualModule(name, tree)),
  ],
})
const [file] = outputFiles
if (!file) throw new Error('esbuild made no file of the program podwire')
keepLicences(metafile, path.join(root, 'dist/licences'))
writeFileSync(`${output}.new`, file.text)
renameSync(`${output}.new`, output)
