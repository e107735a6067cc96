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
