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

/** The version of the suite, from package.json. */
export function suiteVersion(root: string): string {
  const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string }
  return version
}
