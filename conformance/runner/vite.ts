import { fileURLToPath } from 'node:url'
import type { Plugin } from 'vitest/config'
import { virtualModule, virtualPrefix } from '../../shared/bundling/modules.js'

/** The virtual modules for vitest, so that tests run the same source as the bundle. */
export function virtualModulesPlugin(): Plugin {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  return {
    name: 'podwire-virtual-modules',
    enforce: 'pre',
    resolveId: (id) => (id.startsWith(virtualPrefix) ? `\0${id}` : undefined),
    load: (id) =>
      id.startsWith(`\0${virtualPrefix}`)
        ? virtualModule(id.slice(1), { root, base: root, extension: '.ts' })
        : undefined,
  }
}

/** Puts system/node.plain.ts in the place of system/node.ts, as the bundler does for plain binaries. */
export function plainNodePlugin(): Plugin {
  return {
    name: 'podwire-plain-node',
    enforce: 'pre',
    resolveId: (id, importer) =>
      id.endsWith('/node.js') && importer?.includes('/shared/')
        ? fileURLToPath(new URL('../../shared/system/node.plain.ts', import.meta.url))
        : undefined,
  }
}
