import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** One plugin as the folders name it; `module` and `schema` are paths under the root, without extension. */
export interface PluginFile {
  name: string
  folder: string
  module: string
  schema: string
}

const folders = ['plugins', 'ipam']
const pluginName = /^([a-z][a-z0-9-]*)\.ts$/

/**
 * Lists the plugins by their files, so that adding one touches no registry: each is NAME.ts in a folder of plugins, or
 * NAME/NAME.ts where it has parts.
 * @throws when one has no schema or a name is taken twice
 */
export function listPlugins(root: string): PluginFile[] {
  const found = folders.flatMap((folder) => inFolder(root, folder)).sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const [index, plugin] of found.entries()) {
    if (plugin.name === found[index + 1]?.name) throw new Error(`two plugins are named ${plugin.name}`)
    const schema = `${plugin.schema}.ts`
    if (!existsSync(path.join(root, schema))) throw new Error(`${plugin.module}.ts needs ${schema}`)
  }
  return found
}

function inFolder(root: string, folder: string): PluginFile[] {
  return readdirSync(path.join(root, folder)).flatMap((entry) => {
    const inOwn = existsSync(path.join(root, folder, entry, `${entry}.ts`))
    const name = inOwn ? entry : pluginName.exec(entry)?.[1]
    if (name === undefined) return []
    const module = inOwn ? `${folder}/${name}/${name}` : `${folder}/${name}`
    return { name, folder, module, schema: `${module}.schema` }
  })
}

/** The commands of the program `podwire`, each a file of tools/, as paths under the root without extension. */
export function listTools(root: string): string[] {
  const names = readdirSync(path.join(root, 'tools')).flatMap((file) => pluginName.exec(file)?.[1] ?? [])
  return names.sort().map((name) => `tools/${name}`)
}

/**
 * The commit that a source tree is of; "unknown" where it is none of git's, with "-changed" behind it where it differs
 * from that.
 */
export function sourceCommit(root: string): string {
  const git = (...words: string[]) => spawnSync('git', ['-C', root, ...words], { encoding: 'utf8' })
  const { status, stdout } = git('rev-parse', '--short=12', 'HEAD')
  if (status !== 0) return 'unknown'
  return `${stdout.trim()}${git('status', '--porcelain', '--untracked-files=no').stdout === '' ? '' : '-changed'}`
}

/** The version of the suite, from package.json. */
export function suiteVersion(root: string): string {
  const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }
  return version
}
