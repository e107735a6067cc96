import path from 'node:path'
import type { Plugin } from 'esbuild'

/**
 * Puts what asks Node by its public modules in the place of what asks it by its bindings; `compiled` is the code's
 * folder.
 */
export function plainNode(compiled: string): Plugin {
  const [own, plain] = ['node', 'node.plain'].map((name) => path.join(compiled, `shared/system/${name}.js`))
  return {
    name: 'podwire-plain-node',
    setup({ onResolve }) {
      onResolve({ filter: /\/node\.js$/ }, ({ path: name, resolveDir }) =>
        path.resolve(resolveDir, name) === own ? { path: plain as string } : undefined,
      )
    },
  }
}
