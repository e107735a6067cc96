import { renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { build, type Plugin } from 'esbuild'
import { options, plainNode, virtualModulesPlugin } from './esbuild.js'
import { keepLicences } from './licences.js'
import { type ModuleTree, virtualModule } from './modules.js'

// Bundles the program `podwire`, an ordinary one: with its libraries, zod, too, and all plugins, which it may ask; and
// into a script of its own what only the agent has of libraries.

const root = process.cwd()
const tree: ModuleTree = { root, base: path.join(root, 'dist/js'), extension: '.js' }
/** Where the program finds it, in the binary and beside its own script. */
const librariesName = 'libraries.cjs'
const libraries = path.join(tree.base, 'tools/agent/libraries.js')

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

/** Has the agent read its libraries from their own script; each character is a byte. */
const librariesLater: Plugin = {
  name: 'podwire-libraries-later',
  setup({ onResolve, onLoad }) {
    const contents = `
      const { getRawAsset, isSea } = require('node:sea')
      const name = ${JSON.stringify(librariesName)}
      const bytes = isSea() ? Buffer.from(getRawAsset(name)) : require('node:fs').readFileSync(__dirname + '/' + name)
      const { compileFunction } = require('node:vm')
      const run = compileFunction(bytes.latin1Slice(), ['module', 'exports', 'require'], { filename: name })
      const made = { exports: {} }
      run(made, made.exports, require)
      module.exports = made.exports`
    const namespace = 'podwire-libraries'
    onResolve({ filter: /\/libraries\.js$/ }, ({ path: name, resolveDir }) =>
      path.resolve(resolveDir, name) === libraries ? { path: librariesName, namespace } : undefined,
    )
    onLoad({ filter: /.*/, namespace }, () => ({ contents, loader: 'js' }))
  },
}

async function bundle(entry: string, output: string, plugins: Plugin[]): Promise<void> {
  const { outputFiles, metafile } = await build({ ...options, entryPoints: [entry], plugins })
  const [file] = outputFiles
  if (!file) throw new Error(`esbuild made no file of ${entry}`)
  keepLicences(metafile, path.join(root, 'dist/licences'))
  const to = path.join(root, 'dist', output)
  writeFileSync(`${to}.new`, file.text)
  renameSync(`${to}.new`, to)
}

await bundle(libraries, librariesName, [unusedModels])
await bundle(path.join(tree.base, 'shared/podwire-main.js'), 'program.cjs', [
  plainNode(tree.base, 'program'),
  librariesLater,
  virtualModulesPlugin(root, (name) => virtualModule(name, tree)),
])
