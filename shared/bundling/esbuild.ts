import path from 'node:path'
import type { BuildOptions, Plugin } from 'esbuild'
import { virtualPrefix } from './modules.js'

// What bundling the plugins' scripts and the program podwire have in common.

export const options: BuildOptions & { metafile: true; write: false } = {
  bundle: true,
  write: false,
  platform: 'node',
  target: 'node26',
  format: 'cjs',
  minify: true,
  legalComments: 'none',
  metafile: true,
}

/** Gives the virtual modules their texts; what they import is found from `root`. */
export function virtualModulesPlugin(root: string, textOf: (name: string) => string): Plugin {
  return {
    name: 'podwire-virtual-modules',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: new RegExp(`^${virtualPrefix}`) }, ({ path }) => ({ path, namespace: 'podwire' }))
      onLoad({ filter: /.*/, namespace: 'podwire' }, ({ path: name }) => ({ contents: textOf(name), resolveDir: root }))
    },
  }
}

/**
 * Puts what asks Node by its public modules in the place of what asks it by its bindings; `compiled` is the code's
 * folder.
 */
export function plainNode(compiled: string, kind: 'plain' | 'program' = 'plain'): Plugin {
  const [own, plain] = ['node', `node.${kind}`].map((name) => path.join(compiled, `shared/system/${name}.js`))
  return {
    name: 'podwire-plain-node',
    setup({ onResolve }) {
      onResolve({ filter: /\/node\.js$/ }, ({ path: name, resolveDir }) =>
        path.resolve(resolveDir, name) === own ? { path: plain as string } : undefined,
      )
    },
  }
}
